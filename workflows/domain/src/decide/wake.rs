//! When a purchase is checked again without a notification, so that a lost notification repairs itself.

use super::{SettlingContext, successor, waiting};
use crate::purchase::Purchase;
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::verification::{LAG, Product, Verification};
use std::time::Duration;

const WEEK: Duration = DAY.saturating_mul(7);
/// When a store that lags is sure to have caught up.
const CAUGHT_UP: Duration = LAG.saturating_add(MINUTE.saturating_mul(5));
/// How long after a date of the store, or after a notification that it does not show yet, the store is queried again.
const FIRST: [Duration; 3] = [MINUTE.saturating_mul(10), HOUR, CAUGHT_UP];
/// How often after that.
const THEN: Duration = HOUR.saturating_mul(6);
/// For how long.
const FOR: Duration = DAY.saturating_mul(2);

/// The next check of a purchase after this settling.
pub(super) fn after(purchase: &Purchase, context: SettlingContext<'_>) -> Option<Timestamp> {
    match context.verification {
        Verification::Unverifiable => successor::next_check(purchase, context.now),
        Verification::Unreachable { since } => Some(context.now.plus(retry(context.now.since(*since)))),
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
    let sure = purchase.unconfirmed_offer_at()?.plus(CAUGHT_UP);
    Some(sure.max(now.plus(MINUTE.saturating_mul(10))))
}

/// A week from now, for a subscription that runs and an entitlement that is owned: the notification of its end can be
/// lost.
pub(super) fn weekly(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let product = purchase.snapshot.as_ref().map(|snapshot| snapshot.product);
    let can_end = !purchase.is_one_time() || product == Some(Product::Entitlement);
    let is_live = purchase.stage.runs() && can_end;
    is_live.then(|| now.plus(WEEK))
}

/// The delay to the next query of an unreachable store: five minutes in the first hour, then longer and longer.
fn retry(passed: Duration) -> Duration {
    let minutes = |count| MINUTE.saturating_mul(count);
    if passed < HOUR {
        return minutes(5);
    }
    if passed < HOUR.saturating_mul(6) {
        return minutes(15);
    }
    match waiting::BELIEVED_AFTER.saturating_sub(passed) {
        Duration::ZERO => minutes(30),
        left => left.min(minutes(30)),
    }
}

/// The next check for the reason of the end, which may come later: daily, for a week.
fn reason(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let end = purchase.awaits_reason()?;
    let next = now.plus(DAY);
    (!purchase.is_replaced() && next <= end.plus(WEEK + DAY)).then_some(next)
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
    let passed = now.since(date);
    let first = FIRST.into_iter().find(|wait| *wait > passed);
    let later = || {
        let last = FIRST.last()?;
        let times = passed.saturating_sub(*last).as_secs() / THEN.as_secs();
        let times = u32::try_from(times).unwrap_or(u32::MAX).saturating_add(1);
        Some(last.saturating_add(THEN.saturating_mul(times))).filter(|wait| *wait <= FOR)
    };
    first.or_else(later).map(|wait| date.plus(wait))
}
