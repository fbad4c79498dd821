//! What this process verifies purchases with: the settings of stores, and the limits of their queries.

use crate::http::Http;
use crate::pace::Pace;
use protocols::http::Rules;
use protocols::stores::Settings;
use tokio::sync::Semaphore;

/// Maximum number of requests to stores in flight, so that a store that hangs leaves slots for other activities.
const IN_FLIGHT: usize = 20;

/// Verifies purchases with their stores, for this process.
#[derive(Debug)]
pub struct Verifier {
    /// Of the stores.
    pub(crate) settings: Settings,
    /// The rate of queries.
    pub(crate) pace: Pace,
    /// The places of requests in flight.
    pub(crate) in_flight: Semaphore,
    /// The sender for addresses that the operator chose.
    pub(crate) open: Option<Http>,
}

impl Verifier {
    /// A verifier with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            pace: Pace::new(settings.per_second()),
            in_flight: Semaphore::new(IN_FLIGHT),
            open: settings.has_chosen_address().then(|| Http::new(Rules::open())),
            settings,
        }
    }
}
