//! The state of a purchase and its payments, as a store shows them that shows more than dates.
//!
//! It stands beside the dates of a snapshot, and names no customer: histories contain it. Of two answers the later one is
//! true; what they show of payments adds up.

use crate::period::{OfferPhase, Period};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a store shows of a purchase beyond its dates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StoreState {
    pub status: StoreStatus,
    /// The SKUs of all its parts, of which several renew together.
    pub skus: BTreeSet<String>,
    /// The SKUs from the next renewal on, if a change is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned: Option<BTreeSet<String>>,
    /// The phase of its offer; `None` if the store does not show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<OfferPhase>,
    /// The store's id of the last payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// The number of that payment in its series, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycle: Option<u64>,
    /// When the customer switched renewal off; only while it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canceled_at: Option<Timestamp>,
    /// The planned end of a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes_at: Option<Timestamp>,
    /// When access was taken away before the end of what was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Whether it is over because its first payment was not made.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_fallen_through: bool,
    /// Whether the customer extends it by payments of their own: it never renews by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_prepaid: bool,
    /// Whether it ends with the payments to which the customer is committed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ends_after_commitment: bool,
    /// Whether another of these payments follows, so that it renews once more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub renews_by_commitment: bool,
    /// Whether the purchase is acknowledged to the store, without which it returns the money; `None` if it does not show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_acknowledged: Option<bool>,
    /// Whether the customer bought the period of the last payment: it is no renewal by the store, but a beginning, or a
    /// change of plan at once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_bought: bool,
    /// Up to which beginning of a payment `cycle` counts all payments, also those that the purchase does not have; `None` if
    /// it counts those that are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_until: Option<Timestamp>,
    /// How its holder has it if another customer paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedAccess>,
    /// When the store signed what it shows of renewal, if it signs that apart from payments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal_as_of: Option<Timestamp>,
    /// The beginning of the newest period that names a customer, if periods name one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named_at: Option<Timestamp>,
    /// The store's id of the purchase that this one continues: it is replaced once this one is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// Payments. A record has them apart, for all answers together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<Period>,
    /// Payments that the store voided. A record has them with its periods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub voided: Vec<VoidedPayment>,
}

/// The state of a purchase, in the store's own answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreStatus {
    /// The first payment is pending; there is no access.
    Pending,
    /// Access, whatever the dates are, with renewal on or off.
    #[default]
    Active,
    /// A payment failed; access goes on.
    Grace,
    /// A payment failed; there is no access.
    AccountHold,
    /// The customer paused it; there is no access.
    Paused,
    Over,
}

/// How the holder of a purchase has it that another customer paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SharedAccess {
    /// As a member of the buyer's family.
    Family,
    /// With a seat that the buyer assigned.
    Seat,
}

/// A payment that the store voided, with the access that it gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VoidedPayment {
    pub transaction_id: String,
    pub at: Timestamp,
    /// The number of units that were returned; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u32>,
}

impl StoreState {
    /// Whether it was paid, or began free: its first payment is neither pending nor did it fall through.
    pub fn is_paid(&self) -> bool {
        match self.status {
            StoreStatus::Pending => false,
            StoreStatus::Over => !self.has_fallen_through,
            StoreStatus::Active
            | StoreStatus::Grace
            | StoreStatus::AccountHold
            | StoreStatus::Paused => true,
        }
    }

    /// What a record has of it: without the payments, which add up in the record's periods.
    #[must_use]
    pub fn without_payments(&self) -> Self {
        Self {
            periods: Vec::new(),
            voided: Vec::new(),
            ..self.clone()
        }
    }
}
