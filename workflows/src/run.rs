//! Helpers that the runs of several workflows share: the workflow time, the timer, when to continue as a new run, and
//! the execution of activities.

use crate::options;
use domain::Timestamp;
use serde::Serialize;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};
use temporalio_common::ActivityDefinition;
use temporalio_common::data_converters::{TemporalDeserializable, TemporalSerializable};
use temporalio_common::error::ActivityExecutionError;
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_workflow::{
    ActivityOptions, CancellableFuture, TimerOptions, TimerResult, WaitConditionOptions,
    WorkflowCancellationToken, WorkflowContext,
};

/// Maximum number of events in a history. A longer run continues as a new one, even if Temporal does not suggest it.
const MAX_HISTORY_EVENTS: u32 = 8_000;

type Timer<'a> = Pin<Box<dyn CancellableFuture<Output = TimerResult> + 'a>>;

/// The only timer of a run, with the workflow time at which it fires.
#[derive(Default)]
pub struct RunTimer<'a>(Option<(Timestamp, Timer<'a>)>);

impl<'a> RunTimer<'a> {
    /// Starts a new timer only if `until` is earlier than the running one. When that one has fired, the loop of the run
    /// sets the next.
    pub fn set<W>(&mut self, ctx: &'a WorkflowContext<W>, until: Timestamp, summary: &str) {
        if self.0.as_ref().is_some_and(|(at, _)| *at <= until) {
            return;
        }
        if let Some((_, old)) = self.0.take() {
            old.cancel();
        }
        let options = TimerOptions::builder(until.since(workflow_time(ctx)))
            .summary(summary.to_owned())
            .build();
        self.0 = Some((until, Box::pin(ctx.timer(options))));
    }

    /// Returns whether the timer fired, and removes it if so.
    pub fn poll(&mut self, task: &mut Context<'_>) -> bool {
        let has_fired = self
            .0
            .as_mut()
            .is_some_and(|(_, timer)| timer.as_mut().poll(task).is_ready());
        if has_fired {
            self.0 = None;
        }
        has_fired
    }
}

/// Whether the run must end soon: its history is long, or it was cancelled.
pub fn must_end_run<W>(ctx: &WorkflowContext<W>) -> bool {
    ctx.cancellation_token().is_cancelled()
        || ctx.continue_as_new_suggested()
        || ctx.history_length() > MAX_HISTORY_EVENTS
}

/// Waits until a condition on the state holds. The wait has its own token. A cancelled run still waits for its
/// activities; with the workflow's token, this wait would end at once each time, and its loop would spin on the only
/// thread that all workflows share.
pub async fn changed<W>(ctx: &WorkflowContext<W>, holds: impl FnMut(&W) -> bool) {
    let own = WaitConditionOptions::builder()
        .cancellation_token(WorkflowCancellationToken::new())
        .build();
    // The token is never cancelled, so the wait cannot fail.
    let _ = ctx.wait_condition_with_options(holds, own).await;
}

pub fn workflow_time<W>(ctx: &WorkflowContext<W>) -> Timestamp {
    timestamp(ctx.workflow_time())
}

/// Converts a system time to a timestamp; 1970 if it is absent.
pub fn timestamp(time: Option<SystemTime>) -> Timestamp {
    let since = time
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    Timestamp::default().plus(since)
}

/// Executes an activity: one short attempt inside the workflow task; if that fails, the regular activity of the same
/// name until it succeeds, the run must end, or `is_urgent`. Returns `None` if it was interrupted.
pub async fn execute<W, A>(
    ctx: &WorkflowContext<W>,
    activity: fn() -> A,
    input: A::Input,
    is_urgent: fn(&W) -> bool,
) -> Result<Option<A::Output>, ActivityExecutionError>
where
    A: ActivityDefinition,
    A::Input: Clone + Serialize + TemporalSerializable,
    A::Output: TemporalDeserializable,
{
    match ctx
        .execute_local_activity(activity(), input.clone(), options::short())
        .await
    {
        Err(ActivityExecutionError::Failed(_)) => {
            execute_regular(
                ctx,
                activity,
                input,
                Interruptible {
                    options: options::lasting,
                    is_urgent,
                },
            )
            .await
        }
        other => other.map(Some),
    }
}

/// Options of an activity that is interrupted if its run must end.
pub struct Interruptible<W> {
    /// Options of the activity, with a cancellation token.
    pub options: fn(WorkflowCancellationToken) -> ActivityOptions,
    /// Whether something else must be done first, which also interrupts the activity.
    pub is_urgent: fn(&W) -> bool,
}

impl<W> Interruptible<W> {
    pub const fn only_by_end_of_run(
        options: fn(WorkflowCancellationToken) -> ActivityOptions,
    ) -> Self {
        Self {
            options,
            is_urgent: |_| false,
        }
    }
}

/// Executes a regular activity until it succeeds, or returns `None` if it is interrupted. An attempt in progress then
/// ends first, and its success counts.
pub async fn execute_regular<W, A>(
    ctx: &WorkflowContext<W>,
    activity: fn() -> A,
    input: A::Input,
    Interruptible { options, is_urgent }: Interruptible<W>,
) -> Result<Option<A::Output>, ActivityExecutionError>
where
    A: ActivityDefinition,
    A::Input: Serialize + TemporalSerializable,
    A::Output: TemporalDeserializable,
{
    if must_end_run(ctx) || ctx.state(is_urgent) {
        return Ok(None);
    }
    let token = ctx.cancellation_token().child_token();
    let mut running = pin!(ctx.execute_activity(activity(), input, options(token.clone())));
    let mut interrupted = pin!(changed(ctx, |state| is_urgent(state) || must_end_run(ctx)));
    let result = poll_fn(|task| match running.as_mut().poll(task) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => interrupted.as_mut().poll(task).map(|()| None),
    })
    .await;
    let result = match result {
        Some(result) => result,
        None => {
            token.cancel_with_reason("something must be done first, or the run is closing");
            running.await
        }
    };
    match result {
        Err(_) if token.is_cancelled() => Ok(None),
        other => other.map(Some),
    }
}

/// Returns why an activity failed: the message of the innermost cause.
pub fn why(error: &ActivityExecutionError) -> String {
    innermost(error).map_or_else(|| error.to_string(), |failure| failure.message.clone())
}

/// Whether an activity timed out. The SDK wraps the timeout of a local activity in a failure of the activity, except in
/// a replay, so only the innermost cause is the same in both.
pub fn has_timed_out(error: &ActivityExecutionError) -> bool {
    let info = innermost(error).and_then(|failure| failure.failure_info.as_ref());
    matches!(info, Some(FailureInfo::TimeoutFailureInfo(_)))
}

fn innermost(error: &ActivityExecutionError) -> Option<&Failure> {
    let mut failure = error.failure();
    while let Some(cause) = failure.and_then(|failure| failure.cause.as_deref()) {
        failure = Some(cause);
    }
    failure
}
