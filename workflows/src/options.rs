//! How patiently a workflow asks.

use crate::contract::DELIVER_QUEUE;
use std::time::Duration;
use temporalio_common::RetryPolicy;
use temporalio_workflow::{ActivityCancellationType, ActivityOptions, LocalActivityOptions, WorkflowCancellationToken};

/// One attempt of `deliver`: fifteen seconds of HTTP, the successes before it, and a margin.
pub const DELIVER_ATTEMPT: Duration = Duration::from_secs(30);

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

/// Asking the store once: a short wait for its turn, fifteen seconds of HTTP and a margin. Only trouble of storage is
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
