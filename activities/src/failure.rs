//! The only place that builds an activity's failure and sets the time of its next attempt.

use std::time::Duration;
use temporalio_common::ActivityError;
use temporalio_common::error::ApplicationFailure;

/// Why a run of an activity ended without a result.
#[derive(Debug)]
pub enum Failed {
    /// It failed or has to wait; run again after a time.
    Later {
        /// Milliseconds until the next run.
        ms: i64,
        /// For the Temporal UI.
        why: String,
    },
    /// Storage failed.
    Storage(storage::Error),
}

impl Failed {
    /// Run again in `ms` milliseconds.
    pub fn wait(ms: i64, why: String) -> Self {
        Self::Later { ms, why }
    }
}

impl From<storage::Error> for Failed {
    fn from(error: storage::Error) -> Self {
        Self::Storage(error)
    }
}

/// The failure for Temporal.
pub fn failure(failed: Failed) -> ActivityError {
    match failed {
        Failed::Later { ms, why } => {
            let delay = Duration::from_millis(u64::try_from(ms.max(1)).unwrap_or(1));
            application(why, "retry", Some(delay), false)
        }
        Failed::Storage(error) => storage(error),
    }
}

/// The failure for Temporal of an error of storage: it is retried unless it can never succeed.
pub fn storage(error: storage::Error) -> ActivityError {
    let never =
        !matches!(error, storage::Error::Unavailable(_) | storage::Error::Locked(_) | storage::Error::Corrupt { .. });
    application(storage::chain(&error), "storage", None, never)
}

fn application(message: String, kind: &str, delay: Option<Duration>, never: bool) -> ActivityError {
    let failure = ApplicationFailure::builder(message).type_name(kind.to_owned()).non_retryable(never);
    ActivityError::application(match delay {
        Some(delay) => failure.next_retry_delay(delay).build(),
        None => failure.build(),
    })
}
