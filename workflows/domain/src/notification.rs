//! Notifications in settle's own terms. The names that a store uses stay in that store's folder.

use crate::ids::CollapseKey;
use crate::names::names;
use crate::period::RefundedPayment;
use crate::store_state::VoidedPayment;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One fact about one purchase, reported by a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notification {
    /// The id that the store gave to the message; several notifications can come from one message.
    pub message_id: String,
    pub collapse_key: CollapseKey,
    /// The store's id of the purchase.
    pub receipt_id: String,
    pub kind: NotificationKind,
    /// The store's own name for the type; for people, and to recognize a duplicate notification.
    pub store_type: String,
    /// When it happened, by the store's clock.
    pub store_time: Timestamp,
    /// The store's id of the customer.
    pub app_user_id: Option<String>,
    /// The other purchase of a plan change: the old one on `PlanChanged`, the new one on `Replaced`.
    pub related_receipt_id: Option<String>,
    /// Whether the purchase was made in the store's live test programme.
    pub is_test: bool,
    /// A payment that the store voided in full, if it reports that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voided: Option<VoidedPayment>,
    /// A payment whose money was returned, with or without the access that it gave, if it reports that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded: Option<RefundedPayment>,
}

/// Maximum length in bytes of a store's id of a purchase or customer, and of a store type. They are indexed, and index
/// entries are bounded (<https://www.postgresql.org/docs/current/btree.html>).
pub const MAX_ID_BYTES: usize = 1000;

/// Prefix of the ids of sample purchases. No store issues such ids, so a sample is never a purchase for money.
pub const SAMPLE_PREFIX: &str = "sample.";

/// Whether a purchase is a sample, by its id, regardless of who created it.
pub fn is_sample_purchase(receipt_id: &str) -> bool {
    receipt_id.starts_with(SAMPLE_PREFIX)
}

/// What happened. Notifications with equal store times are read in the order of these variants.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// An admin imported a purchase that was made before notifications were received.
    Adopted,
    /// A device's claim of a known purchase was verified. Reports nothing from the store.
    Claimed,
    /// A subscription began, paid or in a trial.
    SubscriptionPurchased,
    ConsumablePurchased,
    EntitlementPurchased,
    /// A trial became a paid subscription.
    TrialConverted,
    Renewed,
    /// The plan changed at once: this purchase is the new one.
    PlanChanged,
    /// The plan will change at the next renewal.
    PlanChangeScheduled,
    AutoRenewalOn,
    AutoRenewalOff,
    /// A reminder that the subscription will end, since it does not renew.
    ScheduledToEnd,
    /// A payment failed and a grace period began.
    GraceBegan,
    /// The grace period is over: the payment recovered or, if reported at about the end of the period or later, the
    /// subscription ended (`GRACE_END_MARGIN` and `UNPAID_END_MARGIN` in `purchase`).
    #[serde(rename = "grace_ended")]
    OutOfGrace,
    /// A subscription was cancelled, voluntarily or not.
    SubscriptionCancelled,
    ConsumableCancelled,
    EntitlementCancelled,
    /// The plan changed at once: this purchase is the old one.
    Replaced,
    Expired,
    /// A type that is not known.
    Unknown,
}

impl NotificationKind {
    /// Kinds which report a payment. `OutOfGrace` at the end of the grace period reports the end instead.
    pub(crate) const PAYMENTS: [Self; 3] = [Self::TrialConverted, Self::Renewed, Self::OutOfGrace];
    /// Kinds which report that a subscription began.
    pub(crate) const BEGINNINGS: [Self; 2] = [Self::SubscriptionPurchased, Self::PlanChanged];
    /// Kinds which report that a one-time purchase was made.
    pub(crate) const BOUGHT: [Self; 2] = [Self::ConsumablePurchased, Self::EntitlementPurchased];
    pub(crate) const ENDS: [Self; 2] = [Self::SubscriptionCancelled, Self::Expired];

    pub(crate) fn is_payment(self) -> bool {
        Self::PAYMENTS.contains(&self)
    }

    pub(crate) fn is_end(self) -> bool {
        Self::ENDS.contains(&self)
    }
}

/// Final outcome of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Settled in a revision.
    Settled,
    /// Settled without changing the record.
    NoChange,
    /// Duplicate of an earlier notification.
    Duplicate,
    /// Refused: it belongs to another app, or its topic was rejected.
    Refused,
    /// Discarded by an admin.
    Discarded,
    /// Of an unknown type or shape.
    Unknown,
    /// Given up because it could not be verified in time.
    #[serde(rename = "given_up")]
    Abandoned,
}

names!(Outcome, "an outcome" {
    Settled = "settled",
    NoChange = "no_change",
    Duplicate = "duplicate",
    Refused = "refused",
    Discarded = "discarded",
    Unknown = "unknown",
    Abandoned = "given_up",
});
