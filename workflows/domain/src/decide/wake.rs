//! The next wake of a purchase: when it is rechecked without a notification, so that a lost notification does no harm.
//!
//! Other delays are elsewhere. The store's policy has those of a purchase that the store refuses, and `successor.rs`
//! has those of a purchase whose successor is unknown. In the first minutes in which a store cannot be reached, the
//! purchase's run repeats the activity `verify` with its own delays.

use super::{SettlingContext, successor};
use crate::purchase::Purchase;
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::verification::{LAG, Product, Verification};
use std::time::Duration;

pub(crate) const WEEK: Duration = DAY.saturating_mul(7);
/// How long after an event a snapshot certainly shows it: the maximum lag of two hours and a margin of five minutes.
pub(crate) const CAUGHT_UP: Duration = LAG.saturating_add(MINUTE.saturating_mul(5));
/// The first rechecks, counted from a date of the purchase or from a notification that the store does not show yet.
const FIRST_RECHECKS: [Duration; 3] = [MINUTE.saturating_mul(10), HOUR, CAUGHT_UP];
/// The time between two rechecks after the first ones.
const RECHECK_EVERY: Duration = HOUR.saturating_mul(6);
/// How long rechecks continue after the date or the notification.
const RECHECKED_FOR: Duration = DAY.saturating_mul(2);

/// Returns the next wake of a purchase after a settling; `None` when it needs no recheck.
pub(super) fn next(purchase: &Purchase, context: SettlingContext<'_>) -> Option<Timestamp> {
    match context.verification {
        Verification::Unverifiable => successor::next_check(purchase, context.now),
        Verification::Unreachable { since } => {
            let believed_after = context.policy.schedules.believed_after;
            let passed = context.now.since(*since);
            Some(context.now.plus(retry(passed, believed_after)))
        }
        Verification::Verified(_) | Verification::Gone | Verification::Parked(_) => {
            (context.policy.wake)(purchase, context.now)
        }
    }
}

/// Returns the next recheck that the dates of the last answer require, at the latest the one of `weekly`.
pub(crate) fn by_dates(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let dates = dates(purchase, now);
    dates.chain(weekly(purchase, now)).min()
}

/// Returns a week from now for a running subscription or an owned entitlement, since the notification of its end may be
/// lost.
pub(super) fn weekly(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let product = purchase.snapshot.as_ref().map(|snapshot| snapshot.product);
    let can_end = !purchase.is_one_time() || product == Some(Product::Entitlement);
    let is_live = purchase.stage.runs() && can_end;
    is_live.then(|| now.plus(WEEK))
}

/// Returns the delay before the next query of a store that cannot be reached: 5 minutes in the first hour, 15 until the
/// sixth, then 30. One query falls on the moment from which all reports are believed without an answer.
fn retry(passed: Duration, believed_after: Duration) -> Duration {
    let minutes = |count| MINUTE.saturating_mul(count);
    if passed < HOUR {
        return minutes(5);
    }
    if passed < HOUR.saturating_mul(6) {
        return minutes(15);
    }
    match believed_after.saturating_sub(passed) {
        Duration::ZERO => minutes(30),
        left => left.min(minutes(30)),
    }
}

/// Returns the next recheck for each date of a running subscription: renewal, end, scheduled change, end of the grace
/// period and end of the trial.
fn dates(purchase: &Purchase, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let is_live = purchase.stage.runs() && !purchase.is_one_time();
    let snapshot = purchase.snapshot.as_ref().filter(|_| is_live);
    let dates = snapshot.map(|shown| {
        let trial = shown.trial_ends_at.filter(|_| purchase.stage.in_trial);
        let counted = || {
            let number = purchase.stage.terms?;
            purchase.rules().counted_end(purchase, number)
        };
        let renews_at = shown
            .renews_at
            .or_else(|| shown.ends_at.map_or_else(counted, |_| None));
        [
            renews_at,
            shown.ends_at,
            shown.deferred_at,
            purchase.grace_end(),
            trial,
        ]
    });
    dates
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(move |date| recheck(date, now))
}

/// Returns the next recheck for one date; `None` when the date passed more than two days ago.
pub(crate) fn recheck(date: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let passed = now.since(date);
    let first = FIRST_RECHECKS.into_iter().find(|wait| *wait > passed);
    let later = || {
        let last = FIRST_RECHECKS.last()?;
        let times = passed.saturating_sub(*last).as_secs() / RECHECK_EVERY.as_secs();
        let times = u32::try_from(times).unwrap_or(u32::MAX).saturating_add(1);
        Some(last.saturating_add(RECHECK_EVERY.saturating_mul(times)))
            .filter(|wait| *wait <= RECHECKED_FOR)
    };
    first.or_else(later).map(|wait| date.plus(wait))
}
