//! Rate limit for alarms about refused pushes: one per hour for each platform and kind.

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
