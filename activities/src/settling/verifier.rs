//! The stores with which this process verifies purchases, and the limits of requests to them.

use crate::settling::claim_refusals::ClaimRefusals;
use crate::settling::repair::CONCURRENT;
use crate::settling::store_rate::StoreRate;
use crate::settling::tokens::TokenSource;
use protocols::stores::Stores;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Maximum number of concurrent requests to stores, so that a store that does not respond leaves activity slots for
/// others.
const MAX_IN_FLIGHT: usize = 20;

/// The stores and limits that `verify` needs, shared by all activities of this process.
#[derive(Debug)]
pub struct Verifier {
    pub(crate) stores: Stores,
    /// The rate limit of requests per platform.
    pub(crate) rate: StoreRate,
    /// The access tokens of the platforms.
    pub(crate) tokens: TokenSource,
    /// The limit of refused claims of one purchase.
    pub(crate) claim_refusals: ClaimRefusals,
    /// Limits the number of concurrent requests.
    pub(crate) in_flight: Semaphore,
    /// Limits the number of repairs that run at the same time.
    pub(crate) repairs: Arc<Semaphore>,
}

impl Verifier {
    pub fn new(stores: Stores) -> Self {
        Self {
            stores,
            rate: StoreRate::default(),
            tokens: TokenSource::default(),
            claim_refusals: ClaimRefusals::default(),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            repairs: Arc::new(Semaphore::new(CONCURRENT)),
        }
    }
}
