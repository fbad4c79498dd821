//! Number of waiting claims of devices on each platform, as counted a moment ago: counting reads all of them, and a
//! report must not cost more the more there are. `devices/claims/bounds.rs` counts.

use domain::{PlatformId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a count is used.
const USED_FOR: Duration = Duration::from_secs(1);

/// The claims of a platform that wait.
#[derive(Debug, Clone)]
pub struct ClaimBacklog {
    pub counted_at: Timestamp,
    pub free: i64,
    /// The networks with the most of them, each with their number; `None` before they were read.
    pub fullest: Option<Vec<(String, i64)>>,
}

#[derive(Debug, Default)]
pub struct ClaimBacklogs(Mutex<BTreeMap<PlatformId, ClaimBacklog>>);

impl ClaimBacklogs {
    /// Returns the last count of a platform, if it was made a moment ago.
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
