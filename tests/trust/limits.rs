//! The rate and the concurrency of a destination hold across two workers on one PostgreSQL.

use super::outage::busiest;
use super::pace;
use super::revisions::RevisionWriter;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::amplitude::Amplitude;
use system_tests::process::Backend;
use system_tests::receiver::{Received, Reply};
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{Setting, World};
use tokio::time::Instant;

/// Requests a second: a small part of what two cores can send while other tests run on them.
const RATE: usize = 6;
const CONCURRENCY: usize = 4;
/// Deliveries that are owed at first, sent by the destination's run; and events of notifications, sent by the
/// purchases' runs in both workers.
const OWED: usize = 60;
const EVENTS: usize = 30;
/// The keys of the fake Amplitude's project.
const KEY: &str = "7d1e90c4b5f2a8e36c0d51c9";
const SECRET_KEY: &str = "c0ffee5eb7a94d21f36a8b9e";
/// The span whose busiest instance is printed.
const SPAN: Duration = Duration::from_secs(10);
/// The span in which the rate must be used whatever else the machine does.
const BEST: Duration = Duration::from_secs(4);
/// Time limit on any machine.
const ENOUGH: Duration = Duration::from_secs(300);

async fn two_workers(variables: Vec<(String, String)>) -> World {
    let same = variables.clone();
    let setting = Setting { backend: Backend::SyncedPostgres, window_seconds: 1, variables, ..Setting::default() };
    let mut world = World::start(setting).await;
    world.let_sweep_help("revisions are written past the runs");
    let same: Vec<(&str, &str)> = same.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let worker = world.installation.start(&["worker"], &same);
    world.join(worker);
    world
}

async fn change(world: &World, id: &str, body: &Value) {
    drop(world.api.call(Method::PATCH, &format!("/v1/destinations/{id}"), body).await.ok());
}

/// Makes a destination owed [`OWED`] deliveries, enables it, and sends notifications for [`EVENTS`] more. Returns when it
/// was enabled.
async fn flood(world: &mut World, id: &str, limits: &Value) -> Instant {
    change(world, id, &json!({ "enabled": false })).await;
    change(world, id, limits).await;
    let receipts: Vec<String> = (0..OWED).map(|number| format!("owed-{number}")).collect();
    RevisionWriter::of(world).await.write(&receipts, 1).await;
    let enabled_at = Instant::now();
    change(world, id, &json!({ "enabled": true })).await;
    for number in 0..EVENTS {
        let receipt = format!("limited-{number}");
        let customer = format!("customer-of-{receipt}");
        let message =
            world.sns.notification(&Rtn { app_user_id: customer, ..Rtn::new("SUBSCRIPTION_PURCHASED", &receipt) });
        let answer = world.post(&message).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    enabled_at
}

/// Floods the world's webhook under these limits. Returns when it was enabled, and the requests when all have arrived.
async fn flooded(world: &mut World, limits: &Value) -> (Instant, Vec<Received>) {
    let id = world.destination_id.clone();
    let enabled_at = flood(world, &id, limits).await;
    let own = |world: &World| -> Vec<Received> {
        world.receiver.all().into_iter().filter(|request| !pace::is_control(request)).collect()
    };
    wait::until(ENOUGH, "everything owed", async || {
        let count = own(world).len();
        if count >= OWED + EVENTS { Ok(()) } else { Err(format!("{count} requests")) }
    })
    .await;
    let received = own(world);
    assert_eq!(received.len(), OWED + EVENTS, "each once");
    (enabled_at, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_holds_over_two_workers() {
    let mut world = two_workers(Vec::new()).await;
    let control = pace::unlimited(&world).await;
    let (enabled_at, received) = flooded(&mut world, &json!({ "rate": RATE })).await;
    let times: Vec<Instant> = received.iter().map(|request| request.began).collect();
    pace::check_never_ahead(&times, RATE, enabled_at);
    check_used(&times, control);
    world.finish().await;
}

/// Checks that requests at these times used the rate while the first [`OWED`] were sent, as far as the machine can; later
/// ones arrive as fast as purchases are settled. Slots that pass while the machine does other work are not made up for:
/// so the best [`BEST`] must use the rate, and all of them three quarters of it, which two workers that waste each
/// other's slots cannot.
fn check_used(times: &[Instant], control: f64) {
    let (most, at_once) = (busiest(times, SPAN), busiest(times, Duration::from_secs(1)));
    let best = busiest(&times[..OWED], BEST) as f64 / BEST.as_secs_f64();
    let per_second = pace::per_second(&times[..OWED]);
    println!(
        "{} requests at {RATE}/s: {per_second:.1}/s while much is owed, at best {best:.1}/s, at most {most} in {SPAN:?}, {at_once} in a second",
        times.len()
    );
    let possible = (control / 2.0).min(RATE as f64);
    assert!(best >= possible * 0.9, "{best:.1}/s at best, and {control:.1}/s without a rate");
    assert!(per_second >= possible * 0.75, "{per_second:.1}/s, and {control:.1}/s without a rate");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_holds_for_amplitude_over_two_workers() {
    let amplitude = Amplitude::start().await;
    amplitude.project(KEY, SECRET_KEY);
    let mut world = two_workers(vec![("SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(), amplitude.url())]).await;
    let control = pace::unlimited(&world).await;
    let body = json!({
        "kind": "amplitude", "name": "Analytics", "endpoint": amplitude.url(), "sandbox_api_key": KEY,
        "events": ["user.*"], "rate": RATE,
    });
    let created = world.api.post(&format!("/v1/apps/{}/destinations", world.app_id), &body).await.ok();
    assert_eq!(created["rate"], RATE);
    let enabled_at = flood(&mut world, created["id"].as_str().expect("an id"), &json!({})).await;
    amplitude.wait_counted(KEY, OWED + EVENTS, ENOUGH).await;
    let times: Vec<Instant> = amplitude.requests().iter().map(|request| request.began).collect();
    pace::check_never_ahead(&times, RATE, enabled_at);
    check_used(&times, control);
    assert_eq!((amplitude.events(KEY).len(), amplitude.repeated(KEY)), (OWED + EVENTS, 0), "each once");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_concurrency_holds_over_two_workers() {
    let mut world = two_workers(Vec::new()).await;
    world.receiver.answer(Reply::After(Duration::from_millis(200)));
    let (_, received) = flooded(&mut world, &json!({ "concurrency": CONCURRENCY })).await;
    let open_at =
        |time| received.iter().filter(|one| one.began <= time && one.finished_at.is_some_and(|end| end > time)).count();
    let most = received.iter().map(|request| open_at(request.began)).max().unwrap_or(0);
    println!("at most {most} requests at once, {CONCURRENCY} allowed");
    assert_eq!(most, CONCURRENCY, "the concurrency is used and not exceeded");
    world.finish().await;
}
