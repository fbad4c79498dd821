//! Checks which signals the sweep sent in a world, and whether they were needed.
//!
//! The sweep signals overdue purchases and lanes. On a busy machine that may be a purchase whose run was about to
//! settle it; such a signal changes nothing. A signal was needed if nothing else would have made progress: then the
//! dispatcher, a run or an activity lost a wake-up, and without the sweep the purchase would never be settled. The
//! histories in Temporal show which of the two it was, however busy the machine was.

use super::runs;
use super::world::World;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use workflows::contract;

/// Reason in the log for signalling a purchase whose notification is not settled in time.
const UNSETTLED: &str = "unsettled";
/// Reason in the log for signalling a destination whose delivery is not attempted in time.
const LANE: &str = "lane";
/// How long after a destination was enabled the signal to its run may still be outstanding: a process sends a
/// destination one signal per second, and the sweep may read the database in between.
const ENABLED: Duration = Duration::from_secs(2);
/// A run whose timer ends within this time soon settles by itself.
const NEAR: Duration = Duration::from_secs(60);

/// A signal of the sweep, as read from a log line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// When the sweep read the database and found the work overdue.
    read_at: Duration,
    workflow: String,
    why: String,
}

impl Finding {
    /// Parses a log line, such as `… collapse_key=… why="unsettled" read_at=2026-01-31T10:00:00.000000Z`.
    fn read(line: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = line.split_once(&format!(" {name}="))?.1;
            Some(value.split(' ').next()?.trim_matches('"').to_owned())
        };
        let (why, read_at) = (
            field("why")?,
            field("read_at")?.parse::<domain::Timestamp>().ok()?,
        );
        let purchase =
            field("collapse_key").and_then(|key| Some(contract::workflow_id(key.parse().ok()?)));
        let destination = || {
            Some(contract::destination_workflow_id(
                field("destination.id")?.parse().ok()?,
            ))
        };
        let workflow = purchase.or_else(destination)?;
        Some(Self {
            read_at: Duration::from_micros(u64::try_from(read_at.micros()).ok()?),
            workflow,
            why,
        })
    }
}

impl World {
    /// Allows this story to need the sweep. `because` is a sentence with the reason.
    ///
    /// # Panics
    /// When `because` is not a sentence.
    pub fn let_sweep_help(&mut self, because: &'static str) {
        assert!(
            because.contains(' '),
            "a sentence says why the sweep has to help"
        );
        self.sweep_helps = Some(because);
    }

    /// Checks that no signal of the sweep was needed, unless [`Self::let_sweep_help`] allows it. Signals to purchases
    /// whose next wake is due and to disabled destinations are always allowed.
    ///
    /// # Errors
    /// Describes the first signal that was needed.
    pub(super) async fn check_unhelped(&self) -> Result<(), String> {
        let logs = self.installation.logs();
        let found: BTreeSet<Finding> = logs.lines().filter_map(Finding::read).collect();
        let count = found.len();
        let lost = self.lost_wake_up(found).await;
        let Some(because) = self.sweep_helps else {
            return lost.map_or(Ok(()), Err);
        };
        println!("the sweep may help ({because}); it signalled {count} times");
        if let Some(lost) = lost {
            println!("{lost}");
        }
        Ok(())
    }

    /// Returns the first of these signals that was needed, with the histories of its workflow's runs.
    async fn lost_wake_up(&self, found: BTreeSet<Finding>) -> Option<String> {
        for finding in &found {
            let needed = match finding.why.as_str() {
                UNSETTLED => self.was_unattended(finding).await,
                LANE => {
                    !self.was_delivering(finding).await
                        && !self.was_just_enabled(finding, &found).await
                }
                _ => continue,
            };
            if needed {
                let runs = self.runs_of(&finding.workflow).await;
                let seen: Vec<_> = runs.iter().map(|run| runs::summary(run)).collect();
                return Some(format!(
                    "a lost wake-up: the sweep had to help, {finding:?}; the runs: {seen:#?}"
                ));
            }
        }
        None
    }

    async fn runs_of(&self, workflow: &str) -> Vec<Vec<HistoryEvent>> {
        let mut runs = Vec::new();
        for run in self
            .temporal
            .runs(workflow)
            .await
            .into_iter()
            .filter_map(|run| run.execution)
        {
            runs.push(self.temporal.run_history(&run).await);
        }
        runs
    }

    /// Returns whether nothing was about to settle a purchase when the sweep signalled it.
    async fn was_unattended(&self, finding: &Finding) -> bool {
        let runs = self.runs_of(&finding.workflow).await;
        // The first matching signal after the read, however late it arrived.
        let is_it = |event: &HistoryEvent| is_wake(event) && runs::time(event) >= finding.read_at;
        let signals = runs
            .iter()
            .filter_map(|run| Some((run, run.iter().position(is_it)?)));
        let Some((run, at)) = signals.min_by_key(|(run, at)| runs::time(&run[*at])) else {
            return true;
        };
        let signalled_at = runs::time(&run[at]);
        let before = before(run, at);
        let others = runs
            .iter()
            .filter(|other| other.first() != run.first())
            .flatten();
        let has_progressed = before
            .iter()
            .chain(others)
            .map(runs::time)
            .any(|time| (finding.read_at..signalled_at).contains(&time));
        let is_notified_late =
            runs.iter()
                .flat_map(|run| runs::notified(run))
                .any(|(time, notified)| {
                    // The dispatcher sent the signal only after the window had ended.
                    time >= signalled_at && notified.quiet.is_zero()
                });
        !has_progressed && !is_under_way(&before, signalled_at) && !is_notified_late
    }

    /// Returns whether a destination was enabled so shortly before the sweep read the database that the regular signal
    /// was still to come. On a stalled machine that signal comes later than [`ENABLED`]; then the sweep's signal was
    /// not the only one.
    async fn was_just_enabled(&self, finding: &Finding, found: &BTreeSet<Finding>) -> bool {
        let id = finding.workflow.rsplit('/').next().unwrap_or_default();
        let entries = self
            .api
            .all(&format!(
                "/v1/audit-log?operation=destination.update&subject={id}"
            ))
            .await;
        let enabled_at = entries
            .iter()
            .filter(|entry| entry["after"]["enabled"] == true)
            .map(time_of)
            .collect();
        let signalled_at = self
            .runs_of(&finding.workflow)
            .await
            .iter()
            .flatten()
            .filter(is_pending)
            .map(runs::time)
            .collect();
        let swept_at = found
            .iter()
            .filter(|other| other.workflow == finding.workflow)
            .map(|other| other.read_at)
            .collect();
        is_signal_to_come(
            finding.read_at,
            &Enabling {
                enabled_at,
                signalled_at,
                swept_at,
            },
        )
    }

    /// Returns whether a destination's run was open when the sweep read the database, or a purchase's run was about to
    /// deliver.
    async fn was_delivering(&self, finding: &Finding) -> bool {
        let is_open = |run: &Vec<HistoryEvent>| {
            let began = run
                .first()
                .map(runs::time)
                .is_some_and(|began| began < finding.read_at);
            let closed = run
                .last()
                .filter(|last| is_end(last.event_type()))
                .map(runs::time);
            began && closed.is_none_or(|closed| closed >= finding.read_at)
        };
        if self.runs_of(&finding.workflow).await.iter().any(is_open) {
            return true;
        }
        for run in self
            .temporal
            .list("WorkflowType = 'purchase'")
            .await
            .into_iter()
            .filter_map(|run| run.execution)
        {
            let history = self.temporal.run_history(&run).await;
            let before = history.partition_point(|event| runs::time(event) <= finding.read_at);
            let is_of_it =
                |event: &HistoryEvent| is_activity(event) && concerns(event, &finding.workflow);
            let before = &history[..before];
            if is_open(&history) && (has_task(before) || has_open(before, is_of_it)) {
                return true;
            }
        }
        false
    }
}

/// When a destination was enabled, when its run was signalled that deliveries are pending, and when the sweep found
/// them.
struct Enabling {
    enabled_at: Vec<Duration>,
    signalled_at: Vec<Duration>,
    swept_at: Vec<Duration>,
}

/// Returns whether the regular signal after the last enabling was still pending when the sweep read the database:
/// because the enabling was recent, or because no signal had been sent since then and a later one was not the sweep's.
fn is_signal_to_come(read_at: Duration, times: &Enabling) -> bool {
    let enabled_at = times.enabled_at.iter().filter(|at| **at <= read_at).max();
    enabled_at.is_some_and(|enabled_at| {
        let is_between = |at: &Duration| (*enabled_at..read_at).contains(at);
        let is_first = !times
            .signalled_at
            .iter()
            .chain(&times.swept_at)
            .any(is_between);
        let signals = times
            .signalled_at
            .iter()
            .filter(|at| **at >= read_at)
            .count();
        let sweeps = times.swept_at.iter().filter(|at| **at >= read_at).count();
        read_at - *enabled_at <= ENABLED || (is_first && signals > sweeps)
    })
}

fn time_of(entry: &Value) -> Duration {
    let at = entry["at"]
        .as_str()
        .and_then(|at| at.parse::<domain::Timestamp>().ok())
        .expect("the time of an entry");
    Duration::from_micros(at.micros().unsigned_abs())
}

fn is_pending(event: &&HistoryEvent) -> bool {
    match event.attributes.as_ref() {
        Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal)) => {
            signal.signal_name == contract::PENDING
        }
        _ => false,
    }
}

fn is_wake(event: &HistoryEvent) -> bool {
    match event.attributes.as_ref() {
        Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal)) => {
            signal.signal_name == contract::WAKE
        }
        _ => false,
    }
}

/// Returns whether a run has ended with an event of this type.
const fn is_end(event: EventType) -> bool {
    use EventType::{
        WorkflowExecutionCanceled, WorkflowExecutionCompleted, WorkflowExecutionContinuedAsNew,
        WorkflowExecutionFailed, WorkflowExecutionTerminated, WorkflowExecutionTimedOut,
    };
    matches!(
        event,
        WorkflowExecutionCanceled
            | WorkflowExecutionCompleted
            | WorkflowExecutionContinuedAsNew
            | WorkflowExecutionFailed
            | WorkflowExecutionTerminated
            | WorkflowExecutionTimedOut
    )
}

fn is_activity(event: &HistoryEvent) -> bool {
    event.event_type() == EventType::ActivityTaskScheduled
}

/// Returns whether a run with these events has a workflow task. The server retries a task that failed or timed out, and
/// stores the retry only once it completes.
fn has_task(events: &[HistoryEvent]) -> bool {
    use EventType::{
        WorkflowTaskCompleted, WorkflowTaskFailed, WorkflowTaskScheduled, WorkflowTaskStarted,
        WorkflowTaskTimedOut,
    };
    let kinds = events.iter().map(HistoryEvent::event_type);
    let newest = kinds.rev().find(|kind| {
        matches!(
            kind,
            WorkflowTaskScheduled
                | WorkflowTaskStarted
                | WorkflowTaskFailed
                | WorkflowTaskTimedOut
                | WorkflowTaskCompleted
        )
    });
    newest.is_some_and(|newest| newest != WorkflowTaskCompleted)
}

/// Returns whether an event concerns this workflow: attempts to deliver to other destinations do not.
fn concerns(event: &HistoryEvent, workflow: &str) -> bool {
    let Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) =
        event.attributes.as_ref()
    else {
        return true;
    };
    let input: Vec<u8> = scheduled
        .input
        .iter()
        .flat_map(|input| &input.payloads)
        .flat_map(|one| one.data.clone())
        .collect();
    let input = String::from_utf8_lossy(&input);
    let id = workflow.rsplit('/').next().unwrap_or_default();
    scheduled
        .activity_type
        .as_ref()
        .is_none_or(|kind| kind.name != "deliver")
        || input.contains(id)
}

/// Returns whether a run with these events has a workflow task, an activity that settles, or a timer that ends soon.
/// Attempts to deliver do not settle.
fn is_under_way(events: &[HistoryEvent], now: Duration) -> bool {
    let is_settling = |event: &HistoryEvent| match event.attributes.as_ref() {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => scheduled
            .activity_type
            .as_ref()
            .is_none_or(|kind| kind.name != "deliver"),
        Some(Attributes::TimerStartedEventAttributes(timer)) => {
            let seconds = timer
                .start_to_fire_timeout
                .as_ref()
                .map_or(0, |length| length.seconds.unsigned_abs());
            runs::time(event) + Duration::from_secs(seconds) < now + NEAR
        }
        _ => false,
    };
    has_task(events) || has_open(events, is_settling)
}

/// Returns whether these events begin an activity or timer that `is_wanted` matches and do not end it.
fn has_open(events: &[HistoryEvent], is_wanted: impl Fn(&HistoryEvent) -> bool) -> bool {
    let closed: BTreeSet<i64> = events.iter().filter_map(beginning).collect();
    events
        .iter()
        .any(|event| is_wanted(event) && !closed.contains(&event.event_id))
}

/// Returns the events of a run before the signal at index `at`; none if the index is at most 1, since the signal itself
/// started the run. A signal that arrives during a workflow task is stored after the task's end although it arrived
/// earlier, so later events are left out.
fn before(run: &[HistoryEvent], at: usize) -> Vec<HistoryEvent> {
    let earlier = run[..at]
        .iter()
        .filter(|event| at > 1 && runs::time(event) <= runs::time(&run[at]));
    earlier.cloned().collect()
}

/// Returns the id of the event that started the activity or timer that this event ended.
fn beginning(event: &HistoryEvent) -> Option<i64> {
    Some(match event.attributes.as_ref()? {
        Attributes::ActivityTaskCompletedEventAttributes(end) => end.scheduled_event_id,
        Attributes::ActivityTaskFailedEventAttributes(end) => end.scheduled_event_id,
        Attributes::ActivityTaskTimedOutEventAttributes(end) => end.scheduled_event_id,
        Attributes::ActivityTaskCanceledEventAttributes(end) => end.scheduled_event_id,
        Attributes::TimerFiredEventAttributes(end) => end.started_event_id,
        Attributes::TimerCanceledEventAttributes(end) => end.started_event_id,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_id: i64, seconds: i64, kind: EventType) -> HistoryEvent {
        let event_time = Some(prost_types::Timestamp { seconds, nanos: 0 });
        HistoryEvent {
            event_id,
            event_time,
            event_type: kind.into(),
            ..Default::default()
        }
    }

    /// Returns a run whose first workflow task closed at `closed_at` with this event, and which was signalled at five
    /// seconds.
    fn signalled(closed_at: i64, closed: EventType) -> Vec<HistoryEvent> {
        vec![
            event(1, 1, EventType::WorkflowExecutionStarted),
            event(2, 1, EventType::WorkflowTaskScheduled),
            event(3, closed_at, closed),
            event(4, 5, EventType::WorkflowExecutionSignaled),
        ]
    }

    fn is_under_way_at_signal(run: &[HistoryEvent]) -> bool {
        is_under_way(&before(run, 3), Duration::from_secs(5))
    }

    #[test]
    fn a_task_that_closed_after_a_signal_was_open_at_the_signal() {
        let closed_at =
            |at| is_under_way_at_signal(&signalled(at, EventType::WorkflowTaskCompleted));
        assert!(closed_at(9), "the end is stored first, and was later");
        assert!(!closed_at(4));
    }

    #[test]
    fn a_signal_of_the_sweep_alone_is_no_late_one() {
        let seconds = |all: &[u64]| {
            all.iter()
                .map(|one| Duration::from_secs(*one))
                .collect::<Vec<_>>()
        };
        let read_at_ten = |enabled: &[u64], signalled: &[u64], swept: &[u64]| {
            let times = Enabling {
                enabled_at: seconds(enabled),
                signalled_at: seconds(signalled),
                swept_at: seconds(swept),
            };
            is_signal_to_come(Duration::from_secs(10), &times)
        };
        assert!(read_at_ten(&[9], &[11], &[10]), "both within one signal");
        assert!(!read_at_ten(&[3], &[11], &[10]), "the sweep's own signal");
        assert!(
            read_at_ten(&[3], &[11, 12], &[10]),
            "another one that was late"
        );
        assert!(!read_at_ten(&[3], &[11, 41], &[10, 40]), "two of the sweep");
        assert!(
            !read_at_ten(&[3], &[4, 11, 12], &[10]),
            "it was signalled before"
        );
        assert!(!read_at_ten(&[], &[11, 12], &[10]), "nobody enabled it");
    }

    #[test]
    fn a_task_that_timed_out_or_failed_is_repeated() {
        for closed in [
            EventType::WorkflowTaskTimedOut,
            EventType::WorkflowTaskFailed,
        ] {
            assert!(is_under_way_at_signal(&signalled(4, closed)), "{closed:?}");
        }
    }
}
