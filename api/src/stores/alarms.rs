//! Rate limit for alarms that any number of messages may cause: one per hour for each platform and kind.

use domain::time::HOUR;
use domain::{PlatformId, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// When each alarm was last raised.
#[derive(Default)]
pub struct HourlyAlarms(Mutex<HashMap<(PlatformId, &'static str), Timestamp>>);

impl HourlyAlarms {
    /// Returns whether an alarm of this kind is due, and if so, blocks it for the next hour.
    pub fn is_due(&self, platform: PlatformId, kind: &'static str, now: Timestamp) -> bool {
        let mut raised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = raised.get(&(platform, kind));
        // A clock that was set back does not delay an alarm.
        let is_due = last.is_none_or(|at| *at > now || now.since(*at) >= HOUR);
        if is_due {
            raised.insert((platform, kind), now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn an_alarm_is_raised_once_per_platform_kind_and_hour() {
        let alarms = HourlyAlarms::default();
        let [one, other] = [1, 2].map(|id| PlatformId::new(Uuid::from_u128(id)));
        let now = Timestamp::from_millis(1_780_315_200_000);
        let hour = 3_600_000;
        let is_due = |platform, kind, ms| alarms.is_due(platform, kind, now.plus_millis(ms));
        assert!(is_due(one, "foreign", 0));
        assert!(!is_due(one, "foreign", hour - 1));
        assert!(is_due(other, "foreign", 1));
        assert!(is_due(one, "too_large", 1));
        assert!(is_due(one, "foreign", hour));
        assert!(!is_due(one, "foreign", hour + 1));
        assert!(is_due(one, "foreign", 0), "the clock was set back");
    }
}
