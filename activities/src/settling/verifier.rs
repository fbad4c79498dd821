//! The settings of the stores, and the limits of queries to them, for this process.

use crate::settling::store_rate::StoreRate;
use protocols::stores::Settings;
use tokio::sync::Semaphore;

/// Maximum number of concurrent requests to stores, so that a store that does not answer leaves activity slots for
/// others.
const MAX_IN_FLIGHT: usize = 20;

/// What `verify` needs to query stores, shared by all activities of this process.
#[derive(Debug)]
pub struct Verifier {
    pub(crate) settings: Settings,
    /// The rate limit of queries per platform.
    pub(crate) rate: StoreRate,
    /// Limits the number of concurrent requests.
    pub(crate) in_flight: Semaphore,
}

impl Verifier {
    pub fn new(settings: Settings) -> Self {
        Self {
            rate: StoreRate::new(settings.per_second()),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            settings,
        }
    }
}
