//! Builds the failures that activities return to Temporal, with the time of the next attempt. Nothing else builds them.

use std::time::Duration;
use temporalio_common::ActivityError;
use temporalio_common::error::ApplicationFailure;

/// Why a run of an activity ended without a result.
#[derive(Debug)]
pub enum Failed {
    /// An attempt failed, or the next one is not due yet.
    Later {
        /// How long until the next run.
        wait: Duration,
        /// The reason, as the Temporal UI shows it.
        why: String,
    },
    Storage(storage::Error),
}

impl From<storage::Error> for Failed {
    fn from(error: storage::Error) -> Self {
        Self::Storage(error)
    }
}

/// Converts a failed run into Temporal's failure.
pub fn failure(failed: Failed) -> ActivityError {
    match failed {
        Failed::Later { wait, why } => {
            let failure = ApplicationFailure::builder(why).type_name("retry".to_owned());
            ActivityError::application(failure.next_retry_delay(wait.max(Duration::from_millis(1))).build())
        }
        Failed::Storage(error) => storage(error),
    }
}

/// Converts an error of storage into Temporal's failure. Temporal retries it while the database cannot be used
/// (unavailable, locked, corrupt, or without a key); the request behind any other error is itself wrong and can never
/// succeed.
pub fn storage(error: storage::Error) -> ActivityError {
    use storage::Error::{Corrupt, Locked, MissingKeys, Unavailable};
    let is_retried = matches!(error, Unavailable(_) | Locked(_) | Corrupt { .. } | MissingKeys(_));
    let failure = ApplicationFailure::builder(storage::chain(&error)).type_name("storage".to_owned());
    ActivityError::application(failure.non_retryable(!is_retried).build())
}
