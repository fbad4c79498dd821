//! Notifications that come at the very end of a window, by the hundred: while a settling is between its load and its
//! record, and while a run closes. Each has its outcome, and every revision is told once.
//!
//! A lane that is late may legally skip a revision that a newer one replaced, so the check for gaps is made on the
//! events; at the receiver revisions only grow, and end with the newest.

use domain::Timestamp;
use futures::future::join_all;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use system_tests::http::post_as_sns;
use system_tests::runs;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use tokio::time::Instant;
use workflows::contract;

/// So many purchases at the same time.
const PURCHASES: usize = 24;
/// So many rounds must have had a notification inside a settling.
const HITS: usize = 200;
/// No new round begins after this.
const LONGEST: Duration = Duration::from_secs(80);
/// Where the second notification of a round is aimed at first, from the end of the window on; then the purchase learns.
const EARLIEST_MS: i64 = -15;
const LATEST_MS: i64 = 60;
/// The server fires no timer earlier than after a second.
const SHORTEST_TIMER: Duration = Duration::from_secs(1);

const KINDS: [&str; 2] = ["SUBSCRIPTION_AUTO_RENEWAL_OFF", "SUBSCRIPTION_AUTO_RENEWAL_ON"];

#[derive(Default)]
struct Tally {
    rounds: AtomicUsize,
    hits: AtomicUsize,
    early: AtomicUsize,
    late: AtomicUsize,
}

impl Tally {
    /// Counts a round and says where the next one should be aimed, beside this one.
    fn count(&self, came: Came) -> i64 {
        let (counter, step_ms) = match came {
            Came::Inside => (&self.hits, 0),
            Came::Early => (&self.early, 12),
            Came::Late => (&self.late, -8),
            Came::Unaimed => (&self.rounds, 0),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if came != Came::Unaimed {
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
        step_ms
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [rounds, hits, early, late] =
            [&self.rounds, &self.hits, &self.early, &self.late].map(|count| count.load(Ordering::Relaxed));
        write!(to, "{rounds} rounds: {hits} inside a settling, {early} before its load, {late} after its end")
    }
}

/// Where a round's second notification came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Before the load: it restarted the window, or was settled together with the first.
    Early,
    /// After the load and before the run's task was complete.
    Inside,
    /// After that.
    Late,
    /// The window was over before we knew when it ends.
    Unaimed,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_notification_is_lost_in_a_settling() {
    let world = World::start(Setting { window_seconds: 1, ..Setting::default() }).await;
    let tally = Tally::default();
    let began = Instant::now();
    let sent = join_all((0..PURCHASES).map(|number| storm(&world, &tally, number, began))).await;
    println!("{tally}, in {:?}", began.elapsed());
    for (number, messages) in sent.iter().enumerate() {
        check(&world, &receipt(number), messages).await;
    }
    check_unhelped(&world).await;
    // Last: a fault can hide the rounds that would show it.
    assert!(tally.hits.load(Ordering::Relaxed) >= HITS, "{HITS} inside a settling are wanted: {tally}");
    world.finish().await;
}

/// What the dispatcher and the workflow forget, the sweep finds half a minute later: here it must have found nothing.
async fn check_unhelped(world: &World) {
    let is_wake = |event: &HistoryEvent| match event.attributes.as_ref() {
        Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal)) => signal.signal_name == contract::WAKE,
        _ => false,
    };
    let runs = world.temporal.list("WorkflowType = 'purchase'").await;
    println!("{} runs", runs.len());
    for run in runs.into_iter().filter_map(|run| run.execution) {
        let history = world.temporal.run_history(&run).await;
        assert!(!history.iter().any(is_wake), "{} had to be woken by the sweep", run.workflow_id);
    }
}

fn receipt(number: usize) -> String {
    format!("storm-{number}")
}

/// Rounds on one purchase until there were enough; the messages it sent.
async fn storm(world: &World, tally: &Tally, number: usize, began: Instant) -> Vec<String> {
    let receipt_id = receipt(number);
    let span = usize::try_from(LATEST_MS - EARLIEST_MS).unwrap_or(0);
    let mut aim_ms = EARLIEST_MS + i64::try_from(span * number / PURCHASES).unwrap_or(0);
    let mut sent = Vec::new();
    while tally.hits.load(Ordering::Relaxed) < HITS && began.elapsed() < LONGEST {
        let came = round(world, &receipt_id, aim_ms, &mut sent).await;
        aim_ms += tally.count(came);
    }
    sent
}

/// One notification opens a window, the next one is aimed at its end.
async fn round(world: &World, receipt_id: &str, aim_ms: i64, sent: &mut Vec<String>) -> Came {
    let workflow = world.workflow(receipt_id);
    sent.push(send(world, receipt_id, sent.len()).await);
    let Some((run, fires_at)) = timer(world, &workflow).await else { return Came::Unaimed };
    let aim = fires_at.saturating_add_signed(aim_ms);
    wait::until(SOON, "the end of a window", async || {
        let now = u64::try_from(api::clock::now().micros()).unwrap_or(0);
        if now >= aim.0 { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    sent.push(send(world, receipt_id, sent.len()).await);
    let pair = [sent.len() - 2, sent.len() - 1].map(|place| sent[place].clone());
    let second = settled(world, &pair[1]).await;
    let first = settled(world, &pair[0]).await;
    if first.revision == second.revision {
        return Came::Early;
    }
    let history = world.temporal.run_history(&run).await;
    let is_inside = settlings(&history).iter().any(|(fired, ended)| (*fired..=*ended).contains(&second.accepted_at));
    if is_inside { Came::Inside } else { Came::Late }
}

/// Microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Micros(u64);

impl Micros {
    fn saturating_add_signed(self, ms: i64) -> Self {
        Self(self.0.saturating_add_signed(ms * 1000))
    }
}

async fn send(world: &World, receipt_id: &str, number: usize) -> String {
    let kind = KINDS[number % 2];
    // A store's time of its own for each, so that none is a repeat of another.
    let rtn = Rtn::new(kind, receipt_id).later(i64::try_from(number).unwrap_or(0));
    let message = world.sns.notification(&rtn);
    let answer = post_as_sns(&world.notification_url, &message.body).await;
    assert!(answer.as_ref().is_ok_and(|answer| answer.status == 200), "{kind} of {receipt_id}: {answer:?}");
    message.id
}

/// The newest run's timer: the run, and when it will fire. Asked a few times only, as there are many purchases.
async fn timer(world: &World, workflow: &str) -> Option<(WorkflowExecution, Micros)> {
    let mut looks = 0_u32;
    wait::until(SOON, &format!("a timer of {workflow}"), async || {
        looks += 1;
        if !looks.is_multiple_of(15) {
            return Err("not asked".to_owned());
        }
        let history = world.temporal.history(workflow).await;
        match running_timer(&history).zip(run_id(&history)) {
            Some((fires_at, run_id)) => {
                Ok(Some((WorkflowExecution { workflow_id: workflow.to_owned(), run_id }, fires_at)))
            }
            None if looks > 60 => Ok(None),
            None => Err(format!("{} events", history.len())),
        }
    })
    .await
}

fn run_id(history: &[HistoryEvent]) -> Option<String> {
    match history.first()?.attributes.as_ref()? {
        Attributes::WorkflowExecutionStartedEventAttributes(started) => Some(started.original_execution_run_id.clone()),
        _ => None,
    }
}

fn running_timer(history: &[HistoryEvent]) -> Option<Micros> {
    let started = history.iter().rposition(|event| event.event_type() == EventType::TimerStarted)?;
    let has_ended = |event: &HistoryEvent| {
        matches!(event.event_type(), EventType::TimerFired | EventType::WorkflowExecutionCompleted)
    };
    if history.get(started..)?.iter().any(has_ended) {
        return None;
    }
    let length = runs::timers(history).pop()?.max(SHORTEST_TIMER);
    Some(micros(runs::time(history.get(started)?) + length))
}

fn micros(time: Duration) -> Micros {
    Micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// The settlings of a run: when the timer fired, and when the task with the record's marker was complete.
fn settlings(history: &[HistoryEvent]) -> Vec<(Micros, Micros)> {
    let recorded = runs::done(history, "record");
    let fired = runs::times(history, EventType::TimerFired);
    let before = |at: &Duration| fired.iter().rfind(|fired| *fired <= at).copied();
    recorded.iter().filter_map(|at| Some((micros(before(at)?), micros(*at)))).collect()
}

struct Settled {
    accepted_at: Micros,
    revision: i64,
    /// Not so when two that cancel each other were settled together.
    is_told: bool,
}

async fn settled(world: &World, message_id: &str) -> Settled {
    let mut looks = 0_u32;
    let mut last = String::new();
    wait::until(SOON, &format!("the outcome of {message_id}"), async || {
        looks += 1;
        if looks % 16 != 1 {
            return Err(last.clone());
        }
        let answer = world.api.try_get(&format!("/v1/notifications/{message_id}")).await?;
        last = format!("{answer:?}");
        let one = &answer.body["notifications"][0];
        match (one["outcome"].as_str(), one["revision"].as_i64(), accepted_at(&answer.body)) {
            (Some(outcome @ ("settled" | "no_change")), Some(revision), Some(accepted_at)) => {
                Ok(Settled { accepted_at, revision, is_told: outcome == "settled" })
            }
            _ => Err(last.clone()),
        }
    })
    .await
}

fn accepted_at(answer: &Value) -> Option<Micros> {
    let at: Timestamp = answer["accepted_at"].as_str()?.parse().ok()?;
    u64::try_from(at.micros()).ok().map(Micros)
}

/// Every message ended once, every revision has one event, and the receiver ends with the newest.
async fn check(world: &World, receipt_id: &str, messages: &[String]) {
    let events = world.events(receipt_id).await;
    let mut revisions: Vec<_> = events.iter().filter_map(|event| event["revision"].as_i64()).collect();
    revisions.sort_unstable();
    let newest = i64::try_from(revisions.len()).unwrap_or(i64::MAX);
    assert_eq!(revisions, (1..=newest).collect::<Vec<_>>(), "the revisions of {receipt_id}");
    let mut wanted = 0;
    for message_id in messages {
        wanted += usize::from(settled(world, message_id).await.is_told);
    }
    let told: i64 = events.iter().filter_map(|event| event["body"]["attributes"]["coalesced"].as_i64()).sum();
    assert_eq!(usize::try_from(told), Ok(wanted), "the notifications told of in the events of {receipt_id}");
    world.wait_acked(receipt_id, newest).await;
    let acked = world.receiver.revisions(&world.key(receipt_id).to_string());
    assert!(acked.is_sorted_by(|a, b| a < b), "a revision of {receipt_id} came twice or too late: {acked:?}");
}
