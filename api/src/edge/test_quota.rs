//! Bounds how often people get the tests of a destination.

use domain::DestinationId;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::time::Duration;

/// Maximum number of tests of a destination at once.
const BURST: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Time after which a destination may be tested once more.
const EVERY: Duration = Duration::from_secs(300);
/// Maximum number of remembered destinations; beyond it, those that were not tested for long are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// The latest tests of destinations. Each process counts by itself.
#[derive(Debug)]
pub struct TestQuota {
    destinations: DefaultKeyedRateLimiter<DestinationId>,
    clock: DefaultClock,
}

impl Default for TestQuota {
    fn default() -> Self {
        let quota = Quota::with_period(EVERY).unwrap_or(Quota::per_second(BURST)).allow_burst(BURST);
        Self { destinations: RateLimiter::dashmap(quota), clock: DefaultClock::default() }
    }
}

impl TestQuota {
    /// Counts a test of a destination.
    ///
    /// # Errors
    /// How long until it may be tested again.
    pub fn count(&self, destination: DestinationId) -> Result<(), Duration> {
        if self.destinations.len() > MAX_REMEMBERED {
            self.destinations.retain_recent();
        }
        self.destinations.check_key(&destination).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn each_destination_is_tested_a_few_times_and_then_seldom() {
        let (quota, [one, other]) = (TestQuota::default(), [1, 2].map(|id| DestinationId::new(Uuid::from_u128(id))));
        assert!((0..5).all(|_| quota.count(one).is_ok()));
        let wait = quota.count(one).expect_err("a wait");
        assert!(wait > Duration::from_secs(240) && wait <= EVERY, "{wait:?}");
        assert!(quota.count(other).is_ok());
    }
}
