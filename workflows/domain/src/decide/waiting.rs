//! Which notifications wait for the store: until it can be reached, until it accepts the purchase, or until it shows
//! what they report.

use super::{Decision, SettlingContext, Waits, outcome};
use crate::notification::{Notification, NotificationKind, Outcome};
use crate::purchase::{Behind, Purchase};
use crate::verification::{Parked, Verification};

/// Kinds that begin a purchase. While one of them waits, no other notification of an unknown purchase is settled.
const FIRST_KINDS: [NotificationKind; 5] = [
    NotificationKind::Adopted,
    NotificationKind::SubscriptionPurchased,
    NotificationKind::ConsumablePurchased,
    NotificationKind::EntitlementPurchased,
    NotificationKind::PlanChanged,
];

/// Returns the notifications that can be decided without the store while it cannot be reached. The others wait for it.
pub(super) fn decidable<'a>(
    purchase: &Purchase,
    notifications: &'a [(i64, Notification)],
    context: SettlingContext<'_>,
) -> Vec<&'a (i64, Notification)> {
    let Verification::Unreachable { since } = context.verification else {
        return notifications.iter().collect();
    };
    let schedules = &context.policy.schedules;
    if context.now.since(*since) >= schedules.believed_after {
        return notifications.iter().collect();
    }
    let begins = |(_, notification): &(i64, Notification)| FIRST_KINDS.contains(&notification.kind);
    if purchase.stage.is_unknown() && notifications.iter().any(begins) {
        return Vec::new();
    }
    notifications
        .iter()
        .filter(|(_, notification)| schedules.settled_unverified.contains(&notification.kind))
        .collect()
}

/// Returns a decision by which all notifications wait: they report only an end or a scheduled change that the store
/// does not show yet, and nothing else is known about the purchase.
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
        refunds: Vec::new(),
        older: Vec::new(),
        purchase: after,
    }
}

/// Whether a purchase that the store does not know is believed: the platform's setting allows it, and the last
/// scheduled recheck has passed, now or earlier. The store is still queried once for each later notification; if it
/// answers, the answer counts as usual.
pub(super) fn is_believed(purchase: &Purchase, context: SettlingContext<'_>) -> bool {
    let is_over = || {
        let last = context.policy.schedules.unknown.last();
        let last = last.copied().unwrap_or_default();
        purchase
            .parked_since
            .is_some_and(|since| context.now.since(since) >= last)
    };
    matches!(
        context.verification,
        Verification::Parked(Parked::Believable)
    ) && (purchase.is_believed || is_over())
}

/// Returns a decision by which all notifications wait while the store does not accept the purchase. After the last
/// scheduled recheck they are given up.
pub(super) fn park(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    reason: Parked,
    context: SettlingContext<'_>,
) -> Decision {
    let now = context.now;
    let schedule = match reason {
        Parked::UnknownReceipt | Parked::Believable => context.policy.schedules.unknown,
        Parked::WrongCustomer => context.policy.schedules.wrong_customer,
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
        refunds: Vec::new(),
        older: Vec::new(),
    }
}
