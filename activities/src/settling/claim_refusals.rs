//! The bound on the queries that refused claims of one purchase cost. Where the store proves pairs of purchase and
//! customer, a device chooses the name of the customer, and each other name of an invented or foreign purchase would
//! cost one more query.
//!
//! At the bound a claim waits for the next period, and is not refused: it may be the customer's own. Once the store
//! confirms one, the purchase is known, and its claims cost no query. The networks take turns at that time too. Like
//! the rate, the bound holds per process.

use domain::CollapseKey;
use domain::time::HOUR;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of queries about a purchase within [`PERIOD`] that the store answers by refusing the claim: enough
/// for the customers who share a device.
const MAX_REFUSALS: u32 = 5;
const PERIOD: Duration = HOUR;
/// Number of purchases above which those whose period is over are dropped.
const SWEPT_FROM: usize = 1024;

/// The refused claims of the purchases that a process queries.
#[derive(Debug, Default)]
pub struct ClaimRefusals {
    purchases: Mutex<HashMap<CollapseKey, Period>>,
}

#[derive(Debug, Clone, Copy)]
struct Period {
    began_at: Instant,
    /// Number of queries that were refused, or are under way.
    queries: u32,
}

impl ClaimRefusals {
    /// Takes one of the purchase's queries of this period.
    ///
    /// # Errors
    /// How long until the next period: there is none left.
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

    /// Gives a query back whose claim the store did not refuse.
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
    /// How long it lasts yet.
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
