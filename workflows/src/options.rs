//! Timeouts and retries of the activities.

use crate::contract::DELIVER_QUEUE;
use std::time::Duration;
use temporalio_common::RetryPolicy;
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, LocalActivityOptions,
    WorkflowCancellationToken,
};

/// Timeout of one attempt of `deliver`: fifteen seconds of HTTP, the preceding successful attempts, and a margin.
pub const DELIVER_ATTEMPT: Duration = Duration::from_secs(30);

/// Timeout of one run of `supervise`. It starts nothing after [`SUPERVISE_BUDGET`], and attempts in flight end within
/// the timeout of one attempt.
pub const SUPERVISE_RUN: Duration = Duration::from_secs(60);
/// How long a run of `supervise` may start new attempts.
pub const SUPERVISE_BUDGET: Duration = Duration::from_secs(20);
/// Heartbeat timeout of `supervise`: without a heartbeat for this long, the engine treats the run as lost.
pub const SUPERVISE_HEARTBEAT: Duration = Duration::from_secs(15);

/// Timeout of one run of `test`.
pub const TEST_RUN: Duration = Duration::from_secs(20);
/// Timeout of `test`, including the wait for a slot.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(25);
/// Timeout of `redeliver_all` over all its retries.
pub const REDELIVER_TIMEOUT: Duration = Duration::from_secs(300);

/// Timeout of one run of `sweep`.
pub const SWEEP_RUN: Duration = Duration::from_secs(40);
/// Time after which a run of `sweep` ends by itself, whatever it is waiting for, so that no run outlasts [`SWEEP_RUN`].
pub const SWEEP_BUDGET: Duration = Duration::from_secs(25);
/// Heartbeat timeout of `sweep`: without a heartbeat for this long, the engine treats the run as lost.
pub const SWEEP_HEARTBEAT: Duration = Duration::from_secs(10);

/// Timeout of one run of `stream`. It begins no page after [`STREAM_BUDGET`], and a page ends within its lease.
pub const STREAM_RUN: Duration = Duration::from_secs(11 * 60);
/// How long a run of `stream` may begin new pages.
pub const STREAM_BUDGET: Duration = Duration::from_secs(10 * 60);
/// Heartbeat timeout of `stream`: without a heartbeat for this long, the engine treats the run as lost.
pub const STREAM_HEARTBEAT: Duration = Duration::from_secs(15);

/// Timeout of one run of `verify_claims`. It begins no query after [`CLAIMS_BUDGET`].
pub const CLAIMS_RUN: Duration = Duration::from_secs(11 * 60);
/// How long a run of `verify_claims` may begin new queries.
pub const CLAIMS_BUDGET: Duration = Duration::from_secs(10 * 60);
/// Heartbeat timeout of `verify_claims`: without a heartbeat for this long, the engine treats the run as lost.
pub const CLAIMS_HEARTBEAT: Duration = Duration::from_secs(15);

/// Timeout of one attempt of `verify`.
pub const VERIFY_ATTEMPT: Duration = Duration::from_secs(20);

fn once() -> RetryPolicy {
    RetryPolicy::builder().maximum_attempts(1).build()
}

/// Returns a policy that retries until success: first after one second, then after growing intervals of at most
/// `longest_seconds`.
fn retried(longest_seconds: u64) -> RetryPolicy {
    let longest = Duration::from_secs(longest_seconds);
    RetryPolicy::builder()
        .initial_interval(Duration::from_secs(1))
        .maximum_interval(longest)
        .build()
}

/// Returns the options of a local activity with one short attempt inside the workflow task. It costs one event instead
/// of six.
pub fn short() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .start_to_close_timeout(Duration::from_secs(3))
        .schedule_to_close_timeout(Duration::from_secs(3))
        .retry_policy(once())
        .build()
}

/// Returns the options of a regular activity that is retried until it succeeds or is cancelled. It is visible in the UI
/// and does not block the workflow task.
pub fn lasting(token: WorkflowCancellationToken) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(10))
        .retry_policy(retried(20))
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .cancellation_token(token)
        .build()
}

/// Returns the options of `sweep`. The engine retries storage errors, lost workers and runs that took too long.
pub fn sweep() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(SWEEP_RUN)
        .heartbeat_timeout(SWEEP_HEARTBEAT)
        .retry_policy(retried(20))
        .build()
}

/// Returns the options of `verify`: a short wait for a slot, fifteen seconds of HTTP and a margin. The engine retries
/// storage errors only; the workflow decides when to query the store again, and receives signals in the meantime.
pub fn verify(token: WorkflowCancellationToken) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(VERIFY_ATTEMPT)
        .retry_policy(retried(20))
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .cancellation_token(token)
        .summary("query the store".to_owned())
        .build()
}

const fn within(start_to_close: Duration, schedule_to_close: Duration) -> ActivityCloseTimeouts {
    ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close,
        start_to_close,
    }
}

/// Returns the options of `test`: fifteen seconds of HTTP and a margin. The run does nothing else meanwhile, so there
/// is only one attempt and a short wait for a slot.
pub fn test() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(within(TEST_RUN, TEST_TIMEOUT))
        .retry_policy(once())
        .task_queue(DELIVER_QUEUE.to_owned())
        .build()
}

/// Returns the options of `redeliver_all`. The run does nothing else meanwhile, so the retries end after a while and
/// the failure is noted; redeliveries created until then remain.
pub fn redeliver_all() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(within(Duration::from_secs(10), REDELIVER_TIMEOUT))
        .retry_policy(retried(5))
        .build()
}

/// Whether the engine retries a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    None,
    UntilItEnds,
}

/// Returns the options of `deliver`. The first attempt of a healthy lane is not retried, so that the workflow learns at
/// once that the lane fails; the engine retries a failing lane until it ends.
pub fn lane(
    token: WorkflowCancellationToken,
    retries: Retries,
    summary: String,
) -> ActivityOptions {
    let attempts = match retries {
        Retries::None => 1,
        Retries::UntilItEnds => 0,
    };
    ActivityOptions::with_start_to_close_timeout(DELIVER_ATTEMPT)
        .task_queue(DELIVER_QUEUE.to_owned())
        .retry_policy(
            RetryPolicy::builder()
                .initial_interval(Duration::from_secs(5))
                .maximum_interval(Duration::from_secs(600))
                .maximum_attempts(attempts)
                .build(),
        )
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .cancellation_token(token)
        .summary(summary)
        .build()
}

/// How long an attempt may occupy its workflow task. A longer attempt is finished by a regular activity.
pub const PROMPT_ATTEMPT: Duration = Duration::from_secs(2);

/// Returns the options of `deliver` within the workflow task: one attempt, for a destination that recently answered
/// promptly.
pub fn prompt_lane(summary: String) -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .start_to_close_timeout(PROMPT_ATTEMPT.saturating_mul(2))
        .schedule_to_close_timeout(PROMPT_ATTEMPT.saturating_mul(2))
        .retry_policy(once())
        .summary(summary)
        .build()
}

/// Returns the options of `supervise`. The engine retries storage errors and lost workers; the workflow decides when to
/// check again.
pub fn supervise(token: WorkflowCancellationToken, summary: String) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(SUPERVISE_RUN)
        .heartbeat_timeout(SUPERVISE_HEARTBEAT)
        .task_queue(DELIVER_QUEUE.to_owned())
        .retry_policy(retried(20))
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .cancellation_token(token)
        .summary(summary)
        .build()
}

/// Returns the options of `stream`. The engine retries storage errors and lost workers, and starts the next run when
/// the destination accepts events again.
pub fn stream(token: WorkflowCancellationToken) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(STREAM_RUN)
        .heartbeat_timeout(STREAM_HEARTBEAT)
        .task_queue(DELIVER_QUEUE.to_owned())
        .retry_policy(retried(20))
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .cancellation_token(token)
        .summary("deliver the events of devices".to_owned())
        .build()
}

/// Returns the options of `verify_claims`. The engine retries storage errors and lost workers.
pub fn verify_claims(token: WorkflowCancellationToken) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(CLAIMS_RUN)
        .heartbeat_timeout(CLAIMS_HEARTBEAT)
        .task_queue(DELIVER_QUEUE.to_owned())
        .retry_policy(retried(20))
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .cancellation_token(token)
        .summary("verify what devices report of purchases".to_owned())
        .build()
}
