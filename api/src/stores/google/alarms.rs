//! Limits the alarms about refused pushes: one per platform, kind and hour.

use domain::time::HOUR;
use domain::{PlatformId, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// When each alarm was raised last.
#[derive(Default)]
pub struct HourlyAlarms(Mutex<HashMap<(PlatformId, &'static str), Timestamp>>);

impl HourlyAlarms {
    /// Returns whether an alarm of this kind is raised now. Then it is not raised again for an hour.
    pub fn is_due(&self, platform: PlatformId, kind: &'static str, now: Timestamp) -> bool {
        let mut raised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = raised.get(&(platform, kind));
        // A clock that was set back does not hold an alarm up.
        let is_due = last.is_none_or(|at| *at > now || now.since(*at) >= HOUR);
        if is_due {
            raised.insert((platform, kind), now);
        }
        is_due
    }
}
