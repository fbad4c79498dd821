//! Queries about the run of a purchase: signals, timers, status and the times of events.

use super::temporal::Temporal;
use super::wait;
use super::world::{SOON, World};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_common::protos::temporal::api::enums::v1::{EventType, WorkflowTaskFailedCause};
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use workflows::contract;
use workflows::signal::Notified;

/// Returns when an event happened, in workflow time, which is ahead of real time after it was moved forward.
///
/// # Panics
/// When the event has no time.
pub fn time(event: &HistoryEvent) -> Duration {
    let time = event.event_time.as_ref().expect("the time of an event");
    Duration::new(time.seconds.unsigned_abs(), time.nanos.unsigned_abs())
}

/// Returns the events of a run with their times (UTC), for messages.
pub fn summary(history: &[HistoryEvent]) -> Vec<String> {
    let one = |event: &HistoryEvent| {
        let micros = i64::try_from(time(event).as_micros()).unwrap_or(i64::MAX);
        let at = domain::Timestamp::from_micros(micros);
        format!(
            "{} {at} {}",
            event.event_id,
            event.event_type().as_str_name()
        )
    };
    history.iter().map(one).collect()
}

/// Returns the `notified` signals of a history, with their times.
pub fn notified(history: &[HistoryEvent]) -> Vec<(Duration, Notified)> {
    let read = |event: &HistoryEvent| match event.attributes.as_ref()? {
        Attributes::WorkflowExecutionSignaledEventAttributes(signal)
            if signal.signal_name == contract::NOTIFIED =>
        {
            let payload = signal.input.as_ref()?.payloads.first()?;
            Some((time(event), serde_json::from_slice(&payload.data).ok()?))
        }
        _ => None,
    };
    history.iter().filter_map(read).collect()
}

/// Returns the duration of each timer of a history.
pub fn timers(history: &[HistoryEvent]) -> Vec<Duration> {
    let read = |event: &HistoryEvent| match event.attributes.as_ref()? {
        Attributes::TimerStartedEventAttributes(timer) => {
            let length = timer.start_to_fire_timeout.as_ref()?;
            Some(Duration::new(
                length.seconds.unsigned_abs(),
                length.nanos.unsigned_abs(),
            ))
        }
        _ => None,
    };
    history.iter().filter_map(read).collect()
}

/// Returns why workflow tasks of a history failed, leaving out `UnhandledCommand`, with which the server fails a task
/// when a signal arrives during it.
pub fn failures(history: &[HistoryEvent]) -> Vec<String> {
    let read = |event: &HistoryEvent| match event.attributes.as_ref()? {
        Attributes::WorkflowTaskFailedEventAttributes(failed) => {
            let why = failed
                .failure
                .as_ref()
                .map(|failure| failure.message.as_str())
                .unwrap_or_default();
            Some((
                failed.cause(),
                format!("{}: {why}", failed.cause().as_str_name()),
            ))
        }
        _ => None,
    };
    let found = history.iter().filter_map(read);
    found
        .filter(|(cause, _)| *cause != WorkflowTaskFailedCause::UnhandledCommand)
        .map(|(_, why)| why)
        .collect()
}

/// Returns when the local activities of this name ended.
pub fn done(history: &[HistoryEvent], activity: &str) -> Vec<Duration> {
    markers(history, &[format!("\"{activity}\"")])
}

/// Returns whether a local activity of a history timed out.
pub fn has_timed_out_within_task(history: &[HistoryEvent]) -> bool {
    let failures = history
        .iter()
        .filter_map(|event| match event.attributes.as_ref() {
            Some(Attributes::MarkerRecordedEventAttributes(marker)) => marker.failure.as_ref(),
            _ => None,
        });
    failures.into_iter().any(|failure| {
        matches!(
            failure.failure_info,
            Some(FailureInfo::TimeoutFailureInfo(_))
        )
    })
}

/// Returns when settlings were recorded: by `settle`, or by `record` after the store was queried.
pub fn recorded(history: &[HistoryEvent]) -> Vec<Duration> {
    markers(
        history,
        &["\"record\"".to_owned(), "\"recorded\":".to_owned()],
    )
}

/// Returns the times of the markers with one of these texts.
fn markers(history: &[HistoryEvent], wanted: &[String]) -> Vec<Duration> {
    let is_wanted = |text: &str| wanted.iter().any(|wanted| text.contains(wanted));
    let is_it = |event: &&HistoryEvent| match event.attributes.as_ref() {
        Some(Attributes::MarkerRecordedEventAttributes(marker)) => marker
            .details
            .values()
            .flat_map(|details| &details.payloads)
            .any(|payload| is_wanted(&String::from_utf8_lossy(&payload.data))),
        _ => false,
    };
    history.iter().filter(is_it).map(time).collect()
}

/// Returns the times of the events of one type.
pub fn times(history: &[HistoryEvent], wanted: EventType) -> Vec<Duration> {
    history
        .iter()
        .filter(|event| event.event_type() == wanted)
        .map(time)
        .collect()
}

/// Returns the times at which the workflow tasks of a history began, leaving out those that failed or timed out: the
/// server retries them and discards their commands.
pub fn tasks(history: &[HistoryEvent]) -> Vec<Duration> {
    let completed = |event: &HistoryEvent| match event.attributes.as_ref()? {
        Attributes::WorkflowTaskCompletedEventAttributes(completed) => {
            Some(completed.started_event_id)
        }
        _ => None,
    };
    let completed: BTreeSet<i64> = history.iter().filter_map(completed).collect();
    history
        .iter()
        .filter(|event| completed.contains(&event.event_id))
        .map(time)
        .collect()
}

impl Temporal {
    /// Returns whether the newest run of a workflow id is open.
    pub async fn is_open(&self, workflow_id: &str) -> bool {
        let found = self
            .describe(workflow_id)
            .await
            .and_then(|found| found.workflow_execution_info);
        found.is_some_and(|info| info.close_time.is_none())
    }

    /// Returns whether the newest run of a workflow id has ended; `false` if there is no run.
    pub async fn is_closed(&self, workflow_id: &str) -> bool {
        let found = self
            .describe(workflow_id)
            .await
            .and_then(|found| found.workflow_execution_info);
        found.is_some_and(|info| info.close_time.is_some())
    }

    /// Returns `Ok` if the newest run has ended, or has completed its last fast-forward.
    ///
    /// # Errors
    /// How far the fast-forward has come.
    pub async fn has_arrived(&self, workflow_id: &str) -> Result<(), String> {
        let found = self.describe(workflow_id).await.ok_or("no run")?;
        let skipping = found
            .workflow_extended_info
            .and_then(|info| info.time_skipping_info)
            .ok_or("no forward")?;
        let has_closed = found
            .workflow_execution_info
            .is_some_and(|info| info.close_time.is_some());
        let has_arrived = skipping
            .effective_config
            .as_ref()
            .is_some_and(|config| !config.enabled);
        if has_closed || has_arrived {
            Ok(())
        } else {
            Err(format!("{skipping:?}"))
        }
    }
}

impl World {
    /// Returns the `status` that the open run of a receipt's purchase reports.
    ///
    /// # Errors
    /// The API's answer, when no run is open or the run does not answer.
    pub async fn status(&self, receipt_id: &str) -> Result<Value, String> {
        let mut answer = self
            .api
            .try_get(&format!("/v1/purchases/{}", self.key(receipt_id)))
            .await?;
        let status = answer.body["status"].take();
        if status.is_object() {
            Ok(status)
        } else {
            Err(format!("{answer:?}"))
        }
    }

    /// Waits until the open run's status satisfies `is_wanted`, and returns it.
    pub async fn wait_status(
        &self,
        receipt_id: &str,
        what: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        wait::until(
            SOON,
            &format!("{what} in the status of {receipt_id}"),
            async || {
                let status = self.status(receipt_id).await?;
                if is_wanted(&status) {
                    Ok(status)
                } else {
                    Err(status.to_string())
                }
            },
        )
        .await
    }

    /// Waits until a run is open and its `notified` signals count at least `count` notifications.
    pub async fn wait_notified(&self, receipt_id: &str, count: i64) {
        let workflow = self.workflow(receipt_id);
        wait::until(
            SOON,
            &format!("{workflow} to be notified of {count}"),
            async || {
                if !self.temporal.is_open(&workflow).await {
                    return Err("no open run".to_owned());
                }
                let notified_count: i64 = notified(&self.temporal.history(&workflow).await)
                    .iter()
                    .map(|(_, notified_count)| notified_count.count)
                    .sum();
                if notified_count >= count {
                    Ok(())
                } else {
                    Err(notified_count.to_string())
                }
            },
        )
        .await;
    }

    /// Like [`Self::wait_notified`], for the first run of a purchase, which may have ended already: on a busy machine,
    /// a short window may be over before the first check.
    pub async fn wait_first_notified(&self, receipt_id: &str) {
        let workflow = self.workflow(receipt_id);
        wait::until(SOON, &format!("{workflow} to be notified"), async || {
            let notified = notified(&self.temporal.history(&workflow).await);
            if notified.is_empty() {
                Err("no signal".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    }

    /// Moves the workflow time of the newest run forward when it has a timer, and waits until that is done, because a
    /// second fast-forward would cut it short. Does nothing if the run has ended: its window may end in real time.
    pub async fn pass(&self, receipt_id: &str, seconds: i64) {
        let workflow = self.workflow(receipt_id);
        let what = format!("{seconds} s to pass for {workflow}");
        wait::until(SOON, &what, async || {
            if self.temporal.is_closed(&workflow).await {
                return Ok(());
            }
            if !self.temporal.has_timer(&workflow).await {
                return Err("no timer".to_owned());
            }
            self.temporal.try_fast_forward(&workflow, seconds).await
        })
        .await;
        wait::until(SOON, &what, async || {
            self.temporal.has_arrived(&workflow).await
        })
        .await;
    }

    /// Checks that a receipt's purchase was not settled before its window ended, and that no webhook about it arrived
    /// before that. All comparisons are in workflow time: in real time the window may end before a busy machine checks.
    ///
    /// # Panics
    /// When either happened, or the run has ended without settling.
    pub async fn check_waiting(&self, receipt_id: &str) {
        let workflow = self.workflow(receipt_id);
        let received = self.receiver.about(&self.key(receipt_id).to_string()).len();
        let is_open = self.temporal.is_open(&workflow).await;
        // A webhook sent within a workflow task arrives before the settling of that task is in the history.
        let history = wait::until(
            SOON,
            &format!("the settling of {workflow} that was announced"),
            async || {
                let history = self.temporal.history(&workflow).await;
                let is_whole = received == 0 || !recorded(&history).is_empty();
                if is_whole {
                    Ok(history)
                } else {
                    Err(format!("{:#?}", summary(&history)))
                }
            },
        )
        .await;
        let is_waiting = match recorded(&history).first() {
            None => is_open,
            Some(recorded) => window_end(&history, *recorded).is_some_and(|end| *recorded >= end),
        };
        assert!(
            is_waiting,
            "{received} requests came, open: {is_open}; the run: {:#?}",
            summary(&history)
        );
    }
}

/// Returns the end of the window that a run knew when its last timer before `recorded` fired or, if none fired, the end
/// according to all signals before `recorded`. `None` without any signal.
fn window_end(history: &[HistoryEvent], recorded: Duration) -> Option<Duration> {
    let before = |limit: Duration| move |time: &Duration| *time <= limit;
    let fired = times(history, EventType::TimerFired)
        .into_iter()
        .rfind(before(recorded));
    let known = notified(history)
        .into_iter()
        .rfind(|(time, _)| *time <= fired.unwrap_or(recorded));
    known.map(|(time, notified)| time + notified.quiet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
    use temporalio_common::protos::temporal::api::history::v1::WorkflowExecutionSignaledEventAttributes;

    fn event(seconds: i64, kind: EventType) -> HistoryEvent {
        let event_time = Some(prost_types::Timestamp { seconds, nanos: 0 });
        HistoryEvent {
            event_time,
            event_type: kind.into(),
            ..Default::default()
        }
    }

    fn signal(seconds: i64) -> HistoryEvent {
        let notified = Notified {
            quiet: Duration::from_secs(120),
            ..Notified::default()
        };
        let data = serde_json::to_vec(&notified).unwrap();
        let input = Some(Payloads {
            payloads: vec![Payload {
                data,
                ..Default::default()
            }],
        });
        let signal_name = contract::NOTIFIED.to_owned();
        let signal = WorkflowExecutionSignaledEventAttributes {
            signal_name,
            input,
            ..Default::default()
        };
        let attributes = Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal));
        HistoryEvent {
            attributes,
            ..event(seconds, EventType::WorkflowExecutionSignaled)
        }
    }

    #[test]
    fn a_settling_before_the_end_of_its_window_is_early() {
        let at = Duration::from_secs;
        let fired = |seconds| event(seconds, EventType::TimerFired);
        let is_early = |history: &[HistoryEvent], recorded| {
            window_end(history, recorded).is_none_or(|end| recorded < end)
        };
        assert!(!is_early(&[signal(1), fired(121)], at(122)));
        assert!(
            is_early(&[signal(1), fired(100)], at(101)),
            "its timer was too short"
        );
        assert!(is_early(&[signal(1)], at(100)), "it did not wait");
        assert!(
            is_early(&[signal(1), signal(60), fired(121)], at(122)),
            "another one restarted the window"
        );
        assert!(
            !is_early(&[signal(1), fired(121), signal(122)], at(123)),
            "that one is settled next"
        );
        assert!(is_early(&[], at(122)), "of nothing");
    }
}
