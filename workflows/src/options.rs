//! How patiently a workflow asks.

use crate::contract::DELIVER_QUEUE;
use std::time::Duration;
use temporalio_common::RetryPolicy;
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, LocalActivityOptions, WorkflowCancellationToken,
};

/// One attempt of `deliver`: fifteen seconds of HTTP, the successes before it, and a margin.
pub const DELIVER_ATTEMPT: Duration = Duration::from_secs(30);

/// One run of `tend`: it begins nothing new after [`SUPERVISE_BUDGET`], and what is in flight then ends within one attempt.
pub const SUPERVISE_RUN: Duration = Duration::from_secs(60);
/// For how long a run of `tend` begins new attempts.
pub const SUPERVISE_BUDGET: Duration = Duration::from_secs(20);
/// A run of `tend` that was not heard of for so long is given up for lost.
pub const SUPERVISE_HEARTBEAT: Duration = Duration::from_secs(15);

/// One run of `test`.
pub const TEST_RUN: Duration = Duration::from_secs(20);
/// The same, with the wait for a slot.
pub const TEST_PATIENCE: Duration = Duration::from_secs(25);
/// For how long a page of what is owed once more is tried.
pub const REDELIVER_PATIENCE: Duration = Duration::from_secs(300);

/// One attempt of `verify`.
pub const VERIFY_ATTEMPT: Duration = Duration::from_secs(20);

/// One short try inside the workflow task. It costs one event instead of six.
pub fn short() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .start_to_close_timeout(Duration::from_secs(3))
        .schedule_to_close_timeout(Duration::from_secs(3))
        .retry_policy(RetryPolicy::builder().maximum_attempts(1).build())
        .build()
}

/// Try until it works, visibly and without blocking the workflow task.
pub fn lasting() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(10))
        .retry_policy(
            RetryPolicy::builder()
                .initial_interval(Duration::from_secs(1))
                .maximum_interval(Duration::from_secs(20))
                .build(),
        )
        .build()
}

/// PendingQuery the store once: a short wait for its turn, fifteen seconds of HTTP and a margin. Only trouble of storage is
/// retried by the engine; when to ask the store again is for the workflow, which hears signals meanwhile.
pub fn verify() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(VERIFY_ATTEMPT)
        .retry_policy(
            RetryPolicy::builder()
                .initial_interval(Duration::from_secs(1))
                .maximum_interval(Duration::from_secs(20))
                .build(),
        )
        .summary("ask the store".to_owned())
        .build()
}

const fn within(start_to_close: Duration, schedule_to_close: Duration) -> ActivityCloseTimeouts {
    ActivityCloseTimeouts::ScheduleAndStartToClose { schedule_to_close, start_to_close }
}

/// Trying the connection once: fifteen seconds of HTTP and a margin. The run does nothing else meanwhile, so that it is not
/// tried again and no slot is waited for for long.
pub fn test() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(within(TEST_RUN, TEST_PATIENCE))
        .retry_policy(RetryPolicy::builder().maximum_attempts(1).build())
        .task_queue(DELIVER_QUEUE.to_owned())
        .build()
}

/// Owing a destination something once more. The run does nothing else meanwhile, so that it is given up after a while and
/// noted; what was owed until then stays so.
pub fn redeliver_all() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(within(Duration::from_secs(10), REDELIVER_PATIENCE))
        .retry_policy(
            RetryPolicy::builder()
                .initial_interval(Duration::from_secs(1))
                .maximum_interval(Duration::from_secs(5))
                .build(),
        )
        .build()
}

/// A lane's attempts. A healthy lane's first attempt is alone, so that the workflow hears at once
/// that the lane turned failing; a failing lane is retried by the engine until it ends.
pub fn lane(token: WorkflowCancellationToken, failing: bool, summary: String) -> ActivityOptions {
    let attempts = if failing { 0 } else { 1 };
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

/// Looking after a destination. Trouble of storage and a lost worker are retried by the engine; when to look again is
/// for the workflow.
pub fn supervise(token: WorkflowCancellationToken, summary: String) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(SUPERVISE_RUN)
        .heartbeat_timeout(SUPERVISE_HEARTBEAT)
        .task_queue(DELIVER_QUEUE.to_owned())
        .retry_policy(
            RetryPolicy::builder()
                .initial_interval(Duration::from_secs(1))
                .maximum_interval(Duration::from_secs(20))
                .build(),
        )
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .cancellation_token(token)
        .summary(summary)
        .build()
}
