//! Which notifications wait for the store: until it can be reached, until it accepts the receipt, or until it shows
//! what they report.

use super::{Decision, SettlingContext, Waits, outcome};
use crate::notification::{Notification, NotificationKind, Outcome};
use crate::purchase::{Behind, Purchase};
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::verification::{Parked, Verification};
use std::time::Duration;

/// When a receipt that the store does not know is rechecked, counted from the first query.
const UNKNOWN_RECEIPT: [Duration; 5] = [
    MINUTE,
    MINUTE.saturating_mul(10),
    HOUR,
    HOUR.saturating_mul(6),
    DAY,
];
/// When a receipt of another customer is rechecked, counted from the first query.
const WRONG_CUSTOMER: [Duration; 2] = [HOUR, DAY];
/// After this time without an answer of the store, all reports are believed.
pub(super) const BELIEVED_AFTER: Duration = DAY;

/// Kinds that are settled without an answer: a snapshot could not change what they announce.
const SETTLED_UNVERIFIED: [NotificationKind; 5] = [
    NotificationKind::Renewed,
    NotificationKind::AutoRenewalOff,
    NotificationKind::AutoRenewalOn,
    NotificationKind::GraceBegan,
    NotificationKind::TrialConverted,
];
/// Kinds that begin a purchase. While one of them waits, no other notification of an unknown purchase is settled.
const FIRST_KINDS: [NotificationKind; 5] = [
    NotificationKind::Adopted,
    NotificationKind::SubscriptionPurchased,
    NotificationKind::ConsumablePurchased,
    NotificationKind::EntitlementPurchased,
    NotificationKind::PlanChanged,
];

/// The notifications that can be decided without the store, if it cannot be reached; the others wait for it.
pub(super) fn decidable<'a>(
    purchase: &Purchase,
    notifications: &'a [(i64, Notification)],
    context: SettlingContext<'_>,
) -> Vec<&'a (i64, Notification)> {
    let Verification::Unreachable { since } = context.verification else {
        return notifications.iter().collect();
    };
    if context.now.since(*since) >= BELIEVED_AFTER {
        return notifications.iter().collect();
    }
    let begins = |(_, notification): &(i64, Notification)| FIRST_KINDS.contains(&notification.kind);
    if purchase.stage.is_unknown() && notifications.iter().any(begins) {
        return Vec::new();
    }
    notifications
        .iter()
        .filter(|(_, notification)| SETTLED_UNVERIFIED.contains(&notification.kind))
        .collect()
}

/// All notifications wait: they report only an end or a scheduled change, the store does not show it yet, and nothing
/// else is known of the purchase.
pub(super) fn postpone(
    purchase: &Purchase,
    behind: Option<Behind>,
    context: SettlingContext<'_>,
) -> Decision {
    let mut after = purchase.clone();
    after.parked_since = None;
    after.behind = behind;
    Decision {
        transitions: Vec::new(),
        outcomes: Vec::new(),
        waits: Some(Waits::Confirmation),
        wake: super::wake::next(&after, context),
        lag: super::Lag::between(purchase.behind, after.behind),
        purchase: after,
    }
}

/// Whether a receipt that the store does not know is believed: the platform's setting allows it, and the last scheduled
/// recheck is over now or was over before. For later notifications the store is still queried, once each; if it
/// answers, the answer counts as usual.
pub(super) fn is_believed(purchase: &Purchase, context: SettlingContext<'_>) -> bool {
    let is_over = || {
        let last = UNKNOWN_RECEIPT.last().copied().unwrap_or_default();
        purchase
            .parked_since
            .is_some_and(|since| context.now.since(since) >= last)
    };
    matches!(
        context.verification,
        Verification::Parked(Parked::Believable)
    ) && (purchase.is_believed || is_over())
}

/// All notifications wait while the store does not accept the receipt. After the last scheduled recheck they are given
/// up.
pub(super) fn park(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    reason: Parked,
    now: Timestamp,
) -> Decision {
    let schedule: &[Duration] = match reason {
        Parked::UnknownReceipt | Parked::Believable => &UNKNOWN_RECEIPT,
        Parked::WrongCustomer => &WRONG_CUSTOMER,
    };
    let mut after = purchase.clone();
    let since = *after.parked_since.get_or_insert(now);
    let passed = now.since(since);
    let next = schedule
        .iter()
        .find(|wait| **wait > passed)
        .map(|wait| since.plus(*wait));
    let mut outcomes = Vec::new();
    if next.is_none() {
        after.parked_since = None;
        let last_outcome = |notification| match outcome(notification) {
            Outcome::Settled => Outcome::Abandoned,
            other => other,
        };
        outcomes.extend(
            notifications
                .iter()
                .map(|(seq, notification)| (*seq, last_outcome(notification))),
        );
    }
    let waits = next
        .filter(|_| !notifications.is_empty())
        .map(|_| Waits::Parked(reason));
    let wake = next.or_else(|| super::wake::weekly(&after, now));
    Decision {
        purchase: after,
        transitions: Vec::new(),
        outcomes,
        waits,
        wake,
        lag: None,
    }
}
