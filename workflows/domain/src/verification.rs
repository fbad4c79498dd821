//! The result of querying the store about a purchase, in settle's own terms.
//!
//! The names that a store uses stay in that store's folder. What an answer means for a purchase is decided in `decide`.

use crate::environment::Environment;
use crate::store_state::StoreState;
use crate::time::{HOUR, MINUTE, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Maximum time by which a snapshot lags behind the store's own notifications. For renewals a lag of one minute to one
/// hour was observed; the rest is a margin.
pub(crate) const LAG: Duration = HOUR.saturating_mul(2);
/// Minimum distance of two different dates in snapshots; closer ones are the same date.
pub const SAME: Duration = MINUTE;

/// The result of querying the store about a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    Verified(Box<Snapshot>),
    /// The store answers that the purchase is no longer valid.
    Gone,
    /// The store does not accept the purchase. It is queried again later, a limited number of times.
    Parked(Parked),
    /// The store cannot be queried: the platform has no credentials, or the store refused them.
    Unverifiable,
    /// The store could not be reached for longer than a settling waits.
    Unreachable {
        /// The time of the first failed attempt.
        since: Timestamp,
    },
}

impl Verification {
    /// Sets the environment of the store that was queried.
    #[must_use]
    pub fn of(mut self, environment: Environment) -> Self {
        if let Self::Verified(snapshot) = &mut self {
            snapshot.environment = environment;
        }
        self
    }

    /// Whether the store answered about this purchase.
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::Verified(_) | Self::Gone)
    }

    /// Whether the purchase counts as real: the store knows it, or the store cannot be queried.
    pub const fn is_real(&self) -> bool {
        matches!(self, Self::Verified(_) | Self::Unverifiable)
    }
}

/// Why the store does not accept a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parked {
    /// The store does not know the purchase (yet).
    UnknownReceipt,
    /// The store does not know the purchase, on a platform that believes such purchases: [`UnknownReceipts::Believe`].
    Believable,
    /// The purchase belongs to another customer.
    WrongCustomer,
}

/// What to do with notifications about a purchase that the store still does not know after the last scheduled check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReceipts {
    /// Give up.
    #[default]
    GiveUp,
    /// Settle as if the store could not be queried, and mark the purchase as unverified. Needed for purchases made with
    /// Amazon's Billing Compatibility SDK, which are verified at another address.
    Believe,
}

impl UnknownReceipts {
    pub const ALL: &[Self] = &[Self::GiveUp, Self::Believe];

    /// Returns the name used in storage and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GiveUp => "give_up",
            Self::Believe => "believe",
        }
    }
}

impl std::str::FromStr for UnknownReceipts {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "give_up" => Ok(Self::GiveUp),
            "believe" => Ok(Self::Believe),
            other => Err(format!("`give_up` or `believe`, but it is `{other}`")),
        }
    }
}

/// A purchase as the store showed it at one moment. Values that it did not show are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Snapshot {
    /// When the store was queried, by settle's clock.
    pub at: Timestamp,
    /// The kind of product.
    pub product: Product,
    /// The SKU; for a subscription, that of its parent.
    pub product_id: Option<String>,
    /// The SKU of the term that was bought.
    pub term_sku: Option<String>,
    pub term: Option<Term>,
    /// The time of the first purchase, which renewals do not change.
    pub purchased_at: Option<Timestamp>,
    pub renews_at: Option<Timestamp>,
    /// When the purchase ended or will end.
    pub ends_at: Option<Timestamp>,
    /// Why the purchase ended or will end.
    pub end_reason: Option<EndReason>,
    pub auto_renewing: Option<bool>,
    /// When the app reported to the store that it does not deliver the purchase, which the store then refunds at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelivered_at: Option<Timestamp>,
    /// The end of the trial, only while it runs.
    pub trial_ends_at: Option<Timestamp>,
    /// The end of the grace period, only while it runs.
    pub grace_ends_at: Option<Timestamp>,
    /// When a scheduled change of plan takes effect.
    pub deferred_at: Option<Timestamp>,
    /// The SKU of the scheduled change.
    pub deferred_sku: Option<String>,
    /// Whether an introductory price applies now.
    pub in_intro_offer: bool,
    /// The promotion whose price applies now.
    pub offer: Option<Offer>,
    /// Whether there is a promotion whose price will apply from a later payment on.
    pub has_queued_offer: bool,
    pub country: Option<String>,
    /// Whether the purchase was made in a test programme of the store.
    pub is_test: bool,
    /// The environment of the store that was queried, according to the platform's setting. Old records without it count
    /// as production, where a failed payment is never mistaken for a successful one.
    pub environment: Environment,
    /// The state and the payments; absent for a store that shows dates alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<StoreState>>,
}

/// A promotion with a price of its own. Of several in progress the first variant counts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// For new customers.
    Introductory,
    /// For customers whose subscription lapsed.
    LapsedCustomer,
    /// For customers who were about to leave.
    Retention,
    /// Of a type that we do not know.
    Other,
}

/// Kind of product of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// Not shown by the store, or of an unknown type.
    #[default]
    Unknown,
    Subscription,
    Consumable,
    Entitlement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The store does not show it yet, and will show it later.
    Pending,
    Customer,
    /// The store ended it: unpaid after the grace period, or by its customer service.
    Store,
    /// The store ended it for an internal reason.
    Internal,
    /// A change of plan put another purchase in its place.
    Replaced,
    /// An unknown reason, with the store's number for it.
    Other(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Term {
    /// The number of units, at least 1.
    pub count: u16,
    /// The unit.
    pub unit: Unit,
}

/// The unit of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Days.
    Day,
    Week,
    Month,
    Year,
}

impl Term {
    /// Formats the term as an ISO 8601 duration, such as `P1M`.
    pub fn iso(self) -> String {
        let letter = match self.unit {
            Unit::Day => 'D',
            Unit::Week => 'W',
            Unit::Month => 'M',
            Unit::Year => 'Y',
        };
        format!("P{}{letter}", self.count)
    }
}
