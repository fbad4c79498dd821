//! Random schedules of faults at a receiver, with two workers on PostgreSQL, one of which is killed now and then, and a
//! second destination at a forbidden address. I2 to I7 must hold; I2 is checked continuously. Each seed is printed;
//! `SETTLE_TEST_SEED` repeats it.

use super::forbidden::{ALLOWED, Forbidden, attempts, explained};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use system_tests::process::Backend;
use system_tests::random::Random;
use system_tests::receiver::Reply;
use system_tests::wait;
use system_tests::world::{Setting, World};

/// The seed of `cargo test`.
const SEED: u64 = 10_429;
/// Number of schedules, executed one after the other.
const SEEDS: u64 = 2;
const PURCHASES: u64 = 12;
const NOTIFICATIONS: usize = 60;
const EVENTS: [&str; 2] = ["purchase.updated", "user.*"];
const KINDS: [&str; 3] = [
    "SUBSCRIPTION_AUTO_RENEWAL_OFF",
    "SUBSCRIPTION_AUTO_RENEWAL_ON",
    "SUBSCRIPTION_RENEWED",
];
/// Time limit on any machine: an attempt whose worker died is repeated after its timeout, a breaker is probed every
/// half minute, and random replies may follow each other unluckily.
const TIMEOUT: Duration = Duration::from_secs(900);

/// Returns a random reply of the receiver. `elsewhere` is the forbidden URL, which no redirect may reach. Replies that
/// exhaust the sender's time limit, or disable the destination, are rare. There is no long `Retry-After`, because
/// settle would wait for up to an hour.
fn reply(random: &mut Random, elsewhere: &str) -> Reply {
    match random.below(60) {
        0..=2 => Reply::Status(500),
        3..=5 => Reply::Status(404),
        6..=8 => Reply::RetryAfter(1),
        9..=11 => Reply::Status(301),
        12..=14 => Reply::Drop,
        15..=17 => Reply::After(Duration::from_millis(random.below(900))),
        18..=20 => Reply::Status(429),
        21..=23 => Reply::Redirect(elsewhere.to_owned()),
        24..=25 => Reply::RetryAfterDate(2),
        26..=27 => Reply::RetryAfterText("soon; or, later"),
        28..=29 => Reply::Big,
        30 => Reply::Drip,
        31 => Reply::Hang,
        32 => Reply::Status(410),
        _ => Reply::Status(200),
    }
}

/// Final status of each ended delivery, by id.
#[derive(Default)]
struct Ends(BTreeMap<String, String>);

impl Ends {
    /// Checks that no delivery to the world's own destination has changed its final status, and returns the pending
    /// ones.
    async fn observe(&mut self, world: &World) -> Vec<Value> {
        let path = format!(
            "/v1/deliveries?limit=500&destination_id={}",
            world.destination_id
        );
        let mut deliveries = world.api.all(&path).await;
        for delivery in &deliveries {
            let status = delivery["status"].as_str().expect("a status");
            match self.0.get(id(delivery)) {
                Some(end) => assert_eq!(status, end, "I2: a delivery ended twice: {delivery}"),
                None if status == "pending" => {}
                None => drop(self.0.insert(id(delivery).to_owned(), status.to_owned())),
            }
        }
        deliveries.retain(|delivery| delivery["status"] == "pending");
        deliveries
    }
}

/// Starts two workers on PostgreSQL, a receiver with random replies, and the destination at a forbidden address.
async fn begun(random: &mut Random) -> (World, usize, Forbidden) {
    let setting = Setting {
        backend: Backend::SyncedPostgres,
        window_seconds: 1,
        events: EVENTS.map(str::to_owned).to_vec(),
        variables: vec![(ALLOWED.0.to_owned(), ALLOWED.1.to_owned())],
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    let worker = world.installation.start(&["worker"], &[ALLOWED]);
    let other = world.join(worker);
    let path = format!("/v1/destinations/{}", world.destination_id);
    let schedule: Vec<i64> = std::iter::repeat_n(1, 60).collect();
    drop(
        world
            .api
            .call(
                Method::PATCH,
                &path,
                &json!({ "schedule": schedule, "concurrency": 5 }),
            )
            .await
            .ok(),
    );
    let forbidden = Forbidden::join(&mut world, &EVENTS).await;
    for _ in 0..2000 {
        world
            .receiver
            .answer_next(1, &reply(random, &forbidden.url()));
    }
    (world, other, forbidden)
}

#[tokio::test(flavor = "multi_thread")]
async fn random_schedules_of_faults_break_no_invariant() {
    let first = Random::seed(SEED);
    for seed in first..first + SEEDS {
        live(seed).await;
    }
}

/// Runs one schedule to its end, and checks the final state.
async fn live(seed: u64) {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let (mut world, other, forbidden) = begun(&mut random).await;
    let mut ends = Ends::default();
    for number in 0..NOTIFICATIONS {
        let receipt = format!("chance-{}", random.below(PURCHASES));
        let kind = if number < 12 {
            "SUBSCRIPTION_PURCHASED"
        } else {
            KINDS[number % KINDS.len()]
        };
        let message_id = world.send(kind, &receipt).await;
        // Usually, the next notification may share the window; sometimes it cannot.
        if random.percent(30) {
            world.wait_outcome(&message_id).await;
        }
        if random.percent(4) {
            world.processes()[other].kill9();
            let worker = world.installation.start(&["worker"], &[ALLOWED]);
            world.processes()[other] = worker;
        }
        if random.percent(10) {
            forbidden.turn(&world, &mut random).await;
        }
        ends.observe(&world).await;
        enable(&world).await;
    }
    wait::until(TIMEOUT, "the end of all deliveries", async || {
        enable(&world).await;
        let pending = ends.observe(&world).await;
        if pending.is_empty() {
            Ok(())
        } else {
            Err(format!("{} are pending: {:?}", pending.len(), pending[0]))
        }
    })
    .await;
    forbidden.unheard();
    let verdict = world.verdict(TIMEOUT).await;
    verdict.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    world
        .receiver
        .check_no_duplicates()
        .unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    ends.observe(&world).await;
    let check = world.api.get("/v1/check").await.ok();
    assert_eq!(check["violations"], 0, "seed {seed}: {check}");
    let deliveries = check_sets(&world).await;
    println!(
        "{} requests for {deliveries} deliveries, each explained; {}",
        world.receiver.count(),
        met(&world)
    );
    world.wait_state(&world.destination_id, "healthy").await;
    let refused = forbidden.check(&world).await;
    let led = world
        .receiver
        .all()
        .iter()
        .filter(|one| one.status == Some(307))
        .count();
    println!(
        "{refused} attempts at a forbidden address and {led} redirects to it, none of which left"
    );
}

/// Enables the destination again if a 410 disabled it.
async fn enable(world: &World) {
    let path = format!("/v1/destinations/{}", world.destination_id);
    if world.api.get(&path).await.ok()["state"] == "disabled" {
        drop(
            world
                .api
                .call(Method::PATCH, &path, &json!({ "enabled": true }))
                .await
                .ok(),
        );
    }
}

/// Checks that every received request is a delivery, that exactly the acknowledged deliveries are delivered, and that
/// each explanation says so. Returns the number of deliveries.
async fn check_sets(world: &World) -> usize {
    let deliveries = world
        .api
        .all(&format!(
            "/v1/deliveries?destination_id={}",
            world.destination_id
        ))
        .await;
    let sent: BTreeSet<&str> = deliveries.iter().map(id).collect();
    let received = world.receiver.all();
    let acked: BTreeSet<&str> = received
        .iter()
        .filter(|one| one.is_acked())
        .map(|one| one.webhook_id.as_str())
        .collect();
    assert!(
        received
            .iter()
            .all(|one| sent.contains(one.webhook_id.as_str())),
        "every request is a delivery in the database"
    );
    for delivery in &deliveries {
        let is_acked = acked.contains(id(delivery));
        let end = match delivery["status"].as_str() {
            Some("delivered") if is_acked => "delivered at",
            Some("superseded") if !is_acked || has_died(world, delivery).await => "superseded",
            _ => panic!("acknowledged: {is_acked}, and in the database: {delivery}"),
        };
        let explanation = explained(world, delivery).await;
        assert!(
            explanation.contains(end),
            "{delivery} is explained by {explanation}"
        );
    }
    deliveries.len()
}

/// Returns the numbers of requests that were answered 410 and that were not answered, as text.
fn met(world: &World) -> String {
    let received = world.receiver.all();
    let count = |status: Option<u16>| received.iter().filter(|one| one.status == status).count();
    format!(
        "{} answered 410, {} not at all",
        count(Some(410)),
        count(None)
    )
}

fn id(delivery: &Value) -> &str {
    delivery["id"].as_str().expect("an id")
}

/// Returns whether a worker died during an attempt at a delivery. The delivery may then have been acknowledged although
/// it is superseded.
async fn has_died(world: &World, delivery: &Value) -> bool {
    attempts(world, delivery)
        .await
        .iter()
        .any(|attempt| attempt["finished_at"].is_null())
}
