//! The settings of the checks with RVS.

use std::time::Duration;
use url::Url;

/// The default of [`Settings::give_up_after`].
const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);
/// The default of [`Settings::per_second`]. Amazon publishes no rate limit.
const PER_SECOND: u32 = 10;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, host and port that replace Amazon's; `None` for Amazon's.
    pub base: Option<Url>,
    /// `amazon.patience`: how long to retry after the first failure before the purchase is settled without the store.
    pub give_up_after: Duration,
    /// Maximum number of queries per second per platform.
    pub per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base: None,
            give_up_after: GIVE_UP_AFTER,
            per_second: PER_SECOND,
        }
    }
}
