//! Notifications that arrive during a settling, between its load and its record, and others while a run ends. Each has
//! its outcome without a `wake` signal of the sweep, and the revisions are 1…n, without a gap or a repetition.
//!
//! The test holds a settling open with a row lock on the notification that its record updates: the record waits, a
//! notification is accepted, and only then is the lock released. The release does not depend on the record.
//!
//! The next settling is requested once the revision has arrived. On a slow machine its window can end before that: then
//! the newer revision may supersede the undelivered one, and only the newer one arrives.

use domain::Timestamp;
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use system_tests::http::post_as_sns;
use system_tests::postgres::Hold;
use system_tests::process::Backend;
use system_tests::runs;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use tokio::time::Instant;
use workflows::contract;

/// Number of purchases that run concurrently.
const PURCHASES: usize = 24;
/// Minimum number of rounds with a notification during a settling.
const HITS: usize = 200;
/// Time after which no new round begins, to end a hang: on an otherwise idle machine, the rounds need two minutes.
const LONGEST: Duration = Duration::from_secs(3600);
const WINDOW: Duration = Duration::from_secs(8);
/// How long before the end of a window the test begins to wait for its settling.
const BEFORE: Duration = Duration::from_millis(200);

const KINDS: [&str; 2] = [
    "SUBSCRIPTION_AUTO_RENEWAL_OFF",
    "SUBSCRIPTION_AUTO_RENEWAL_ON",
];

#[derive(Default)]
struct Tally {
    rounds: AtomicUsize,
    hits: AtomicUsize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [rounds, hits] = [&self.rounds, &self.hits].map(|count| count.load(Ordering::Relaxed));
        write!(
            to,
            "{rounds} rounds, {hits} of them with a notification inside a settling"
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_notification_is_lost_in_a_settling() {
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: WINDOW.as_secs(),
        ..Setting::default()
    };
    let world = World::start(setting).await;
    let tally = Tally::default();
    let began = Instant::now();
    let sent = join_all((0..PURCHASES).map(|number| storm(&world, &tally, number, began))).await;
    println!("{tally}, in {:?}", began.elapsed());
    for (number, messages) in sent.iter().enumerate() {
        check(&world, &receipt(number), messages).await;
    }
    // Checked last: a fault can prevent the rounds that would show it.
    assert!(
        tally.hits.load(Ordering::Relaxed) >= HITS,
        "{HITS} inside a settling are wanted: {tally}"
    );
    world.finish().await;
}

fn receipt(number: usize) -> String {
    format!("storm-{number}")
}

/// Runs rounds on one purchase until there were enough, and returns its message ids. The purchases begin at different
/// times, so that their windows do not all end together.
async fn storm(world: &World, tally: &Tally, number: usize, began: Instant) -> Vec<String> {
    let receipt_id = receipt(number);
    let part = |count: usize| u32::try_from(count).unwrap_or(1);
    wait_until(began + WINDOW * part(number) / part(PURCHASES)).await;
    let mut sent = Vec::new();
    while tally.hits.load(Ordering::Relaxed) < HITS && began.elapsed() < LONGEST {
        let is_hit = round(world, &receipt_id, &mut sent).await;
        tally.rounds.fetch_add(1, Ordering::Relaxed);
        tally.hits.fetch_add(usize::from(is_hit), Ordering::Relaxed);
    }
    sent
}

async fn wait_until(time: Instant) {
    wait::until(SOON, "a time", async || {
        if Instant::now() >= time {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await;
}

/// One notification opens a window, another one arrives during its settling, and both are announced before the next
/// round, whose first notification arrives while the run ends. Returns whether the second one arrived during the
/// settling.
async fn round(world: &World, receipt_id: &str, sent: &mut Vec<String>) -> bool {
    let first_id = send(world, receipt_id, sent).await;
    let sent_at = Instant::now();
    let open = format!(
        "notifications WHERE collapse_key = '{}' AND outcome IS NULL",
        world.key(receipt_id)
    );
    let mut hold = Hold::on(world.installation.database(), &open)
        .await
        .expect("the row is locked");
    if hold.rows == 0 {
        // The flush of the previous round came so late that it settled this one.
        let first = settled(world, &first_id).await;
        wait_arrived(world, receipt_id, first.revision).await;
        return false;
    }
    wait_until(sent_at + WINDOW.saturating_sub(BEFORE)).await;
    wait::until(
        SOON,
        &format!("the record of {receipt_id}"),
        async || match hold.is_waited_for() {
            Ok(true) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    let second_id = send(world, receipt_id, sent).await;
    hold.release().expect("the row is unlocked");
    let first = settled(world, &first_id).await;
    wait_arrived(world, receipt_id, first.revision).await;
    settle_next(world, receipt_id, &second_id).await;
    let second = settled(world, &second_id).await;
    wait_arrived(world, receipt_id, second.revision).await;
    let history = world.temporal.history(&world.workflow(receipt_id)).await;
    let is_inside = settlings(&history)
        .iter()
        .any(|(fired, closed)| (*fired..=*closed).contains(&second.accepted_at));
    is_inside && first.revision != second.revision
}

/// Waits until the receiver has acknowledged this revision, or a newer one.
async fn wait_arrived(world: &World, receipt_id: &str, revision: i64) {
    let key = world.key(receipt_id).to_string();
    wait::until(
        SOON,
        &format!("revision {revision} of {receipt_id}"),
        async || {
            let acked = world.receiver.revisions(&key);
            if acked.last() >= Some(&revision) {
                Ok(())
            } else {
                Err(format!("{acked:?}"))
            }
        },
    )
    .await;
}

/// Requests the next settling as soon as the run's status counts the notification that arrived during the last one.
async fn settle_next(world: &World, receipt_id: &str, message_id: &str) {
    let mut checks = 0_u32;
    let what = format!("the run of {receipt_id} to know of {message_id}");
    let is_known = wait::until(SOON, &what, async || {
        checks += 1;
        if checks % 8 != 1 {
            return Err("not asked".to_owned());
        }
        if try_settled(world, message_id).await.is_some() {
            return Ok(false);
        }
        let status = world.status(receipt_id).await?;
        if status["pending"].as_i64() > Some(0) {
            Ok(true)
        } else {
            Err(status.to_string())
        }
    })
    .await;
    if is_known {
        world
            .act(
                receipt_id,
                contract::FLUSH,
                &json!({ "reason": "the revision before has arrived" }),
            )
            .await;
    }
}

/// A time in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Micros(u64);

async fn send(world: &World, receipt_id: &str, sent: &mut Vec<String>) -> String {
    let number = sent.len();
    let kind = KINDS[number % 2];
    // Each has a different store time, so that none is a duplicate.
    let rtn = Rtn::new(kind, receipt_id).later(i64::try_from(number).unwrap_or(0));
    let message = world.sns.notification(&rtn);
    let answer = post_as_sns(&world.notification_url, &message.body).await;
    assert!(
        answer.as_ref().is_ok_and(|answer| answer.status == 200),
        "{kind} of {receipt_id}: {answer:?}"
    );
    sent.push(message.id.clone());
    message.id
}

fn micros(time: Duration) -> Micros {
    Micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// Returns the settlings of a run that a timer started: when the timer fired, and when the record was written.
fn settlings(history: &[HistoryEvent]) -> Vec<(Micros, Micros)> {
    let recorded = runs::recorded(history);
    let fired = runs::times(history, EventType::TimerFired);
    // A flush settles without its own timer.
    let first_after = |fired: &Duration| recorded.iter().find(|at| *at >= fired).copied();
    fired
        .iter()
        .filter_map(|fired| Some((micros(*fired), micros(first_after(fired)?))))
        .collect()
}

struct Settled {
    accepted_at: Micros,
    revision: i64,
}

async fn settled(world: &World, message_id: &str) -> Settled {
    let mut checks = 0_u32;
    wait::until(SOON, &format!("the outcome of {message_id}"), async || {
        checks += 1;
        if checks % 8 != 1 {
            return Err("not asked".to_owned());
        }
        try_settled(world, message_id)
            .await
            .ok_or_else(|| "none".to_owned())
    })
    .await
}

async fn try_settled(world: &World, message_id: &str) -> Option<Settled> {
    let answer = world
        .api
        .try_get(&format!("/v1/notifications/{message_id}"))
        .await
        .ok()?;
    let one = &answer.body["notifications"][0];
    let revision = one["revision"].as_i64()?;
    assert_eq!(
        one["outcome"], "settled",
        "each alone changes the state: {answer:?}"
    );
    Some(Settled {
        accepted_at: accepted_at(&answer.body)?,
        revision,
    })
}

fn accepted_at(answer: &Value) -> Option<Micros> {
    let at: Timestamp = answer["accepted_at"].as_str()?.parse().ok()?;
    u64::try_from(at.micros()).ok().map(Micros)
}

/// Checks that each message made one revision, and that each revision arrived once and in order, unless a newer one that
/// arrived superseded it.
async fn check(world: &World, receipt_id: &str, messages: &[String]) {
    world
        .check_revisions(receipt_id, messages.len())
        .await
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    let newest = i64::try_from(messages.len()).unwrap_or(i64::MAX);
    let deliveries = world.deliveries(receipt_id).await;
    let superseded = deliveries
        .iter()
        .filter(|one| one["status"] == "superseded");
    let superseded: Vec<_> = superseded
        .filter_map(|one| one["revision"].as_i64())
        .collect();
    let wanted: Vec<_> = (1..=newest)
        .filter(|one| !superseded.contains(one))
        .collect();
    let acked = world.receiver.revisions(&world.key(receipt_id).to_string());
    assert_eq!(
        acked, wanted,
        "the revisions of {receipt_id} at the receiver, without {superseded:?}"
    );
    assert_eq!(
        acked.last(),
        Some(&newest),
        "the newest revision of {receipt_id}"
    );
}
