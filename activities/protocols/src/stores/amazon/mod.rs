//! Amazon's Receipt Verification Service (RVS), version 1.0.
//!
//! See <https://developer.amazon.com/docs/in-app-purchasing/iap-rvs-for-android-apps.html>.

pub mod request;
pub mod response;
mod term;

#[cfg(test)]
mod tests;

use std::time::Duration;
use url::Url;

/// The default of [`Settings::patience`].
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The default of [`Settings::per_second`]. Amazon publishes no rate.
const PER_SECOND: u32 = 10;

/// How to reach RVS.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, host and port in place of Amazon's; Amazon's when absent.
    pub base: Option<Url>,
    /// How long to retry, from the first failure, before settling without the store.
    pub patience: Duration,
    /// Maximum number of queries a second per platform.
    pub per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { base: None, patience: PATIENCE, per_second: PER_SECOND }
    }
}
