//! When a purchase is checked again without a notification, so that a lost notification repairs itself.

use super::{SettlingContext, successor, waiting};
use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::verification::{Product, Verification};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;

/// How long after a date of the store, or after a notification that it does not show yet, the store is queried again.
const FIRST_MS: [i64; 3] = [10 * MINUTE_MS, HOUR_MS, 2 * HOUR_MS + 5 * MINUTE_MS];
/// How often after that.
const THEN_MS: i64 = 6 * HOUR_MS;
/// For how long.
const FOR_MS: i64 = 2 * DAY_MS;

/// The next check of a purchase after this settling.
pub(super) fn after(purchase: &Purchase, context: SettlingContext<'_>) -> Option<Timestamp> {
    match context.verification {
        Verification::Unverifiable => successor::next_check(purchase, context.now),
        Verification::Unreachable { since } => {
            Some(context.now.plus_millis(retry_ms(context.now.millis_since(*since))))
        }
        Verification::Verified(_) | Verification::Gone | Verification::Parked(_) => {
            let behind = purchase.behind.and_then(|behind| check(behind.since, context.now));
            let regular = if purchase.stage.is_over() {
                reason(purchase, context.now)
            } else {
                dates(purchase, context.now).chain(weekly(purchase, context.now)).min()
            };
            let promoted = promoted(purchase, context.now);
            [behind, regular, promoted, successor::next_check(purchase, context.now)].into_iter().flatten().min()
        }
    }
}

/// When the store shows with certainty which promotion held for the last payment.
fn promoted(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let sure = purchase.unconfirmed_offer_at()?.plus_millis(2 * HOUR_MS + 5 * MINUTE_MS);
    Some(sure.max(now.plus_millis(10 * MINUTE_MS)))
}

/// A week from now, for a subscription that runs and an entitlement that is owned: the notification of its end can be
/// lost.
pub(super) fn weekly(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let product = purchase.snapshot.as_ref().map(|snapshot| snapshot.product);
    let can_end = !purchase.is_one_time() || product == Some(Product::Entitlement);
    let is_live = purchase.stage.runs() && can_end;
    is_live.then(|| now.plus_millis(WEEK_MS))
}

/// The delay to the next query of an unreachable store: five minutes in the first hour, then longer and longer.
const fn retry_ms(passed: i64) -> i64 {
    match passed {
        ..HOUR_MS => 5 * MINUTE_MS,
        HOUR_MS..21_600_000 => 15 * MINUTE_MS,
        21_600_000..waiting::BELIEVED_AFTER_MS => {
            let left = waiting::BELIEVED_AFTER_MS - passed;
            if left < 30 * MINUTE_MS { left } else { 30 * MINUTE_MS }
        }
        _ => 30 * MINUTE_MS,
    }
}

/// The next check for the reason of the end, which may come later: daily, for a week.
fn reason(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let end = purchase.awaits_reason()?;
    let next = now.plus_millis(DAY_MS);
    (!purchase.is_replaced() && next <= end.plus_millis(WEEK_MS + DAY_MS)).then_some(next)
}

/// The next check for each date of the store at which something is due.
fn dates(purchase: &Purchase, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let is_live = purchase.stage.runs() && !purchase.is_one_time();
    let snapshot = purchase.snapshot.as_ref().filter(|_| is_live);
    let dates = snapshot.map(|shown| {
        let trial = shown.trial_ends_at.filter(|_| purchase.stage.in_trial);
        let counted = || purchase.terms()?.end(purchase.stage.terms?);
        let renews_at = shown.renews_at.or_else(|| shown.ends_at.map_or_else(counted, |_| None));
        [renews_at, shown.ends_at, shown.deferred_at, purchase.grace_end(), trial]
    });
    dates.into_iter().flatten().flatten().filter_map(move |date| check(date, now))
}

/// The first check of a date that is still to come; none when it passed long ago.
fn check(date: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let passed = now.millis_since(date);
    let first = FIRST_MS.into_iter().find(|wait| *wait > passed);
    let later = || {
        let last = FIRST_MS.last()?;
        let times = passed.saturating_sub(*last) / THEN_MS;
        Some(last.saturating_add(times.saturating_add(1).saturating_mul(THEN_MS))).filter(|wait| *wait <= FOR_MS)
    };
    first.or_else(later).map(|wait| date.plus_millis(wait))
}
