//! The quiet window as the start delay of a run.

use domain::Timestamp;
use domain::time::{duration, millis};
use std::time::Duration;
use workflows::purchase::status::Status;
use workflows::signal::Signal;

/// The delay of a run that is started now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StartDelay(Duration);

impl StartDelay {
    /// The delay of a run that this signal starts: only a notification may wait, and only for the rest of its window.
    pub fn of(signal: &Signal) -> Option<Self> {
        let Signal::Notified(notified) = signal else { return None };
        // In milliseconds, as in the signal: the run must not begin before the window ends.
        Some(Self(duration(millis(notified.wait())))).filter(|delay| !delay.0.is_zero())
    }

    /// How long it lasts.
    pub const fn length(&self) -> Duration {
        self.0
    }

    /// The text that the Temporal UI shows meanwhile.
    pub fn details(&self, now: Timestamp) -> String {
        Status::delayed_details(now.plus(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use workflows::signal::Notified;

    fn delay(quiet_ms: i64, cap_ms: Option<i64>) -> Option<Duration> {
        let notified = Notified { through: 1, quiet: duration(quiet_ms), count: 1, cap: cap_ms.map(duration) };
        StartDelay::of(&Signal::Notified(notified)).map(|delay| delay.length())
    }

    #[test]
    fn a_start_is_delayed_by_the_rest_of_the_window_or_the_cap() {
        assert_eq!(delay(120_000, None), Some(Duration::from_secs(120)));
        assert_eq!(delay(120_000, Some(7_500)), Some(Duration::from_millis(7_500)));
        assert_eq!(delay(500, Some(7_500)), Some(Duration::from_millis(500)));
    }

    #[test]
    fn what_has_no_window_left_is_not_delayed() {
        assert_eq!((delay(0, None), delay(120_000, Some(0))), (None, None));
    }

    #[test]
    fn a_wake_and_what_an_admin_requests_are_not_delayed() {
        for signal in [Signal::Wake, Signal::Flush(Default::default()), Signal::Hold(Default::default())] {
            assert_eq!(StartDelay::of(&signal), None, "{signal:?}");
        }
    }
}
