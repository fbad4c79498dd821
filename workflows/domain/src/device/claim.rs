//! Claims: a device reports that it has a purchase of a customer of the store. A claim counts only after the store has
//! confirmed that the purchase is this customer's; until then it grants and moves nothing. Storage decides claims:
//! `people/claims.rs` by what is known or by the store's answer (interpreted by `judged` in the activities'
//! `settling/claims.rs`), `people/answered.rs` by a settling.

use crate::ids::CollapseKey;
use crate::names::names;
use crate::notification::NotificationKind;
use crate::time::{DAY, HOUR, Timestamp};
use crate::verification::{Product, Snapshot};
use std::time::Duration;

/// Kinds of claims that a device reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimKind {
    /// The purchase was on the device at the start of a session.
    Present,
    Restored,
    Purchased,
}

names!(ClaimKind, "a kind of claim" { Present = "present", Restored = "restored", Purchased = "purchased", });

/// Status of a claim's verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimStatus {
    /// The store has not confirmed the claim yet.
    Pending,
    Verified,
    /// The store does not confirm the claim, or it could not be verified in time.
    Refused,
}

names!(ClaimStatus, "the status of a claim" { Pending = "pending", Verified = "verified", Refused = "refused", });

/// Why a claim is refused or still pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimReason {
    /// Pending: the platform has no credentials that the store accepts, so it verifies no claim.
    NoSecret,
    /// Pending: the purchase is known, but no answer of the store about it has been settled yet.
    Unsettled,
    /// Pending: the store did not answer.
    Unanswered,
    /// Refused: the purchase belongs to another customer of the store.
    WrongCustomer,
    /// Refused: the store does not know the purchase. A later notification of the store about the purchase reopens the
    /// claim.
    UnknownReceipt,
    /// Refused: the purchase is no longer valid.
    Invalid,
    /// Refused: it could not be verified in two days.
    Abandoned,
    /// Refused: the maximum number of claims was waiting, and a claim of another network took its place. Another report
    /// of the claim reopens it, and so does an answer of the store about the purchase.
    Displaced,
}

names!(ClaimReason, "the reason of a claim" {
    NoSecret = "no_secret",
    Unsettled = "unsettled",
    Unanswered = "unanswered",
    WrongCustomer = "wrong_customer",
    UnknownReceipt = "unknown_receipt",
    Invalid = "invalid",
    Abandoned = "given_up",
    Displaced = "displaced",
});

/// The store type of the notification that a new verified claim becomes, and of a signed transaction that a device hands
/// in; no store uses it.
pub const CLAIM_STORE_TYPE: &str = "DEVICE_TRANSACTION";

/// The ages of a claim at which it is checked; afterwards, it is checked every hour.
const CHECKS: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(35),
    Duration::from_secs(155),
    Duration::from_secs(755),
];
/// A scheduled check that would follow within this time is skipped.
const SOON: Duration = Duration::from_secs(1);
/// The age at which an undecided claim is given up.
const PATIENCE: Duration = DAY.saturating_mul(2);
/// Maximum age of a purchase that is announced as new; an older one is adopted.
const NEW_FOR: Duration = DAY.saturating_mul(7);
/// A purchase younger than this is announced as new, whatever the device reports: the store's own notification of its
/// beginning may still be on its way, and would announce nothing after an adoption.
const JUST_BEGUN_FOR: Duration = Duration::from_secs(600);
/// The age of a claim from which the store is queried about it. The store's notification of a new purchase arrives
/// within seconds, and the store may not know so young a purchase yet.
const QUERIED_FROM: Duration = Duration::from_secs(5);
/// How long a refused claim is stored, so that its purchase is not queried again.
pub const REFUSED_FOR: Duration = DAY.saturating_mul(7);

/// Returns when a claim that cannot be decided at `now` is checked next; `None` if it is given up.
pub fn next_check(claimed_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let age = now.since(claimed_at);
    if age >= PATIENCE {
        return None;
    }
    let early = CHECKS
        .iter()
        .find(|check| **check > age.saturating_add(SOON));
    Some(early.map_or_else(|| now.plus(HOUR), |check| claimed_at.plus(*check)))
}

/// Whether the store may be queried about a claim.
pub fn may_query(claimed_at: Timestamp, now: Timestamp) -> bool {
    now.since(claimed_at) >= QUERIED_FROM
}

/// Returns the kind and time of the notification for a verified claim of an unknown purchase. A purchase that was not
/// just made on the device is adopted, which announces nothing.
pub fn reported(
    kind: ClaimKind,
    snapshot: &Snapshot,
    now: Timestamp,
) -> (NotificationKind, Timestamp) {
    let adopted = (NotificationKind::Adopted, now);
    let Some(began) = snapshot.purchased_at.map(|at| at.min(now)) else {
        return adopted;
    };
    let announced_for = if kind == ClaimKind::Purchased {
        NEW_FOR
    } else {
        JUST_BEGUN_FOR
    };
    if now.since(began) > announced_for {
        return adopted;
    }
    match snapshot.product {
        Product::Subscription => (NotificationKind::SubscriptionPurchased, began),
        Product::Consumable => (NotificationKind::ConsumablePurchased, began),
        Product::Entitlement => (NotificationKind::EntitlementPurchased, began),
        Product::Unknown => adopted,
    }
}

/// Returns the message id of the notification that a transaction becomes which the store signed and a device hands in:
/// one for each content.
pub fn signed_message_id(content_id: &str) -> String {
    format!("signed/{content_id}")
}

/// Returns the message id of the notification that a claim becomes: one for each device and purchase.
pub fn message_id(device: crate::DeviceId, purchase: CollapseKey) -> String {
    format!("device/{device}/{purchase}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::{day, monthly};

    #[test]
    fn a_claim_is_examined_for_two_days() {
        let (mut now, mut waits) = (day(0), Vec::new());
        while let Some(next) = next_check(day(0), now) {
            waits.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(waits[..5], [5, 30, 120, 600, 3600]);
        assert!(waits[4..].iter().all(|wait| *wait == 3600), "{waits:?}");
        assert!(now.since(day(0)) >= PATIENCE && now.since(day(0)) < PATIENCE + HOUR);
    }

    #[test]
    fn only_what_was_bought_just_now_is_announced() {
        let reported = |kind, days| reported(kind, &monthly(), day(days));
        let bought = (NotificationKind::SubscriptionPurchased, day(0));
        assert_eq!(reported(ClaimKind::Purchased, 1), bought);
        assert_eq!(
            reported(ClaimKind::Purchased, 8),
            (NotificationKind::Adopted, day(8))
        );
        for kind in [ClaimKind::Restored, ClaimKind::Present] {
            assert_eq!(
                reported(kind, 1),
                (NotificationKind::Adopted, day(1)),
                "{kind:?}"
            );
            assert_eq!(
                reported(kind, 0),
                bought,
                "the store's own notification of it may follow"
            );
        }
    }

    #[test]
    fn the_kind_of_product_names_what_was_bought() {
        for (product, kind) in [
            (Product::Consumable, NotificationKind::ConsumablePurchased),
            (Product::Entitlement, NotificationKind::EntitlementPurchased),
            (Product::Unknown, NotificationKind::Adopted),
        ] {
            let snapshot = Snapshot {
                product,
                ..monthly()
            };
            assert_eq!(reported(ClaimKind::Purchased, &snapshot, day(1)).0, kind);
        }
    }
}
