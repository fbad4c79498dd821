//! A destination is down for an hour, with thousands of pending events from the beginning of the outage. When it
//! returns, each purchase's latest state arrives once, and every `user.*` once and in order, at the configured rate,
//! within one minute plus count ÷ rate, or plus twice the time that the machine needs without a rate.
//!
//! The test moves the clock forward by the hour, so that the breaker is not probed every half minute.

use super::pace;
use super::revisions::RevisionWriter;
use domain::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::clock::Clock;
use system_tests::leases::Leases;
use system_tests::postgres;
use system_tests::process::Backend;
use system_tests::receiver::Received;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use tokio::time::Instant;

/// Number of purchases, unless the environment sets another.
const PURCHASES: usize = 40;
const REVISIONS: i64 = 30;
/// Requests per second: a small part of what two cores can send while other tests are running.
const RATE: usize = 20;
/// Number of failing purchases: enough to open the breaker.
const FAILING: usize = 12;
const EVENTS: [&str; 2] = ["purchase.updated", "user.*"];
const OUTAGE_MS: i64 = 3_600_000;
const OUTAGE: Duration = Duration::from_secs(3600);
/// Maximum time from the destination's return until the breaker closes.
const OPEN: Duration = Duration::from_secs(60);
/// Maximum number of deliveries that probes may attempt before the test lists the pending ones: one lane with two
/// deliveries per half minute.
const TRIED: usize = 6;

/// Starts a world on PostgreSQL whose processes and database use this clock, and whose destination's breaker is open.
async fn broken(clock: &Clock) -> World {
    let events = EVENTS.map(str::to_owned).to_vec();
    let variables = vec![("FAILPOINTS".to_owned(), clock.fail_point())];
    let setting = Setting {
        backend: Backend::SyncedPostgres,
        window_seconds: 1,
        events,
        variables,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    postgres::set_ahead(world.installation.database(), Duration::ZERO)
        .expect("a clock that can be moved");
    world.restart().await;
    world.receiver.ignore_time();
    world.receiver.refuse().await;
    for number in 0..FAILING {
        world
            .send("SUBSCRIPTION_PURCHASED", &format!("first-{number}"))
            .await;
    }
    world.wait_state(&world.destination_id, "open").await;
    world
}

/// Moves the clock forward by an hour. The breaker stays open, because its probe fails. Afterwards nearly all pending
/// deliveries have been due for nearly an hour; only the probed lanes are due later.
async fn pass_outage(world: &mut World, clock: &Clock) {
    let (database, after) = (
        world.installation.database().to_owned(),
        clock.now().plus_millis(OUTAGE_MS),
    );
    let change = || {
        postgres::set_ahead(&database, OUTAGE).expect("a clock that is moved");
        clock.set(after);
    };
    Leases::of(world)
        .between_requests(world, || clock.now(), change)
        .await;
    let path = format!("/v1/destinations/{}", world.destination_id);
    wait::until(SOON, "a failed probe after the outage", async || {
        let shown = world.api.get(&path).await.ok();
        let has_failed =
            at(&shown["health"]["last_failure_at"]).is_some_and(|failed| failed >= after);
        if has_failed && shown["state"] == "open" {
            Ok(())
        } else {
            Err(shown.to_string())
        }
    })
    .await;
    let pending = world
        .api
        .all(&format!(
            "/v1/deliveries?status=pending&destination_id={}",
            world.destination_id
        ))
        .await;
    let early = after.plus_millis(-OUTAGE_MS * 9 / 10);
    let late = pending
        .iter()
        .filter(|one| at(&one["next_due_at"]).is_none_or(|due| due > early))
        .count();
    println!(
        "{} deliveries pending, all but {late} of them due for nine tenths of {OUTAGE:?}",
        pending.len()
    );
    assert!(
        late <= TRIED,
        "{late} deliveries were due when the outage was nearly over"
    );
    wait_quiet(world).await;
}

fn at(time: &Value) -> Option<Timestamp> {
    time.as_str()?.parse().ok()
}

/// Waits until no run of a purchase is open.
pub async fn wait_quiet(world: &World) {
    wait::until(SOON, "the end of all runs of purchases", async || {
        let open = world
            .temporal
            .list("WorkflowType = 'purchase' AND ExecutionStatus = 'Running'")
            .await;
        if open.is_empty() {
            Ok(())
        } else {
            Err(format!("{} runs are open", open.len()))
        }
    })
    .await;
}

fn by_receipt(received: &[Received]) -> BTreeMap<&str, Vec<&Received>> {
    let mut found = BTreeMap::<&str, Vec<&Received>>::new();
    for request in received {
        found.entry(request.receipt_id()).or_default().push(request);
    }
    found
}

/// Checks that each purchase's latest state arrived once, and every `user.*` once and in the order of the events.
fn check(received: &[Received]) {
    for (receipt, requests) in by_receipt(received) {
        let is_first = receipt.starts_with("first-");
        let revisions: Vec<i64> = requests
            .iter()
            .filter(|one| !one.collapse_key().is_empty())
            .map(|one| one.revision())
            .collect();
        assert_eq!(
            revisions,
            [if is_first { 1 } else { REVISIONS }],
            "the newest state of {receipt}, once"
        );
        let user_revisions: Vec<i64> = requests
            .iter()
            .filter_map(|one| one.body["user_revision"].as_i64())
            .collect();
        // The first purchases all belong to one user, so their user revisions are not compared.
        let all = if is_first {
            user_revisions.clone()
        } else {
            (1..=REVISIONS).collect()
        };
        assert_eq!(
            user_revisions, all,
            "what happened to {receipt}, each once and in order"
        );
        assert_eq!(
            user_revisions.len() == 1,
            is_first,
            "all that happened to {receipt}"
        );
    }
}

/// Returns the maximum number of requests within any span of this length.
pub fn busiest(times: &[Instant], span: Duration) -> usize {
    let within = |from: &Instant| {
        times
            .iter()
            .filter(|time| (*from..*from + span).contains(time))
            .count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

fn purchases() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a size of the test")]
    let named = std::env::var("SETTLE_TRUST_PURCHASES").ok();
    named.map_or(PURCHASES, |number| {
        number
            .parse()
            .expect("SETTLE_TRUST_PURCHASES is a number of purchases")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_hour_of_outage_all_pending_arrives_once_in_order() {
    let clock = Clock::new(api::clock::now());
    let mut world = broken(&clock).await;
    world.let_sweep_help("revisions are written past the runs, and the clock is moved");
    wait_quiet(&world).await;
    let writer = RevisionWriter::of(&world).await;
    let purchases = purchases();
    let receipts: Vec<String> = (0..purchases)
        .map(|number| format!("purchase-{number}"))
        .collect();
    writer.write(&receipts, REVISIONS).await;
    wait_quiet(&world).await;
    pass_outage(&mut world, &clock).await;
    let path = format!("/v1/destinations/{}", world.destination_id);
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "rate": RATE }))
            .await
            .ok(),
    );

    let pending =
        purchases + FAILING + purchases * usize::try_from(REVISIONS).unwrap_or(0) + FAILING;
    let seconds = u64::try_from(pending / RATE).unwrap_or(0);
    let by_rate = Duration::from_secs(seconds);
    let returned = Instant::now();
    world.receiver.accept().await;
    wait::until(
        (OPEN + by_rate) * 4,
        &format!("{pending} requests"),
        async || {
            let count = world.receiver.count();
            if count >= pending {
                Ok(())
            } else {
                Err(format!("{count} of them"))
            }
        },
    )
    .await;
    let received = world.receiver.all();
    assert_eq!(received.len(), pending, "nothing came twice");
    check(&received);
    let times: Vec<Instant> = received.iter().map(|request| request.began).collect();
    let most = busiest(&times, Duration::from_secs(5));
    println!(
        "at most {most} requests within five seconds, {} by the rate",
        RATE * 5
    );
    pace::check_never_ahead(&times, RATE, returned);
    let took = times[pending - 1] - returned;
    let possible = Duration::from_secs_f64(pending as f64 / pace::unlimited(&world, 0).await);
    let bound = OPEN + by_rate.max(possible * 2);
    println!(
        "{pending} pending deliveries at {RATE}/s arrived {took:?} after the return; bound {bound:?}"
    );
    assert!(
        took <= bound,
        "{took:?}, not within {bound:?}; {possible:?} without a rate"
    );
    world.wait_state(&world.destination_id, "healthy").await;
    assert_eq!(world.api.get("/v1/check").await.ok()["violations"], 0);
    world.finish().await;
}
