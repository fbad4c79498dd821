//! Limits the queries that refused claims of one purchase cost. If the store proves pairs of purchase and customer, a
//! device chooses the customer's name, and each further name for an invented or foreign purchase would cost one more
//! query.
//!
//! At the limit, a claim is not refused but waits for the next period, because it may be the real customer's. Once the
//! store confirms one claim, the purchase is known, and its claims cost no query. The networks also take turns in the
//! next period. Like the rate, the limit applies per process.

use domain::CollapseKey;
use domain::time::HOUR;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of queries about a purchase within [`PERIOD`] that end in a refused claim. It is sufficient for the
/// customers who share a device.
const MAX_REFUSALS: u32 = 5;
const PERIOD: Duration = HOUR;
/// Once there are this many purchases, those whose period has ended are removed.
const SWEPT_FROM: usize = 1024;

/// The refused claims of the purchases about which a process queries stores.
#[derive(Debug, Default)]
pub struct ClaimRefusals {
    purchases: Mutex<HashMap<CollapseKey, Period>>,
}

#[derive(Debug, Clone, Copy)]
struct Period {
    began_at: Instant,
    /// Number of queries that were refused or are in flight.
    queries: u32,
}

impl ClaimRefusals {
    /// Takes one of the purchase's queries of this period.
    ///
    /// # Errors
    /// None is left; the error is how long until the next period.
    pub fn reserve(&self, key: CollapseKey, now: Instant) -> Result<(), Duration> {
        let mut purchases = self.purchases();
        if purchases.len() >= SWEPT_FROM {
            purchases.retain(|_, period| period.left(now) > Duration::ZERO);
        }
        let new = Period {
            began_at: now,
            queries: 0,
        };
        let period = purchases.entry(key).or_insert(new);
        if period.left(now).is_zero() {
            *period = new;
        }
        if period.queries >= MAX_REFUSALS {
            return Err(period.left(now));
        }
        period.queries += 1;
        Ok(())
    }

    /// Returns a query whose claim the store did not refuse.
    pub fn release(&self, key: CollapseKey) {
        if let Some(period) = self.purchases().get_mut(&key) {
            period.queries = period.queries.saturating_sub(1);
        }
    }

    fn purchases(&self) -> MutexGuard<'_, HashMap<CollapseKey, Period>> {
        self.purchases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Period {
    /// Returns how long the period still lasts.
    fn left(&self, now: Instant) -> Duration {
        PERIOD.saturating_sub(now.duration_since(self.began_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::PlatformId;

    fn key(purchase: &str) -> CollapseKey {
        CollapseKey::of(PlatformId::new(uuid::Uuid::nil()), purchase)
    }

    #[test]
    fn a_purchase_costs_a_few_refused_queries_per_hour() {
        let (refusals, began) = (ClaimRefusals::default(), Instant::now());
        for _ in 0..MAX_REFUSALS {
            assert_eq!(refusals.reserve(key("invented"), began), Ok(()));
        }
        let later = began + PERIOD / 4;
        let refused = refusals.reserve(key("invented"), later);
        assert_eq!(refused, Err(PERIOD * 3 / 4));
        assert_eq!(refusals.reserve(key("another"), later), Ok(()));
        assert_eq!(refusals.reserve(key("invented"), began + PERIOD), Ok(()));
    }

    #[test]
    fn a_query_that_is_not_refused_does_not_count() {
        let (refusals, now) = (ClaimRefusals::default(), Instant::now());
        for _ in 0..MAX_REFUSALS * 2 {
            assert_eq!(refusals.reserve(key("unanswered"), now), Ok(()));
            refusals.release(key("unanswered"));
        }
    }

    #[test]
    fn purchases_whose_period_is_over_are_dropped() {
        let (refusals, began) = (ClaimRefusals::default(), Instant::now());
        for number in 0..SWEPT_FROM {
            let reserved = refusals.reserve(key(&number.to_string()), began);
            assert_eq!(reserved, Ok(()));
        }
        assert_eq!(refusals.reserve(key("later"), began + PERIOD), Ok(()));
        assert_eq!(refusals.purchases().len(), 1);
    }
}
