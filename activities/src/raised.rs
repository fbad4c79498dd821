//! The alarms about failing activities that this process raised recently, and the streaks of failures.

use crate::streak::Streaks;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long this process does not raise the same alarm again.
const RAISED_FOR: Duration = Duration::from_secs(60);
/// Maximum number of alarms that this process stores.
const MAX_RAISED: usize = 1_000;

/// The alarms that this process raised recently, so that thousands of purchases that fail in the same way write a row
/// only once a minute.
#[derive(Debug, Clone, Default)]
pub struct RaisedAlarms {
    raised: Arc<Mutex<HashMap<String, Instant>>>,
    /// The consecutive failures of each activity.
    pub streaks: Streaks,
}

impl RaisedAlarms {
    /// Whether an alarm is to be raised now.
    pub fn is_due(&self, alarm: &str, now: Instant) -> bool {
        let mut raised = self.raised();
        raised.retain(|_, at| now.duration_since(*at) < RAISED_FOR);
        if raised.len() >= MAX_RAISED || raised.contains_key(alarm) {
            return false;
        }
        raised.insert(alarm.to_owned(), now);
        true
    }

    /// Removes an alarm that could not be stored.
    pub fn forget(&self, alarm: &str) {
        self.raised().remove(alarm);
    }

    fn raised(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_is_raised_once_a_minute_by_a_process() {
        let (raised, now) = (RaisedAlarms::default(), Instant::now());
        let is_due =
            |alarm: &str, seconds: u64| raised.is_due(alarm, now + Duration::from_secs(seconds));
        assert_eq!(
            [is_due("one", 0), is_due("one", 59), is_due("other", 59)],
            [true, false, true]
        );
        assert_eq!([is_due("one", 60), is_due("other", 60)], [true, false]);
    }
}
