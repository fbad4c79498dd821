//! `storage-load` measures how many purchases a second the storage calls of one worker and of two get through on a
//! PostgreSQL whose round trips take a millisecond more: load, record, lease and finish, for one notification and one
//! webhook each.
//!
//! ```sh
//! cargo build --release --workspace && target/release/storage-load
//! ```
//!
//! The server, the proxy that delays, and the workers share this machine's cores. Rounds of one worker and of two
//! alternate. A worker is a store with connections of its own.

use anyhow::Context;
use clap::Parser;
use domain::verification::Product;
use domain::{
    CollapseKey, DestinationId, Notification, NotificationKind, Outcome, PlatformId, SettlingContext, Snapshot,
    Timestamp, Verification,
};
use std::sync::Arc;
use std::time::Duration;
use storage::{
    Attempt, AttemptClass, Config, Database, DeliveryResult, DestinationSettings, EndpointSignal, EventResult, Fate,
    Finish, Key, Lease, LeaseResult, Loaded, Mode, NewDestination, NewNotification, NewPlatform, PlatformSettings,
    Record, Recorded, Rendered, SecretString, Store, Traits, Verdict,
};
use system_tests::distance::Distance;
use system_tests::postgres;
use tokio::time::Instant;

/// Most round trips for a purchase with one webhook.
const MOST_TRIPS: f64 = 30.0;

/// Measures the storage calls of workers.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds of one worker and of two.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Purchases in a round, of each worker.
    #[arg(long, default_value_t = 3_000)]
    purchases: usize,
    /// Purchases that a worker settles at once.
    #[arg(long, default_value_t = 100)]
    at_once: usize,
    /// How long a round trip takes more by the proxy, in microseconds.
    #[arg(long, default_value_t = 1_000)]
    round_trip: u64,
    /// Webhooks of each purchase.
    #[arg(long, default_value_t = 1)]
    webhooks: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let url = tokio::task::spawn_blocking(postgres::database).await??;
    let (distance, far) = Distance::before_url(&url, Duration::from_micros(options.round_trip / 2))?;
    let near = open(&url).await?;
    let (platform, webhooks) = installation(&near, options.webhooks).await?;
    let workers = [open(&far).await?, open(&far).await?];
    for round in 0..options.rounds {
        for count in [1, 2] {
            let mut keys = Vec::new();
            for worker in 0..count {
                keys.push(accept(&near, platform, &format!("{round}-{count}-{worker}"), options.purchases).await?);
            }
            let (began, trips) = (Instant::now(), distance.trips());
            let running: Vec<_> = keys
                .into_iter()
                .zip(&workers)
                .map(|(keys, store)| tokio::spawn(work(store.clone(), keys, webhooks.clone(), options.at_once)))
                .collect();
            for worker in running {
                worker.await??;
            }
            let purchases = f64::from(u32::try_from(count * options.purchases)?);
            let trips = f64::from(u32::try_from(distance.trips() - trips)?) / purchases;
            let rate = purchases / began.elapsed().as_secs_f64();
            println!("round {round}: {count} workers, {rate:.0} purchases/s, {trips:.1} round trips each");
            anyhow::ensure!(trips <= MOST_TRIPS, "{trips:.1} round trips for each purchase, above {MOST_TRIPS}");
        }
    }
    Ok(())
}

async fn open(url: &str) -> anyhow::Result<Store> {
    let config =
        Config { database: Database::Postgres(url.to_owned()), key: Key::new([1; 32]), clock: Timestamp::default };
    Ok(Store::open(config).await?)
}

async fn installation(store: &Store, webhooks: usize) -> anyhow::Result<(PlatformId, Vec<DestinationId>)> {
    let app = store.new_app("Acme").await?;
    let platform = store
        .new_platform(NewPlatform {
            app_id: app.id,
            store: "amazon".to_owned(),
            settings: PlatformSettings::new("platform", "com.acme", 0),
            shared_secret: None,
            topic_arn: None,
            ingress_key: "ingress".into(),
            publishable_key: "pk_test".to_owned(),
        })
        .await?;
    let mut ids = Vec::new();
    for number in 0..webhooks {
        let webhook = NewDestination {
            app_id: app.id,
            kind: "webhook".to_owned(),
            common: DestinationSettings {
                concurrency: 1_000,
                ..DestinationSettings::new(&format!("webhook {number}"))
            },
            settings: serde_json::json!({"url": "https://example.com/hook"}),
            secret: SecretString::from("whsec_of-the-destination"),
            traits: Traits::default(),
        };
        ids.push(store.new_destination(webhook).await?.id);
    }
    Ok((platform.id, ids))
}

/// Accepts one notification for each of this many purchases of users of their own.
async fn accept(store: &Store, platform: PlatformId, name: &str, count: usize) -> anyhow::Result<Vec<CollapseKey>> {
    let mut keys = Vec::new();
    let mut notifications = Vec::new();
    for number in 0..count {
        let receipt_id = format!("{name}-{number}");
        let collapse_key = CollapseKey::of(platform, &receipt_id);
        let notification = Notification {
            message_id: receipt_id.clone(),
            collapse_key,
            receipt_id: receipt_id.clone(),
            kind: NotificationKind::Renewed,
            store_type: "RENEWED".to_owned(),
            store_time: Timestamp::from_millis(1),
            app_user_id: Some(format!("customer-{receipt_id}")),
            related_receipt_id: None,
            is_test: false,
        };
        notifications.push(NewNotification {
            platform_id: platform,
            message_id: receipt_id.clone(),
            receipt_id,
            collapse_key: Some(collapse_key),
            store_type: notification.store_type.clone(),
            store_time: Some(notification.store_time),
            app_user_id: notification.app_user_id.clone(),
            body: serde_json::to_string(&notification)?,
            fate: Fate::AtOnce,
            traceparent: None,
        });
        keys.push(collapse_key);
    }
    store.accept(notifications).await?;
    Ok(keys)
}

/// Settles purchases and delivers their events, this many at once.
async fn work(
    store: Store,
    keys: Vec<CollapseKey>,
    webhooks: Vec<DestinationId>,
    at_once: usize,
) -> anyhow::Result<()> {
    let keys = Arc::new(std::sync::Mutex::new(keys));
    let running: Vec<_> = (0..at_once)
        .map(|_| {
            let (store, keys, webhooks) = (store.clone(), keys.clone(), webhooks.clone());
            tokio::spawn(async move {
                loop {
                    let next = keys.lock().map_err(|_| anyhow::anyhow!("a task failed"))?.pop();
                    let Some(key) = next else { return anyhow::Ok(()) };
                    settle(&store, key).await?;
                    for webhook in &webhooks {
                        deliver(&store, key, *webhook).await?;
                    }
                }
            })
        })
        .collect();
    for task in running {
        task.await??;
    }
    Ok(())
}

async fn settle(store: &Store, key: CollapseKey) -> anyhow::Result<()> {
    let loaded = store.load(key, 0, 100).await?;
    match store.record(record(key, &loaded)).await? {
        Recorded::Done { .. } => Ok(()),
        Recorded::Moved => anyhow::bail!("{key} moved"),
    }
}

/// The record that settles everything that was loaded.
fn record(collapse_key: CollapseKey, loaded: &Loaded) -> Record {
    let seqs: Vec<i64> = loaded.notifications.iter().map(|(seq, _)| *seq).collect();
    let snapshot = Snapshot {
        at: loaded.now,
        product: Product::Subscription,
        term_sku: Some("term".to_owned()),
        renews_at: Some(loaded.now.plus(Duration::from_secs(30 * 24 * 3600))),
        auto_renewing: Some(true),
        ..Snapshot::default()
    };
    let verification = Verification::Verified(Box::new(snapshot));
    let context = SettlingContext { verification: &verification, is_replaced: false, now: loaded.now };
    let mut decision = domain::decide(&loaded.purchase, &loaded.notifications, context);
    decision.outcomes = seqs.iter().map(|seq| (*seq, Outcome::Settled)).collect();
    (decision.waits, decision.wake) = (None, None);
    Record {
        collapse_key,
        settling: loaded.settling + 1,
        revision: loaded.revision,
        seqs,
        decision,
        is_replaced: loaded.is_replaced,
        settings_version: loaded.settings_version,
        is_queried: loaded.verify,
        from_devices: Vec::new(),
        is_answer: true,
        is_real: true,
        traceparent: None,
    }
}

/// Delivers everything of a purchase that is pending for a webhook.
async fn deliver(store: &Store, key: CollapseKey, destination: DestinationId) -> anyhow::Result<()> {
    loop {
        let token = api::clock::random_uuid().to_string();
        let lease = Lease {
            key,
            destination,
            token: token.clone(),
            duration: Duration::from_secs(30),
            mode: Mode::Lane,
            at_most: 10,
            render: Arc::new(|_, unsent| Rendered::Body(unsent.body.to_string())),
        };
        let batch = match store.lease(lease).await? {
            LeaseResult::Send(batch) => batch,
            LeaseResult::Idle(storage::Idle::Closed { .. }) => return Ok(()),
            LeaseResult::Idle(_) => continue,
            LeaseResult::Undeliverable { .. } => anyhow::bail!("{key} cannot be delivered"),
        };
        let delivered = |attempt: &Attempt| EventResult {
            delivery_id: attempt.delivery_id,
            class: AttemptClass::Success,
            error: None,
            counts: true,
            verdict: Verdict::Delivered,
        };
        let finish = Finish {
            key,
            destination,
            token,
            mode: Mode::Lane,
            started_at: batch.lease_until,
            latency: Duration::from_millis(1),
            status: Some(200),
            headers: Vec::new(),
            response: None,
            result: DeliveryResult {
                events: batch.attempts.iter().map(delivered).collect(),
                endpoint_signal: EndpointSignal::Success,
                lane_pause: None,
                user_pause: None,
                at_most: None,
                alarm: None,
            },
            disable_after: Duration::from_secs(24 * 3600),
        };
        let finished = store.finish(finish).await.context("finish")?;
        if matches!(finished.lane, storage::LaneState::Closed { .. }) {
            return Ok(());
        }
    }
}
