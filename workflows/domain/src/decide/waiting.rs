//! What waits when the store gives no answer: for the store, or for the receipt to be accepted.

use super::{Decision, SettlingContext, Waits, outcome};
use crate::notification::{Notification, NotificationKind, Outcome};
use crate::purchase::{Behind, Purchase};
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::verification::{Parked, Verification};
use std::time::Duration;

/// When a receipt that the store does not know is checked again, after the first query.
const UNKNOWN_RECEIPT: [Duration; 5] = [MINUTE, MINUTE.saturating_mul(10), HOUR, HOUR.saturating_mul(6), DAY];
/// When a receipt of another customer is checked again, after the first query.
const WRONG_CUSTOMER: [Duration; 2] = [HOUR, DAY];
/// How long the store may be unreachable before all reports are believed.
pub(super) const BELIEVED_AFTER: Duration = DAY;

/// Kinds that the store could not contradict.
const SURE: [NotificationKind; 5] = [
    NotificationKind::Renewed,
    NotificationKind::AutoRenewalOff,
    NotificationKind::AutoRenewalOn,
    NotificationKind::GraceBegan,
    NotificationKind::TrialConverted,
];
/// Kinds that begin a purchase. While one of them waits, nothing is settled before it.
const BEGINNINGS: [NotificationKind; 5] = [
    NotificationKind::Adopted,
    NotificationKind::SubscriptionPurchased,
    NotificationKind::ConsumablePurchased,
    NotificationKind::EntitlementPurchased,
    NotificationKind::PlanChanged,
];

/// The notifications that are decided now; the others wait for the store.
pub(super) fn decidable<'a>(
    purchase: &Purchase,
    notifications: &'a [(i64, Notification)],
    context: SettlingContext<'_>,
) -> Vec<&'a (i64, Notification)> {
    let Verification::Unreachable { since } = context.verification else { return notifications.iter().collect() };
    if context.now.since(*since) >= BELIEVED_AFTER {
        return notifications.iter().collect();
    }
    let begins = |(_, notification): &(i64, Notification)| BEGINNINGS.contains(&notification.kind);
    if purchase.stage.is_unknown() && notifications.iter().any(begins) {
        return Vec::new();
    }
    notifications.iter().filter(|(_, notification)| SURE.contains(&notification.kind)).collect()
}

/// Lets everything wait: nothing is known but an end or a scheduled change that the store does not show yet.
pub(super) fn postpone(purchase: &Purchase, behind: Option<Behind>, context: SettlingContext<'_>) -> Decision {
    let mut after = purchase.clone();
    after.parked_since = None;
    after.behind = behind;
    Decision {
        transitions: Vec::new(),
        outcomes: Vec::new(),
        waits: Some(Waits::Confirmation),
        wake: super::wake::after(&after, context),
        lag: super::Lag::between(purchase.behind, after.behind),
        purchase: after,
    }
}

/// Whether a receipt that the store does not know is believed now: its platform wants that, and the schedule is over or
/// was over before. The store is queried once for each later notification; its first answer verifies as usual.
pub(super) fn is_believed(purchase: &Purchase, context: SettlingContext<'_>) -> bool {
    let is_over = || {
        let last = UNKNOWN_RECEIPT.last().copied().unwrap_or_default();
        purchase.parked_since.is_some_and(|since| context.now.since(since) >= last)
    };
    matches!(context.verification, Verification::Parked(Parked::Believable)) && (purchase.is_believed || is_over())
}

/// Lets everything wait while the store does not accept the receipt, until the last scheduled check.
pub(super) fn park(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    why: Parked,
    now: Timestamp,
) -> Decision {
    let schedule: &[Duration] = match why {
        Parked::UnknownReceipt | Parked::Believable => &UNKNOWN_RECEIPT,
        Parked::WrongCustomer => &WRONG_CUSTOMER,
    };
    let mut after = purchase.clone();
    let since = *after.parked_since.get_or_insert(now);
    let passed = now.since(since);
    let next = schedule.iter().find(|wait| **wait > passed).map(|wait| since.plus(*wait));
    let mut outcomes = Vec::new();
    if next.is_none() {
        after.parked_since = None;
        let last_outcome = |notification| match outcome(notification) {
            Outcome::Settled => Outcome::Abandoned,
            other => other,
        };
        outcomes.extend(notifications.iter().map(|(seq, notification)| (*seq, last_outcome(notification))));
    }
    let waits = next.filter(|_| !notifications.is_empty()).map(|_| Waits::Parked(why));
    let wake = next.or_else(|| super::wake::weekly(&after, now));
    Decision { purchase: after, transitions: Vec::new(), outcomes, waits, wake, lag: None }
}
