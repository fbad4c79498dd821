//! A destination's rate and concurrency are kept across two workers on one PostgreSQL.

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

/// Requests per second: a small part of what two cores can send while other tests are running.
const RATE: usize = 6;
const CONCURRENCY: usize = 4;
/// Number of deliveries that are pending at first and sent by the destination's run, and of notifications' events sent
/// by the purchases' runs in both workers.
const PENDING: usize = 60;
const EVENTS: usize = 30;
/// Common beginning of the API keys of the fake Amplitude's projects, and their secret key.
const KEY: &str = "7d1e90c4b5f2a8e36c0d51c";
const SECRET_KEY: &str = "c0ffee5eb7a94d21f36a8b9e";
/// Length of the span whose maximum is printed.
const SPAN: Duration = Duration::from_secs(10);
/// Maximum number of rounds until one uses the rate fully.
const ROUNDS: usize = 8;
/// Shorter than the fifteen seconds that an attempt at a hanging endpoint takes.
const LESS_THAN_AN_ATTEMPT: Duration = Duration::from_secs(14);
/// Length of the span in which the rate must be used fully, whatever the machine's other load.
const BEST: Duration = Duration::from_secs(4);
const ENOUGH: Duration = Duration::from_secs(300);

async fn two_workers(variables: Vec<(String, String)>) -> World {
    let same = variables.clone();
    let setting = Setting {
        backend: Backend::SyncedPostgres,
        window_seconds: 1,
        variables,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.let_sweep_help("revisions are written past the runs");
    let same: Vec<(&str, &str)> = same
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let worker = world.installation.start(&["worker"], &same);
    world.join(worker);
    world
}

async fn change(world: &World, id: &str, body: &Value) {
    drop(
        world
            .api
            .call(Method::PATCH, &format!("/v1/destinations/{id}"), body)
            .await
            .ok(),
    );
}

/// Queues [`PENDING`] deliveries of this round for a destination with these limits, and leaves it disabled.
async fn queue(world: &World, id: &str, limits: &Value, round: usize) {
    change(world, id, &json!({ "enabled": false })).await;
    change(world, id, limits).await;
    let receipts: Vec<String> = (0..PENDING)
        .map(|number| format!("pending-{round}-{number}"))
        .collect();
    RevisionWriter::of(world).await.write(&receipts, 1).await;
}

/// Sends notifications that cause [`EVENTS`] deliveries of this round.
async fn notify(world: &mut World, round: usize) {
    for number in 0..EVENTS {
        let receipt = format!("limited-{round}-{number}");
        let customer = format!("customer-of-{receipt}");
        let message = world.sns.notification(&Rtn {
            app_user_id: customer,
            ..Rtn::new("SUBSCRIPTION_PURCHASED", &receipt)
        });
        let answer = world.post(&message).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// Queues [`PENDING`] deliveries for a destination, enables it, and sends notifications for [`EVENTS`] more. Returns
/// when the destination was enabled.
async fn flood(world: &mut World, id: &str, limits: &Value, round: usize) -> Instant {
    queue(world, id, limits, round).await;
    let enabled_at = Instant::now();
    change(world, id, &json!({ "enabled": true })).await;
    notify(world, round).await;
    enabled_at
}

/// Waits until all requests of a round have arrived at the world's webhook, each once, and returns them.
async fn all_acked(world: &World, round: usize) -> Vec<Received> {
    let names = [format!("pending-{round}-"), format!("limited-{round}-")];
    let of_round = |one: &Received| {
        one.is_acked() && names.iter().any(|name| one.receipt_id().starts_with(name))
    };
    let received = wait::until(ENOUGH, "everything pending", async || {
        let own: Vec<Received> = world.receiver.all().into_iter().filter(of_round).collect();
        if own.len() >= PENDING + EVENTS {
            Ok(own)
        } else {
            Err(format!("{} requests", own.len()))
        }
    })
    .await;
    assert_eq!(received.len(), PENDING + EVENTS, "each once");
    received
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_holds_over_two_workers() {
    let mut world = two_workers(Vec::new()).await;
    let id = world.destination_id.clone();
    let mut used = Used::default();
    while used.is_wanted() {
        let control = pace::unlimited(&world, used.rounds()).await;
        let enabled_at = flood(&mut world, &id, &json!({ "rate": RATE }), used.rounds()).await;
        let received = all_acked(&world, used.rounds()).await;
        let times: Vec<Instant> = received.iter().map(|request| request.began).collect();
        pace::check_never_ahead(&times, RATE, enabled_at);
        used.note(&times, control);
    }
    used.check();
    world.finish().await;
}

/// How far each round used its rate, compared with a control of its own, since the machine may have other load.
#[derive(Default)]
struct Used(Vec<Round>);

/// Requests per second of a round while the first [`PENDING`] deliveries were sent, as fast as the machine can; later
/// ones arrive as fast as purchases are settled.
#[derive(Debug)]
struct Round {
    best: f64,
    per_second: f64,
    control: f64,
}

impl Round {
    /// Returns whether the rate was used. Slots that pass while the machine has other load are not made up for:
    /// therefore the best span of length [`BEST`] must use the rate, and all requests together three quarters of it,
    /// which two workers that waste each other's slots cannot reach.
    fn is_enough(&self) -> bool {
        let possible = (self.control / 2.0).min(RATE as f64);
        self.best >= possible * 0.9 && self.per_second >= possible * 0.75
    }
}

impl Used {
    fn rounds(&self) -> usize {
        self.0.len()
    }

    fn is_wanted(&self) -> bool {
        self.0.len() < ROUNDS && !self.0.iter().any(Round::is_enough)
    }

    /// Records the requests of a round, which were made at these times.
    fn note(&mut self, times: &[Instant], control: f64) {
        let (most, at_once) = (busiest(times, SPAN), busiest(times, Duration::from_secs(1)));
        let best = busiest(&times[..PENDING], BEST) as f64 / BEST.as_secs_f64();
        let round = Round {
            best,
            per_second: pace::per_second(&times[..PENDING]),
            control,
        };
        println!(
            "{} requests at {RATE}/s: {round:.1?} while much is pending, at most {most} in {SPAN:?}, {at_once} in a second",
            times.len()
        );
        self.0.push(round);
    }

    fn check(&self) {
        assert!(
            self.0.iter().any(Round::is_enough),
            "no round used its rate of {RATE}/s: {:.1?}",
            self.0
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_holds_for_amplitude_over_two_workers() {
    let amplitude = Amplitude::start().await;
    let mut world = two_workers(vec![(
        "SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(),
        amplitude.url(),
    )])
    .await;
    let mut used = Used::default();
    let mut earlier: Option<String> = None;
    while used.is_wanted() {
        if let Some(id) = earlier.take() {
            change(&world, &id, &json!({ "enabled": false })).await;
            world.let_be_pending(&id, "its round was judged, and another one followed");
        }
        let control = pace::unlimited(&world, used.rounds()).await;
        // A new project and destination, for which nothing of the control is pending.
        let (key, name) = (
            format!("{KEY}{}", used.rounds()),
            format!("Analytics {}", used.rounds()),
        );
        amplitude.project(&key, SECRET_KEY);
        let body = json!({
            "kind": "amplitude", "name": name, "endpoint": amplitude.url(), "sandbox_api_key": key,
            "events": ["user.*"], "rate": RATE,
        });
        let created = world.create_destination(&body).await;
        assert_eq!(created["rate"], RATE);
        let id = created["id"].as_str().expect("an id").to_owned();
        let before = amplitude.requests().len();
        let enabled_at = flood(&mut world, &id, &json!({}), used.rounds()).await;
        amplitude.wait_counted(&key, PENDING + EVENTS, ENOUGH).await;
        let times: Vec<Instant> = amplitude
            .requests()
            .iter()
            .skip(before)
            .map(|request| request.began)
            .collect();
        pace::check_never_ahead(&times, RATE, enabled_at);
        assert_eq!(
            (amplitude.events(&key).len(), amplitude.repeated(&key)),
            (PENDING + EVENTS, 0),
            "each once"
        );
        used.note(&times, control);
        earlier = Some(id);
    }
    used.check();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_concurrency_holds_over_two_workers() {
    let mut world = two_workers(Vec::new()).await;
    let id = world.destination_id.clone();
    queue(&world, &id, &json!({ "concurrency": CONCURRENCY }), 0).await;
    world.receiver.answer(Reply::Hang);
    change(&world, &id, &json!({ "enabled": true })).await;
    // The sender gives up after a while, and then other requests take their place.
    let open = || {
        world
            .receiver
            .all()
            .iter()
            .filter(|one| one.finished_at.is_none() && is_in_flight(one))
            .count()
    };
    wait::until(ENOUGH, "as many requests as are allowed", async || {
        let open = open();
        if open == CONCURRENCY {
            Ok(())
        } else {
            Err(format!("{open} are open"))
        }
    })
    .await;
    wait::throughout(Duration::from_secs(2), "the concurrency", async || {
        let open = open();
        if open <= CONCURRENCY {
            Ok(())
        } else {
            Err(format!("{open} are open"))
        }
    })
    .await;
    world
        .receiver
        .answer(Reply::After(Duration::from_millis(200)));
    world.receiver.release();
    notify(&mut world, 0).await;
    let received = all_acked(&world, 0).await;
    let open_at = |time| {
        received
            .iter()
            .filter(|one| one.began <= time && one.finished_at.is_some_and(|end| end > time))
            .count()
    };
    let most = received
        .iter()
        .map(|request| open_at(request.began))
        .max()
        .unwrap_or(0);
    println!("at most {most} requests at once, {CONCURRENCY} allowed");
    assert!(most <= CONCURRENCY, "{most} requests at once");
    world.finish().await;
}

/// Returns whether the sender is certainly still waiting for the answer to a hanging request.
fn is_in_flight(request: &Received) -> bool {
    request.began.elapsed() < LESS_THAN_AN_ATTEMPT
}
