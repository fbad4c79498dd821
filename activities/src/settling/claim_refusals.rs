//! Limits the queries that refused claims of one purchase cost. If the store proves pairs of purchase and customer, a
//! device chooses the customer's name, and each further name for an invented or foreign purchase would cost one more
//! query.
//!
//! At the limit, a claim is not refused but waits for the next period, because it may be the real customer's. Once the
//! store confirms one claim, the purchase is known, and its claims cost no query. The networks also take turns in the
//! next period.
//!
//! The counts are in the memory of one process, like the rate: each process allows the limit, and a restart begins anew.
//! A stored count would cost a write per query to save a few queries.

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
/// Interval at which purchases whose period has ended are removed. At most five sweeps visit a purchase, so the cost of
/// a query does not depend on the number of purchases.
const SWEEP_INTERVAL: Duration = Duration::from_mins(15);

/// The refused claims of the purchases about which a process queries stores.
#[derive(Debug, Default)]
pub struct ClaimRefusals {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    purchases: HashMap<CollapseKey, Period>,
    swept_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Period {
    began_at: Instant,
    /// Number of queries that were refused or are in flight.
    queries: u32,
}

/// One of a purchase's queries, taken from the period that began at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    key: CollapseKey,
    period_began_at: Instant,
}

impl ClaimRefusals {
    /// Takes one of the purchase's queries of this period.
    ///
    /// # Errors
    /// Returns the time until the next period if no query is left.
    pub fn reserve(&self, key: CollapseKey, now: Instant) -> Result<Reservation, Duration> {
        let mut counts = self.counts();
        counts.sweep(now);
        let new = Period {
            began_at: now,
            queries: 0,
        };
        let period = counts.purchases.entry(key).or_insert(new);
        if period.left(now).is_zero() {
            *period = new;
        }
        if period.queries >= MAX_REFUSALS {
            return Err(period.left(now));
        }
        period.queries += 1;
        Ok(Reservation {
            key,
            period_began_at: period.began_at,
        })
    }

    /// Gives a query back whose claim the store did not refuse. If another period began since, its count stays: the
    /// query is none of it.
    pub fn release(&self, reservation: Reservation) {
        let mut counts = self.counts();
        let period = counts.purchases.get_mut(&reservation.key);
        if let Some(period) = period.filter(|it| it.began_at == reservation.period_began_at) {
            period.queries = period.queries.saturating_sub(1);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Drops the purchases whose period is over, once per [`SWEEP_INTERVAL`].
    fn sweep(&mut self, now: Instant) {
        let is_due = self
            .swept_at
            .is_none_or(|at| now.duration_since(at) >= SWEEP_INTERVAL);
        if is_due {
            self.purchases
                .retain(|_, period| period.left(now) > Duration::ZERO);
            self.swept_at = Some(now);
        }
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

    fn reserve(refusals: &ClaimRefusals, purchase: &str, now: Instant) -> Reservation {
        let reserved = refusals.reserve(key(purchase), now);
        reserved.expect("the purchase has a query left")
    }

    #[test]
    fn a_purchase_costs_a_few_refused_queries_per_hour() {
        let (refusals, began) = (ClaimRefusals::default(), Instant::now());
        for _ in 0..MAX_REFUSALS {
            reserve(&refusals, "invented", began);
        }
        let later = began + PERIOD / 4;
        let refused = refusals.reserve(key("invented"), later);
        assert_eq!(refused, Err(PERIOD * 3 / 4));
        reserve(&refusals, "another", later);
        reserve(&refusals, "invented", began + PERIOD);
    }

    #[test]
    fn a_query_that_is_not_refused_does_not_count() {
        let (refusals, now) = (ClaimRefusals::default(), Instant::now());
        for _ in 0..MAX_REFUSALS * 2 {
            refusals.release(reserve(&refusals, "unanswered", now));
        }
    }

    #[test]
    fn a_late_answer_returns_no_query_of_the_next_hour() {
        let (refusals, began) = (ClaimRefusals::default(), Instant::now());
        let early = reserve(&refusals, "slow", began);
        let next = began + PERIOD;
        for _ in 0..MAX_REFUSALS {
            reserve(&refusals, "slow", next);
        }
        refusals.release(early);
        assert_eq!(refusals.reserve(key("slow"), next), Err(PERIOD));
    }

    #[test]
    fn purchases_whose_period_is_over_are_dropped() {
        let (refusals, began) = (ClaimRefusals::default(), Instant::now());
        for number in 0..1024 {
            reserve(&refusals, &number.to_string(), began);
        }
        reserve(&refusals, "later", began + PERIOD);
        assert_eq!(refusals.counts().purchases.len(), 1);
    }

    #[test]
    fn purchases_are_visited_once_per_interval_of_sweeps() {
        let (refusals, began) = (ClaimRefusals::default(), Instant::now());
        let count_after = |purchase: &str, now: Instant| {
            reserve(&refusals, purchase, now);
            refusals.counts().purchases.len()
        };
        assert_eq!(count_after("first", began), 1);
        let swept = began + PERIOD - SWEEP_INTERVAL / 2;
        assert_eq!(count_after("second", swept), 2);
        // The first period is over, and no sweep is due yet.
        assert_eq!(count_after("third", began + PERIOD), 3);
        assert_eq!(count_after("fourth", swept + SWEEP_INTERVAL), 3);
    }
}
