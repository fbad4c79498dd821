//! Which lanes a drain loads, and how long it waits while a request about the same user is in flight.

use super::*;
use crate::engine::{DevServer, Engine};
use crate::http::Http;
use crate::{
    Actions, DeliverySlots, InFlight, LocalAttempts, RaisedAlarms, RefusedLanes, Verifier, Volume,
};
use domain::time::MINUTE;
use domain::{
    DestinationId, Notification, NotificationKind, SettlingContext, Timestamp, Verification,
};
use futures::poll;
use protocols::destinations::{Allowed, webhook};
use protocols::http::Rules;
use serde_json::json;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use storage::{
    Config, Database, DestinationSettings, Key, LeaseResult, NewDestination, NewNotification,
    NewPlatform, Page, Platform, PlatformSettings, Record, Recorded, SecretString, Store, Traits,
};
use tokio::time::Instant;

/// A time limit much longer than [`USER_BUSY_WAIT`] and much shorter than a run.
const SOON: Duration = Duration::from_secs(180);
/// Maximum number of requests, of which one must be short.
const MAX_ROUNDS: usize = 20;

/// Two purchases of one user, both pending for a destination that accepts one request per user at a time. The
/// destination's stored secret is invalid, so every attempt ends without a request.
struct World {
    context: Context,
    destination: DestinationId,
    keys: [CollapseKey; 2],
    folder: PathBuf,
}

impl World {
    async fn start(name: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = std::env::temp_dir().join(format!("settle-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let database = Database::Sqlite(folder.join("settle.db"));
        let store = Store::open(Config {
            database,
            key: Key::new([1; 32]),
            clock,
        })
        .await
        .unwrap();
        let app = store.new_app("Acme").await.unwrap();
        let platform = store.new_platform(new_platform(app.id)).await.unwrap();
        let new = NewDestination {
            app_id: app.id,
            kind: webhook::KIND.to_owned(),
            common: DestinationSettings::new("hook"),
            settings: json!({ "url": "https://example.com/hook" }),
            secret: SecretString::from("no secret"),
            traits: Traits {
                per_user: true,
                ..Traits::default()
            },
        };
        let destination = store.new_destination(new).await.unwrap().id;
        let keys = [
            buy(&store, &platform, "one").await,
            buy(&store, &platform, "other").await,
        ];
        let org_id = store.installation().org_id;
        let context = Context {
            store,
            http: Http::new(Rules::default()),
            allowed_addresses: Allowed::default(),
            verifier: Arc::new(Verifier::new(protocols::stores::Stores::default())),
            engine: Engine::start_at("test", org_id, Actions::default(), DevServer::default()),
            clock,
            random: || 0.5,
            retention: None,
            dashboard: None,
            slots: DeliverySlots::default(),
            in_flight: InFlight::default(),
            local_attempts: LocalAttempts::default(),
            refused: RefusedLanes::default(),
            raised: RaisedAlarms::default(),
            volume: Volume::default(),
            streaks: Arc::default(),
            stopping: Arc::default(),
        };
        Self {
            context,
            destination,
            keys,
            folder,
        }
    }

    fn lease(&self, key: CollapseKey) -> Lease {
        lease(key, self.destination, "another run".to_owned(), Mode::Lane)
    }

    fn refuse_updates(&self, table: &str) {
        storage::fixtures::refuse_updates(&Database::Sqlite(self.folder.join("settle.db")), table);
    }

    fn run(&self) -> SuperviseRun {
        SuperviseRun::new(self.destination, "run".to_owned(), 1, Arc::default())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn clock() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000)
}

fn new_platform(app_id: domain::AppId) -> NewPlatform {
    NewPlatform {
        app_id,
        store: "amazon".to_owned(),
        settings: PlatformSettings::new("Amazon", "com.acme", 1_000),
        shared_secret: None,
        topic_arn: None,
        ingress_key: "ingress".into(),
        publishable_key: "pk_test".to_owned(),
        of_store: Default::default(),
    }
}

/// Buys a subscription for the user, and settles the purchase.
async fn buy(store: &Store, platform: &Platform, receipt: &str) -> CollapseKey {
    let key = CollapseKey::of(platform.id, receipt);
    let notification = Notification {
        message_id: receipt.to_owned(),
        collapse_key: key,
        receipt_id: receipt.to_owned(),
        kind: NotificationKind::SubscriptionPurchased,
        store_type: "SUBSCRIPTION_PURCHASED".to_owned(),
        store_time: clock(),
        app_user_id: Some("customer".to_owned()),
        related_receipt_id: None,
        is_test: false,
        voided: None,
        refunded: None,
    };
    let new = NewNotification::of(platform.id, notification);
    store.accept(vec![new]).await.unwrap();
    let loaded = store.load(key, i64::MAX, 10).await.unwrap();
    let verification = Verification::Unverifiable;
    let context = SettlingContext {
        policy: domain::StorePolicy::default(),
        verification: &verification,
        is_replaced: false,
        now: loaded.now,
    };
    let record = Record {
        collapse_key: key,
        settling: loaded.settling + 1,
        revision: loaded.revision,
        seqs: loaded.notifications.iter().map(|(seq, _)| *seq).collect(),
        decision: domain::decide(&loaded.purchase, &loaded.notifications, context),
        is_replaced: false,
        settings_version: loaded.settings_version,
        is_queried: loaded.verify,
        from_devices: Vec::new(),
        is_answer: false,
        is_real: true,
        traceparent: None,
    };
    let Recorded::Done { lanes, .. } = store.record(record).await.unwrap() else {
        panic!("the purchase moved")
    };
    assert_eq!(lanes.len(), 1, "its events are pending for the destination");
    key
}

#[test]
fn no_lane_is_taken_twice_and_memory_is_bounded() {
    let key = |number: u8| CollapseKey::new(uuid::Uuid::from_bytes([number; 16]));
    let mut lanes = Lanes {
        waiting: [key(1), key(2)].into(),
        in_flight: BTreeSet::new(),
    };
    assert_eq!(
        (lanes.next(), lanes.room()),
        (Some(key(1)), None),
        "one waits"
    );
    assert_eq!(
        (lanes.next(), lanes.room()),
        (Some(key(2)), Some(MAX_LANES - 2))
    );
    lanes.refill(vec![key(2), key(3)]);
    assert_eq!((lanes.next(), lanes.next()), (Some(key(3)), None));
    lanes.in_flight.extend((0..200).map(key));
    assert_eq!(lanes.room(), None);
}

#[test]
fn merged_drain_results_keep_the_soonest_time() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let one = DrainResult {
        attempts: 2,
        busy_for: seconds(5),
        due_in: None,
    };
    let other = DrainResult {
        attempts: 1,
        busy_for: seconds(3),
        due_in: seconds(9),
    };
    assert_eq!(
        one.merge(&other),
        DrainResult {
            attempts: 3,
            busy_for: seconds(3),
            due_in: seconds(9)
        }
    );
    assert_eq!(sooner(None, None), None);
}

/// A request that takes longer than the drain waits, because the machine is slow, proves nothing and is repeated.
#[tokio::test]
async fn a_lane_is_attempted_after_a_short_request_of_its_user() {
    for number in 0..MAX_ROUNDS {
        if short_request(&format!("short-{number}")).await {
            return;
        }
    }
    panic!("each of {MAX_ROUNDS} requests took longer than {USER_BUSY_WAIT:?}");
}

/// Lets another run lease its lane before the drain begins, and end its request before or after the drain's lease.
/// Returns whether that request was short.
async fn short_request(name: &str) -> bool {
    let world = World::start(name).await;
    let (run, [one, other]) = (world.run(), world.keys);
    let lease = world.lease(one);
    let mut first = pin!(attempt(&world.context, Turn::new(lease.clone()), None));
    assert!(poll!(first.as_mut()).is_pending());
    let store = &world.context.store;
    let leased = async {
        while !store
            .holds_lease(one, world.destination, &lease.token)
            .await
            .unwrap()
        {}
    };
    tokio::time::timeout(SOON, leased)
        .await
        .expect("the other run has leased its lane");
    let began = Instant::now();
    let first = async { (first.await, began.elapsed()) };
    let ((first, took), drained) =
        futures::join!(first, drain(&world.context, &run, vec![other], 1));
    assert!(
        matches!(first, Ok(AttemptResult::Completed(_))),
        "{first:?}"
    );
    let (drained, is_short) = (drained.unwrap(), took < USER_BUSY_WAIT);
    let is_attempted = drained.attempts > 0 && drained.busy_for.is_none();
    assert!(
        is_attempted || !is_short,
        "it waits for the other purchase: {drained:?}"
    );
    is_short
}

#[tokio::test]
async fn a_lane_does_not_wait_for_a_long_request_of_its_user() {
    let world = World::start("long").await;
    let (run, [one, other]) = (world.run(), world.keys);
    let in_flight = world.context.store.lease(world.lease(one)).await.unwrap();
    assert!(matches!(in_flight, LeaseResult::Send(_)), "{in_flight:?}");
    let drained = tokio::time::timeout(SOON, drain(&world.context, &run, vec![other], 1)).await;
    let drained = drained.expect("the lane is left to a later check").unwrap();
    assert!(
        drained.attempts == 0 && drained.busy_for.is_some(),
        "{drained:?}"
    );
}

#[tokio::test]
async fn a_refused_lane_is_set_back_and_leaves_its_place() {
    let world = World::start("refused").await;
    world.refuse_updates("attempts");
    let drained = drain(&world.context, &world.run(), world.keys.to_vec(), 1)
        .await
        .unwrap();
    assert_eq!(
        drained,
        DrainResult {
            due_in: Some(MINUTE),
            ..DrainResult::default()
        }
    );
    let store = &world.context.store;
    assert_eq!(
        store
            .destination_need(world.destination, MAX_LANES)
            .await
            .unwrap(),
        DestinationNeed::Rest
    );
    for sending in store
        .explain_destination(world.destination)
        .await
        .unwrap()
        .pending
    {
        assert!(
            sending
                .delivery
                .last_error
                .is_some_and(|error| error.contains("planted")),
            "people see why"
        );
    }
    assert_eq!(store.alarms(Page::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_lane_that_cannot_be_set_back_is_left_alone() {
    let world = World::start("left-alone").await;
    for table in ["attempts", "deliveries"] {
        world.refuse_updates(table);
    }
    let [one, other] = world.keys;
    let run = world.run();
    let drained = drain(&world.context, &run, vec![one], 1).await.unwrap();
    assert_eq!(
        drained,
        DrainResult {
            due_in: Some(MINUTE),
            ..DrainResult::default()
        }
    );
    let again = drain(&world.context, &run, vec![one], 1).await.unwrap();
    assert!(
        again.busy_for.is_none() && again.due_in.is_some_and(|wait| wait <= MINUTE),
        "{again:?}"
    );
    assert_eq!(
        world
            .context
            .refused
            .count(world.destination, Instant::now()),
        1,
        "{other} was not attempted"
    );
}
