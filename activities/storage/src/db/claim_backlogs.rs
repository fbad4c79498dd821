//! Recent counts of each platform's pending claims. Counting reads all of them, and the cost of a report must not grow
//! with their number, so a count is used for a moment. `devices/claims/bounds.rs` counts.

use domain::{PlatformId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time for which a count is used.
const USED_FOR: Duration = Duration::from_secs(1);

/// The pending claims of a platform, as counted.
#[derive(Debug, Clone)]
pub struct ClaimBacklog {
    pub counted_at: Timestamp,
    pub free: i64,
    /// The networks with the most pending claims, each with their number; `None` until they are read.
    pub fullest: Option<Vec<(String, i64)>>,
}

#[derive(Debug, Default)]
pub struct ClaimBacklogs(Mutex<BTreeMap<PlatformId, ClaimBacklog>>);

impl ClaimBacklogs {
    /// Returns the last count of a platform, if it is less than a second old.
    pub fn recent(&self, platform: PlatformId, now: Timestamp) -> Option<ClaimBacklog> {
        let backlog = self.all().get(&platform).cloned();
        backlog.filter(|backlog| now.distance(backlog.counted_at) < USED_FOR)
    }

    pub fn remember(&self, platform: PlatformId, backlog: ClaimBacklog) {
        self.all().insert(platform, backlog);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<PlatformId, ClaimBacklog>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
