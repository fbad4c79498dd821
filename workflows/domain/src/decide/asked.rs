//! What waits when the store did not answer: for the store, or for the receipt to be accepted.

use super::{Decision, Given, Waits, outcome};
use crate::notification::{Kind, Notification, Outcome};
use crate::purchase::{Behind, Purchase};
use crate::reading::{Parked, Reading};
use crate::time::Timestamp;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// When a receipt that the store does not know is read again, after the first reading.
const UNKNOWN_RECEIPT_MS: [i64; 5] = [MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, 24 * HOUR_MS];
/// When a receipt of another customer is read again.
const WRONG_CUSTOMER_MS: [i64; 2] = [HOUR_MS, 24 * HOUR_MS];
/// So long the store may be unreachable before all words are believed.
pub(super) const BELIEVED_AFTER_MS: i64 = 24 * HOUR_MS;

/// What the store could not contradict.
const SURE: [Kind; 5] =
    [Kind::Renewed, Kind::AutoRenewalOff, Kind::AutoRenewalOn, Kind::GraceBegan, Kind::TrialConverted];
/// The words that begin a purchase. While one of them waits, no other word speaks before it.
const BEGINNINGS: [Kind; 5] = [
    Kind::Adopted,
    Kind::SubscriptionPurchased,
    Kind::ConsumablePurchased,
    Kind::EntitlementPurchased,
    Kind::PlanChanged,
];

/// Those notifications that are decided now; the others wait for the store.
pub(super) fn spoken<'a>(
    purchase: &Purchase,
    notifications: &'a [(i64, Notification)],
    given: Given<'_>,
) -> Vec<&'a (i64, Notification)> {
    let Reading::Unreachable { since } = given.reading else { return notifications.iter().collect() };
    if given.now.millis_since(*since) >= BELIEVED_AFTER_MS {
        return notifications.iter().collect();
    }
    let begins = |(_, told): &(i64, Notification)| BEGINNINGS.contains(&told.kind);
    if purchase.stage.is_unknown() && notifications.iter().any(begins) {
        return Vec::new();
    }
    notifications.iter().filter(|(_, told)| SURE.contains(&told.kind)).collect()
}

/// Nothing but an end or a scheduled change is known of it, which the store does not show yet: all of it waits.
pub(super) fn postpone(purchase: &Purchase, behind: Option<Behind>, given: Given<'_>) -> Decision {
    let mut after = purchase.clone();
    after.parked_since = None;
    after.behind = behind;
    Decision {
        transitions: Vec::new(),
        outcomes: Vec::new(),
        waits: Some(Waits::Confirmation),
        wake: super::wake::after(&after, given),
        lag: super::Lag::between(purchase.behind, after.behind),
        purchase: after,
    }
}

/// Whether a receipt that the store does not know is believed now: its platform wants that, and the schedule is over or
/// was over before. The store is asked once about each later notification; its first answer verifies as usual.
pub(super) fn is_believed(purchase: &Purchase, given: Given<'_>) -> bool {
    let is_over = || {
        let last = UNKNOWN_RECEIPT_MS.last().copied().unwrap_or_default();
        purchase.parked_since.is_some_and(|since| given.now.millis_since(since) >= last)
    };
    matches!(given.reading, Reading::Parked(Parked::Believable)) && (purchase.is_believed || is_over())
}

/// The store does not accept the receipt: everything waits for a later reading, until there was the last one.
pub(super) fn park(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    why: Parked,
    now: Timestamp,
) -> Decision {
    let schedule: &[i64] = match why {
        Parked::UnknownReceipt | Parked::Believable => &UNKNOWN_RECEIPT_MS,
        Parked::WrongCustomer => &WRONG_CUSTOMER_MS,
    };
    let mut after = purchase.clone();
    let since = *after.parked_since.get_or_insert(now);
    let passed = now.millis_since(since);
    let next = schedule.iter().find(|wait| **wait > passed).map(|wait| since.plus_millis(*wait));
    let mut outcomes = Vec::new();
    if next.is_none() {
        after.parked_since = None;
        let last_word = |notification| match outcome(notification) {
            Outcome::Settled => Outcome::GivenUp,
            other => other,
        };
        outcomes.extend(notifications.iter().map(|(seq, notification)| (*seq, last_word(notification))));
    }
    let waits = next.filter(|_| !notifications.is_empty()).map(|_| Waits::Parked(why));
    let wake = next.or_else(|| super::wake::weekly(&after, now));
    Decision { purchase: after, transitions: Vec::new(), outcomes, waits, wake, lag: None }
}
