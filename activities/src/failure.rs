//! The only place that builds an activity's failure and sets the time of its next attempt.

use std::time::Duration;
use temporalio_common::ActivityError;
use temporalio_common::error::ApplicationFailure;

/// Why a run of an activity ended without a result.
#[derive(Debug)]
pub enum Failed {
    /// It failed or has to wait.
    Later {
        /// How long until the next run.
        wait: Duration,
        /// For the Temporal UI.
        why: String,
    },
    /// Storage failed.
    Storage(storage::Error),
}

impl From<storage::Error> for Failed {
    fn from(error: storage::Error) -> Self {
        Self::Storage(error)
    }
}

/// The failure for Temporal.
pub fn failure(failed: Failed) -> ActivityError {
    match failed {
        Failed::Later { wait, why } => {
            let failure = ApplicationFailure::builder(why).type_name("retry".to_owned());
            ActivityError::application(failure.next_retry_delay(wait.max(Duration::from_millis(1))).build())
        }
        Failed::Storage(error) => storage(error),
    }
}

/// The failure for Temporal of an error of storage: it is retried unless it can never succeed.
pub fn storage(error: storage::Error) -> ActivityError {
    let is_retried =
        matches!(error, storage::Error::Unavailable(_) | storage::Error::Locked(_) | storage::Error::Corrupt { .. });
    let failure = ApplicationFailure::builder(storage::chain(&error)).type_name("storage".to_owned());
    ActivityError::application(failure.non_retryable(!is_retried).build())
}
