//! The simulated store's answers about a life: immediate, or with a separate lag for each field.

use super::chance::Chance;
use super::store::{HOUR, Life};
use crate::time::Timestamp;
use crate::verification::{Parked, Snapshot, Verification};

/// Number of fields of a purchase that can lag separately.
const FIELDS: u64 = 10;

impl Life {
    /// Returns the answer of a store that lags by up to an hour, with a separate lag for each field and change,
    /// determined by `seed`. The store does not know the purchase before it is shown for the first time.
    pub fn show_late(&self, at: Timestamp, seed: u64) -> Verification {
        let lag = |field: u64, change: usize| {
            let change = u64::try_from(change).unwrap();
            Chance::new(seed ^ (field << 40) ^ (change << 20)).below(HOUR)
        };
        let newest = |field: u64| {
            let visible = |(change, (since, _)): &(usize, &(Timestamp, Option<Snapshot>))| {
                since.plus_millis(lag(field, *change)) <= at
            };
            self.shows
                .iter()
                .enumerate()
                .rev()
                .find(visible)
                .map(|(change, _)| change)
        };
        let Some(known) = newest(0) else {
            return Verification::Parked(Parked::UnknownReceipt);
        };
        if self.shows[known].1.is_none() {
            return Verification::Gone;
        }
        let field = |number: u64| {
            let changes = self
                .shows
                .iter()
                .take(newest(number).unwrap_or(0) + 1)
                .rev();
            changes
                .filter_map(|(_, snapshot)| snapshot.as_ref())
                .next()
                .unwrap()
        };
        let [sku, term, renews, ends, reason] = [1, 2, 3, 4, 5].map(field);
        let [auto, trial, grace, deferred_at, deferred_sku] = [6, 7, 8, 9, FIELDS].map(field);
        Verification::Verified(Box::new(Snapshot {
            at,
            term_sku: sku.term_sku.clone(),
            term: term.term,
            renews_at: renews.renews_at,
            ends_at: ends.ends_at,
            end_reason: reason.end_reason,
            auto_renewing: auto.auto_renewing,
            trial_ends_at: trial.trial_ends_at,
            grace_ends_at: grace.grace_ends_at,
            deferred_at: deferred_at.deferred_at,
            deferred_sku: deferred_sku.deferred_sku.clone(),
            ..sku.clone()
        }))
    }

    pub fn read(&self, at: Timestamp) -> Verification {
        let shown = self.shows.iter().rev().find(|(since, _)| *since <= at);
        match shown
            .or_else(|| self.shows.first())
            .and_then(|(_, snapshot)| snapshot.clone())
        {
            Some(snapshot) => Verification::Verified(Box::new(Snapshot { at, ..snapshot })),
            None => Verification::Gone,
        }
    }
}
