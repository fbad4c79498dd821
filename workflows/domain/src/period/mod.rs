//! The periods of a purchase: what each payment was for, and how much of it was refunded.
//!
//! Only stores that show every payment have periods. A purchase stores a limited number of them, but the ledger has the
//! entries of all; what is recorded there is not recorded again (`ledger.rs`). A payment is identified by the store's
//! transaction, never by the time between two payments.

mod ledger;

#[cfg(test)]
mod tests;

pub use ledger::{PeriodEntry, missing_entries, missing_tax};

use crate::time::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of periods of a purchase: the newest ones.
pub const MAX_PERIODS: usize = 16;

/// A period of a subscription, or a one-time purchase, with its payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Period {
    /// The store's id of the transaction that paid for the period.
    pub transaction_id: String,
    /// Time of the answer that showed the period.
    pub as_of: Timestamp,
    pub product: String,
    /// The plan of the product, if the store sells several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    pub begins_at: Timestamp,
    /// When the period ends; `None` for a one-time purchase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    pub phase: OfferPhase,
    /// The price of all units, including tax; `None` while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Decimal>,
    /// ISO 4217 code of the price's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The tax in the price; `None` if the store does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<Decimal>,
    /// ISO 3166-1 alpha-2 code of the country in which it was paid; `None` if the store does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The number of units or seats.
    pub quantity: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<PeriodRefund>,
    /// The tax in all that was returned; `None` if the store does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded_tax: Option<Decimal>,
    /// When the store voided the payment, and thereby ended the access that it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voided_at: Option<Timestamp>,
    /// Why the period exists; `None` if the store does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<PeriodCause>,
}

/// Why a period exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodCause {
    /// The customer bought it: a beginning, or a change of plan at once.
    Bought,
    /// The store renewed the subscription, also with another plan.
    Renewed,
    /// Units were added to a running period.
    UnitsAdded,
}

/// The phase of an offer in which a period lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OfferPhase {
    /// Without an offer.
    Base,
    /// Free, for new customers.
    Trial,
    /// At a lower price, for new customers.
    Introductory,
    /// In any other offer.
    Other,
}

/// The last refund of a period, or its reversal.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct PeriodRefund {
    /// When the store returned the money or reversed the refund.
    pub at: Timestamp,
    pub extent: RefundExtent,
}

/// What was returned of a payment, by the store's id of its transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefundedPayment {
    pub transaction_id: String,
    pub refund: PeriodRefund,
    /// The tax in all that was returned; `None` if the store does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<Decimal>,
}

/// Total refunded part of a payment.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RefundExtent {
    /// The refund was reversed.
    Reversed,
    /// A part whose size the store does not show.
    Unknown,
    /// The number of refunded units.
    Units(u32),
    /// Thousandths of the price.
    Mille(u16),
    /// An amount in the currency of the period.
    Amount(Decimal),
    Full,
}

impl Period {
    /// A period of which only a sign from this time names the transaction. Whatever shows it wins.
    pub fn unread(transaction_id: &str, at: Timestamp) -> Self {
        Self {
            transaction_id: transaction_id.to_owned(),
            as_of: Timestamp::default(),
            product: String::new(),
            plan: None,
            begins_at: at,
            ends_at: None,
            phase: OfferPhase::Base,
            price: None,
            currency: None,
            tax: None,
            country: None,
            quantity: 1,
            refund: None,
            refunded_tax: None,
            voided_at: None,
            cause: None,
        }
    }

    /// Whether it is a period of its own, and not an addition to another one.
    pub fn is_own(&self) -> bool {
        self.cause != Some(PeriodCause::UnitsAdded)
    }

    /// Whether money was paid for the period, of a known amount.
    pub fn is_charged(&self) -> bool {
        self.price.is_some_and(|price| !price.is_zero())
    }

    /// The amount that was returned; `None` if it is not known.
    pub fn refunded(&self) -> Option<Decimal> {
        let Some(refund) = self.refund else {
            return Some(Decimal::ZERO);
        };
        let share = |part: u32, whole: u32| {
            let part = self.price?.checked_mul(Decimal::from(part))?;
            part.checked_div(Decimal::from(whole))
        };
        let refunded = match refund.extent {
            RefundExtent::Reversed => return Some(Decimal::ZERO),
            RefundExtent::Unknown => return None,
            RefundExtent::Units(units) => share(units, self.quantity),
            RefundExtent::Mille(mille) => share(u32::from(mille), 1000),
            RefundExtent::Amount(amount) => Some(amount),
            RefundExtent::Full => self.price,
        };
        let price = self.price?;
        refunded.map(|refunded| refunded.clamp(Decimal::ZERO, price.max(Decimal::ZERO)))
    }

    /// Whether the store voided the payment, and did not take that back. Only of a valid one are single units returned.
    pub fn is_voided(&self) -> bool {
        let is_reversed = |refund: PeriodRefund| match refund.extent {
            RefundExtent::Reversed => Some(refund.at) >= self.voided_at,
            RefundExtent::Units(units) => units < self.quantity && Some(refund.at) > self.voided_at,
            _ => false,
        };
        self.voided_at.is_some() && !self.refund.is_some_and(is_reversed)
    }

    /// Returns when the store last voided the payment; `None` if it did not, or took that back.
    pub fn revoked_at(&self) -> Option<Timestamp> {
        let voided_at = self.voided_at.filter(|_| self.is_voided())?;
        let refunded_at = self.refund.map(|refund| refund.at);
        Some(refunded_at.map_or(voided_at, |at| at.max(voided_at)))
    }

    /// The refund of this period; `None` if it has none.
    pub fn refunded_payment(&self) -> Option<RefundedPayment> {
        self.refund.map(|refund| RefundedPayment {
            transaction_id: self.transaction_id.clone(),
            refund,
            tax: self.refunded_tax,
        })
    }

    /// Records a refund. The newest one wins.
    pub(crate) fn add_refund(&mut self, refund: PeriodRefund, tax: Option<Decimal>) {
        self.refund = self.refund.max(Some(refund));
        self.refunded_tax = self.refunded_tax.max(tax);
    }

    /// Takes over what another answer shows of this period. The later answer wins, but unknown values replace no known
    /// ones. Of refunds the newest one wins, whichever answer showed it, and of the tax in them the largest sum.
    fn merge(&mut self, other: &Self) {
        let refund = self.refund.max(other.refund);
        let (newer, older) = if other.as_of > self.as_of {
            (other, &*self)
        } else {
            (&*self, other)
        };
        *self = Self {
            plan: newer.plan.clone().or_else(|| older.plan.clone()),
            ends_at: newer.ends_at.or(older.ends_at),
            price: newer.price.or(older.price),
            currency: newer.currency.clone().or_else(|| older.currency.clone()),
            tax: newer.tax.or(older.tax),
            country: newer.country.clone().or_else(|| older.country.clone()),
            refund,
            refunded_tax: newer.refunded_tax.max(older.refunded_tax),
            voided_at: [newer.voided_at, older.voided_at]
                .into_iter()
                .flatten()
                .min(),
            ..newer.clone()
        };
    }
}

/// What an answer shows of payments whose periods a purchase does not have, since it has only the newest ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OtherPayments {
    pub refunds: Vec<RefundedPayment>,
    /// The charged periods among them that the answer shows.
    pub periods: Vec<Period>,
}

/// The newest periods of a purchase, by their beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Periods(Vec<Period>);

impl Periods {
    /// Adds a period as an answer shows it. Neither order nor repetition changes the result, except for a period that
    /// is older than the newest [`MAX_PERIODS`].
    pub fn add(&mut self, shown: &Period) {
        let is_same = |one: &&mut Period| one.transaction_id == shown.transaction_id;
        match self.0.iter_mut().find(is_same) {
            Some(known) => known.merge(shown),
            None => self.0.push(shown.clone()),
        }
        let key = |one: &Period| (one.begins_at, one.transaction_id.clone());
        self.0.sort_by_cached_key(key);
        let excess = self.0.len().saturating_sub(MAX_PERIODS);
        self.0.drain(..excess);
    }

    /// Records a refund that names only a transaction. Returns whether the period is still stored.
    pub fn refund(&mut self, refunded: &RefundedPayment) -> bool {
        let found = self
            .0
            .iter_mut()
            .find(|one| one.transaction_id == refunded.transaction_id);
        let Some(period) = found else { return false };
        period.add_refund(refunded.refund, refunded.tax);
        true
    }

    /// Records that the store voided a payment. Returns whether the period is among the newest ones.
    pub fn void(&mut self, transaction_id: &str, at: Timestamp) -> bool {
        let Some(period) = self
            .0
            .iter_mut()
            .find(|one| one.transaction_id == transaction_id)
        else {
            return false;
        };
        period.voided_at = Some(period.voided_at.map_or(at, |known| known.min(at)));
        true
    }

    /// The period of this transaction.
    pub fn of(&self, transaction_id: &str) -> Option<&Period> {
        self.0
            .iter()
            .find(|one| one.transaction_id == transaction_id)
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Period> {
        self.0.iter()
    }

    /// Returns the period before this one, without additions.
    pub fn before(&self, period: &Period) -> Option<&Period> {
        let mut earlier = self.0.iter().filter(|one| one.is_own());
        earlier.rfind(|one| {
            one.begins_at < period.begins_at && one.transaction_id != period.transaction_id
        })
    }

    /// Returns the newest period.
    pub fn newest(&self) -> Option<&Period> {
        self.0.last()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
