//! Queries about the run of a purchase: its signals, its timers, its status and the times of its events.

use super::temporal::Temporal;
use super::wait;
use super::world::{SOON, World};
use serde_json::Value;
use std::time::Duration;
use temporalio_common::protos::temporal::api::enums::v1::{EventType, WorkflowTaskFailedCause};
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use workflows::contract;
use workflows::signal::Notified;

/// When an event happened, in workflow time, which runs ahead after it was moved forward.
///
/// # Panics
/// When the event has no time.
#[must_use]
pub fn time(event: &HistoryEvent) -> Duration {
    let time = event.event_time.as_ref().expect("the time of an event");
    Duration::new(time.seconds.unsigned_abs(), time.nanos.unsigned_abs())
}

/// The events of a run with their times (UTC), for messages.
#[must_use]
pub fn summary(history: &[HistoryEvent]) -> Vec<String> {
    let one = |event: &HistoryEvent| {
        let micros = i64::try_from(time(event).as_micros()).unwrap_or(i64::MAX);
        let at = domain::Timestamp::from_micros(micros);
        format!("{} {at} {}", event.event_id, event.event_type().as_str_name())
    };
    history.iter().map(one).collect()
}

/// The `notified` signals of a history, with their times.
#[must_use]
pub fn notified(history: &[HistoryEvent]) -> Vec<(Duration, Notified)> {
    let read = |event: &HistoryEvent| match event.attributes.as_ref()? {
        Attributes::WorkflowExecutionSignaledEventAttributes(signal) if signal.signal_name == contract::NOTIFIED => {
            let payload = signal.input.as_ref()?.payloads.first()?;
            Some((time(event), serde_json::from_slice(&payload.data).ok()?))
        }
        _ => None,
    };
    history.iter().filter_map(read).collect()
}

/// The duration of each timer of a history.
#[must_use]
pub fn timers(history: &[HistoryEvent]) -> Vec<Duration> {
    let read = |event: &HistoryEvent| match event.attributes.as_ref()? {
        Attributes::TimerStartedEventAttributes(timer) => {
            let length = timer.start_to_fire_timeout.as_ref()?;
            Some(Duration::new(length.seconds.unsigned_abs(), length.nanos.unsigned_abs()))
        }
        _ => None,
    };
    history.iter().filter_map(read).collect()
}

/// Why workflow tasks of a history failed, without `UnhandledCommand`: the server fails a task so when a signal
/// arrives meanwhile.
#[must_use]
pub fn failures(history: &[HistoryEvent]) -> Vec<String> {
    let read = |event: &HistoryEvent| match event.attributes.as_ref()? {
        Attributes::WorkflowTaskFailedEventAttributes(failed) => {
            let why = failed.failure.as_ref().map(|failure| failure.message.as_str()).unwrap_or_default();
            Some((failed.cause(), format!("{}: {why}", failed.cause().as_str_name())))
        }
        _ => None,
    };
    let found = history.iter().filter_map(read);
    found.filter(|(cause, _)| *cause != WorkflowTaskFailedCause::UnhandledCommand).map(|(_, why)| why).collect()
}

/// When the local activities of this name ended.
#[must_use]
pub fn done(history: &[HistoryEvent], activity: &str) -> Vec<Duration> {
    markers(history, &[format!("\"{activity}\"")])
}

/// Whether a local activity of a history timed out.
#[must_use]
pub fn has_timed_out_within_task(history: &[HistoryEvent]) -> bool {
    let failures = history.iter().filter_map(|event| match event.attributes.as_ref() {
        Some(Attributes::MarkerRecordedEventAttributes(marker)) => marker.failure.as_ref(),
        _ => None,
    });
    failures.into_iter().any(|failure| matches!(failure.failure_info, Some(FailureInfo::TimeoutFailureInfo(_))))
}

/// When settlings were recorded: by `settle`, or by `record` after the store was queried.
#[must_use]
pub fn recorded(history: &[HistoryEvent]) -> Vec<Duration> {
    markers(history, &["\"record\"".to_owned(), "\"recorded\":".to_owned()])
}

/// The times of the markers with one of these texts.
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

/// The times of the events of one type.
#[must_use]
pub fn times(history: &[HistoryEvent], wanted: EventType) -> Vec<Duration> {
    history.iter().filter(|event| event.event_type() == wanted).map(time).collect()
}

impl Temporal {
    /// Whether the newest run of a workflow id is open.
    pub async fn is_open(&self, workflow_id: &str) -> bool {
        let found = self.describe(workflow_id).await.and_then(|found| found.workflow_execution_info);
        found.is_some_and(|info| info.close_time.is_none())
    }

    /// `Ok` if the newest run has ended, or has completed its last fast-forward.
    ///
    /// # Errors
    /// How far the fast-forward is.
    pub async fn has_arrived(&self, workflow_id: &str) -> Result<(), String> {
        let found = self.describe(workflow_id).await.ok_or("no run")?;
        let skipping = found.workflow_extended_info.and_then(|info| info.time_skipping_info).ok_or("no forward")?;
        let has_closed = found.workflow_execution_info.is_some_and(|info| info.close_time.is_some());
        let has_arrived = skipping.effective_config.as_ref().is_some_and(|config| !config.enabled);
        if has_closed || has_arrived { Ok(()) } else { Err(format!("{skipping:?}")) }
    }
}

impl World {
    /// The `status` that the open run of a receipt's purchase answers.
    ///
    /// # Errors
    /// When no run is open or it does not answer, with the API's answer.
    pub async fn status(&self, receipt_id: &str) -> Result<Value, String> {
        let mut answer = self.api.try_get(&format!("/v1/purchases/{}", self.key(receipt_id))).await?;
        let status = answer.body["status"].take();
        if status.is_object() { Ok(status) } else { Err(format!("{answer:?}")) }
    }

    /// Waits until the open run's status is as wanted, and returns it.
    pub async fn wait_status(&self, receipt_id: &str, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until(SOON, &format!("{what} in the status of {receipt_id}"), async || {
            let status = self.status(receipt_id).await?;
            if is_wanted(&status) { Ok(status) } else { Err(status.to_string()) }
        })
        .await
    }

    /// Waits until a run is open and its `notified` signals count at least `count` notifications.
    pub async fn wait_notified(&self, receipt_id: &str, count: i64) {
        let workflow = self.workflow(receipt_id);
        wait::until(SOON, &format!("{workflow} to be notified of {count}"), async || {
            if !self.temporal.is_open(&workflow).await {
                return Err("no open run".to_owned());
            }
            let notified_count: i64 = notified(&self.temporal.history(&workflow).await)
                .iter()
                .map(|(_, notified_count)| notified_count.count)
                .sum();
            if notified_count >= count { Ok(()) } else { Err(notified_count.to_string()) }
        })
        .await;
    }

    /// Moves the workflow time forward and waits until it has moved; a second fast-forward would cut this one short.
    pub async fn pass(&self, receipt_id: &str, seconds: i64) {
        self.fast_forward(receipt_id, seconds).await;
        let workflow = self.workflow(receipt_id);
        let what = format!("{seconds} s to pass for {workflow}");
        wait::until(SOON, &what, async || self.temporal.has_arrived(&workflow).await).await;
    }

    /// Checks that nothing was received about a receipt's purchase and that its run is still open.
    ///
    /// # Panics
    /// When something was, or it is not.
    pub async fn check_waiting(&self, receipt_id: &str) {
        let workflow = self.workflow(receipt_id);
        let received = self.receiver.about(&self.key(receipt_id).to_string()).len();
        let is_open = self.temporal.is_open(&workflow).await;
        let happened = summary(&self.temporal.history(&workflow).await);
        assert!(received == 0 && is_open, "{received} requests came, open: {is_open}; the run: {happened:#?}");
    }
}
