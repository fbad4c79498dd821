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

/// For how long failures are no reason to go on without it, unless the operator says otherwise.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How often it is asked in a second per platform, unless the operator says otherwise. Amazon publishes no rate.
const PER_SECOND: u32 = 10;

/// How it is asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, host and port that stand for Amazon's own; Amazon's own when absent.
    pub base: Option<Url>,
    /// For how long failures are no reason to go on without it, counted from the first one.
    pub patience: Duration,
    /// How many receipts are asked about in a second per platform.
    pub per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { base: None, patience: PATIENCE, per_second: PER_SECOND }
    }
}
