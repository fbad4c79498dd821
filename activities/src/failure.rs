//! Builds the failures that activities return to Temporal, with the time of the next attempt. No other module builds
//! them.

use std::time::Duration;
use temporalio_common::ActivityError;
use temporalio_common::error::ApplicationFailure;

/// The type of a failure that only reports when the next run is due.
pub const LATER: &str = "retry";

/// Why a run of an activity ended without a result.
#[derive(Debug)]
pub enum Failed {
    /// An attempt failed, or the next one is not due yet.
    Later {
        /// How long until the next run.
        wait: Duration,
        /// The reason, as shown in the Temporal UI.
        why: String,
    },
    Storage(storage::Error),
}

impl Failed {
    /// Returns the reason, as written to logs.
    pub fn why(&self) -> String {
        match self {
            Self::Later { why, .. } => why.clone(),
            Self::Storage(error) => storage::chain(error),
        }
    }

    /// Whether the failure may resolve by itself.
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Later { .. } | Self::Storage(storage::Error::Unavailable(_))
        )
    }
}

impl From<storage::Error> for Failed {
    fn from(error: storage::Error) -> Self {
        Self::Storage(error)
    }
}

/// The number of consecutive failures after which a permanent refusal is retried less and less often.
const QUICK_ATTEMPTS: u32 = 5;
/// Growth of the wait with each further failure; the next constant is its maximum. Work continues within minutes after
/// the cause is gone.
const SLOW_RETRY: Duration = Duration::from_secs(20);
const MAX_SLOW_RETRY: Duration = Duration::from_secs(300);

/// Converts a failed run into Temporal's failure. `failures` is its number among the consecutive failures, from 1.
///
/// Temporal retries an error of storage, unless the request itself is wrong and can never succeed.
pub fn failure(failed: Failed, failures: u32) -> ActivityError {
    let error = match failed {
        Failed::Later { wait, why } => {
            let failure = ApplicationFailure::builder(why).type_name(LATER.to_owned());
            let wait = wait.max(Duration::from_millis(1));
            return ActivityError::application(failure.next_retry_delay(wait).build());
        }
        Failed::Storage(error) => error,
    };
    let failure =
        ApplicationFailure::builder(storage::chain(&error)).type_name("storage".to_owned());
    ActivityError::application(
        match slow_retry(failures).filter(|_| error.is_permanent()) {
            Some(wait) => failure.next_retry_delay(wait).build(),
            None => failure.non_retryable(error.is_of_request()).build(),
        },
    )
}

/// Returns the wait after a failure that the database refuses permanently; `None` for the first ones, whose waits the
/// activity's own policy determines.
fn slow_retry(failures: u32) -> Option<Duration> {
    let slow = failures
        .checked_sub(QUICK_ATTEMPTS)
        .filter(|slow| *slow > 0)?;
    Some(SLOW_RETRY.saturating_mul(slow).min(MAX_SLOW_RETRY))
}

#[cfg(test)]
mod tests {
    use super::slow_retry;

    #[test]
    fn what_is_refused_for_good_is_tried_again_more_and_more_seldom() {
        let waits = [1, 5, 6, 7, 19, 20, 21, u32::MAX]
            .map(|attempt| slow_retry(attempt).map(|wait| wait.as_secs()));
        assert_eq!(
            waits,
            [
                None,
                None,
                Some(20),
                Some(40),
                Some(280),
                Some(300),
                Some(300),
                Some(300)
            ]
        );
    }
}
