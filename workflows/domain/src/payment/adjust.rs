//! What the entries of a ledger must add up to, and what is missing for that.
//!
//! The wanted sum of a payment follows from what is known now: its price (the report's, else the one that was known at
//! its record), less what was given back. An adjustment is the difference to the sum that is booked, so that the same
//! facts again adjust nothing.

use super::EntryKind;
use crate::time::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An entry that the ledger has. Those of one payment follow each other in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// The number of the payment.
    pub number: i64,
    /// What it is.
    pub kind: EntryKind,
    /// When it happened.
    pub at: Timestamp,
    /// What it earned, in USD; below 0 for what was given back, `None` where that is not known.
    pub usd: Option<Decimal>,
}

/// What a line of a sales report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SaleKind {
    /// The customer paid.
    Charge,
    /// The store gave money back.
    Refund,
    /// The customer's bank took money back.
    Chargeback,
}

impl SaleKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Charge, Self::Refund, Self::Chargeback];

    /// The word used in storage and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Chargeback => "chargeback",
        }
    }
}

impl std::str::FromStr for SaleKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(word));
        found.ok_or_else(|| "`charge`, `refund` or `chargeback`".to_owned())
    }
}

/// A line of a sales report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// The store's name of the transaction.
    pub transaction_id: String,
    /// What it is.
    pub kind: SaleKind,
    /// When it was made.
    pub at: Timestamp,
    /// The amount, never below 0.
    pub price: Decimal,
    /// Its currency.
    pub currency: String,
    /// The amount in USD; `None` without a rate of that day.
    pub usd: Option<Decimal>,
}

/// What the store says of the present payment of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundStatus {
    /// It was given back at this time.
    Refunded(Timestamp),
    /// It is valid.
    Valid,
    /// Nothing, or nothing that can be told in money.
    Unknown,
}

/// An entry that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The number of the payment that it changes.
    pub number: i64,
    /// What it is.
    pub kind: EntryKind,
    /// When it happened; `None` for the time of its record.
    pub at: Option<Timestamp>,
    /// What it adds, in USD.
    pub usd: Decimal,
    /// The transaction of the sales report that says so.
    pub transaction_id: Option<String>,
}

/// What is known of one payment.
struct Known<'a> {
    number: i64,
    at: Timestamp,
    earned: Option<Decimal>,
    sum: Decimal,
    is_refunded: bool,
    charge: Option<&'a Sale>,
    returns: Vec<&'a Sale>,
}

/// The entries that are missing for the sums to be right, at most one for each payment.
#[must_use]
pub fn adjustments(
    booked: &[Booked],
    sales: &[Sale],
    (refund_status, reach_ms): (RefundStatus, i64),
) -> Vec<Adjustment> {
    let known = known(booked, sales, reach_ms);
    let present = newest(booked);
    let adjust =
        |one: &Known<'_>| one.adjust(if present == Some(one.number) { refund_status } else { RefundStatus::Unknown });
    known.iter().filter_map(adjust).collect()
}

/// The number of the payment that each line belongs to; `None` while there is none.
#[must_use]
pub fn matches(booked: &[Booked], sales: &[Sale], reach_ms: i64) -> Vec<Option<i64>> {
    let known = known(booked, sales, reach_ms);
    let of = |sale: &Sale| {
        let same = |other: &Sale| std::ptr::eq(other, sale);
        let owner =
            known.iter().find(|one| one.charge.is_some_and(same) || one.returns.iter().any(|other| same(other)));
        owner.map(|owner| owner.number)
    };
    sales.iter().map(of).collect()
}

/// The charge of each payment that a sales report has, by the number of the payment.
#[must_use]
pub fn charges(booked: &[Booked], sales: &[Sale], reach_ms: i64) -> BTreeMap<i64, Sale> {
    let known = known(booked, sales, reach_ms);
    known.iter().filter_map(|one| Some((one.number, one.charge?.clone()))).collect()
}

/// The number of the newest payment.
#[must_use]
pub fn newest(booked: &[Booked]) -> Option<i64> {
    let payments = booked.iter().filter(|entry| entry.kind.is_payment());
    payments.max_by_key(|entry| (entry.at, entry.number)).map(|entry| entry.number)
}

impl Known<'_> {
    fn adjust(&self, refund_status: RefundStatus) -> Option<Adjustment> {
        // A charge without a rate says nothing in USD: what was known before stays.
        let charge = self.charge.and_then(|charge| charge.usd);
        let price = charge.or(self.earned).unwrap_or_default();
        let is_refunded = match refund_status {
            RefundStatus::Refunded(_) => true,
            RefundStatus::Valid => false,
            RefundStatus::Unknown => self.is_refunded,
        };
        let returned: Option<Decimal> = self
            .returns
            .iter()
            .map(|sale| sale.usd)
            .try_fold(Decimal::ZERO, |sum, usd| usd.map(|usd| sum.saturating_add(usd)));
        let returned = returned.filter(|_| !self.returns.is_empty());
        let back = returned.unwrap_or(if is_refunded { price } else { Decimal::ZERO });
        let usd = price.saturating_sub(back).saturating_sub(self.sum);
        if usd.is_zero() {
            return None;
        }
        let last_return = self.returns.last().filter(|_| returned.is_some());
        let (kind, at, source) = match (last_return, is_refunded) {
            (Some(sale), _) if usd.is_sign_negative() => (EntryKind::Refund, Some(sale.at), Some(*sale)),
            (None, true) if !self.is_refunded => (EntryKind::Refund, refund_status.at(), None),
            (None, false) if self.is_refunded => (EntryKind::Restored, None, None),
            _ => (EntryKind::Correction, Some(self.at), self.charge),
        };
        let transaction_id = source.map(|sale| sale.transaction_id.clone());
        Some(Adjustment { number: self.number, kind, at, usd, transaction_id })
    }
}

impl RefundStatus {
    const fn at(self) -> Option<Timestamp> {
        match self {
            Self::Refunded(at) => Some(at),
            Self::Valid | Self::Unknown => None,
        }
    }
}

fn known<'a>(booked: &[Booked], sales: &'a [Sale], reach_ms: i64) -> Vec<Known<'a>> {
    let mut known: BTreeMap<i64, Known<'a>> = BTreeMap::new();
    for entry in booked {
        let of_number = known.entry(entry.number).or_insert(Known {
            number: entry.number,
            at: entry.at,
            earned: None,
            sum: Decimal::ZERO,
            is_refunded: false,
            charge: None,
            returns: Vec::new(),
        });
        of_number.sum = of_number.sum.saturating_add(entry.usd.unwrap_or_default());
        match entry.kind {
            EntryKind::Refund => of_number.is_refunded = true,
            EntryKind::Restored => of_number.is_refunded = false,
            EntryKind::Correction => {}
            _ => {
                of_number.at = entry.at;
                of_number.earned = entry.usd;
            }
        }
    }
    let mut known: Vec<Known<'a>> = known.into_values().collect();
    assign_charges(&mut known, sales, reach_ms);
    assign_returns(&mut known, sales);
    known
}

/// Each payment has one charge: of all pairs within reach the nearest first.
fn assign_charges<'a>(known: &mut [Known<'a>], sales: &'a [Sale], reach_ms: i64) {
    let charges = || sales.iter().filter(|sale| sale.kind == SaleKind::Charge);
    let distance = |sale: &Sale, at: Timestamp| sale.at.millis_since(at).saturating_abs();
    let pair = |(place, one): (usize, &Known<'_>), sale: &'a Sale| (distance(sale, one.at), place, sale);
    let all = known.iter().enumerate().flat_map(|one| charges().map(move |sale| pair(one, sale)));
    let mut pairs: Vec<_> = all.filter(|(distance, ..)| *distance <= reach_ms).collect();
    pairs.sort_by(|a, b| (a.0, a.1, &a.2.transaction_id).cmp(&(b.0, b.1, &b.2.transaction_id)));
    let mut taken: Vec<&Sale> = Vec::new();
    for (_, place, sale) in pairs {
        let Some(one) = known.get_mut(place).filter(|one| one.charge.is_none()) else { continue };
        if !taken.iter().any(|other| std::ptr::eq(*other, sale)) {
            taken.push(sale);
            one.charge = Some(sale);
        }
    }
}

/// What was given back belongs to the payment of the same transaction, else to the last one before it.
fn assign_returns<'a>(known: &mut [Known<'a>], sales: &'a [Sale]) {
    const ECHO_MS: i64 = 86_400_000;
    let mut returns: Vec<&Sale> = sales.iter().filter(|sale| sale.kind != SaleKind::Charge).collect();
    returns.sort_by(|a, b| (a.at, &a.transaction_id).cmp(&(b.at, &b.transaction_id)));
    for sale in returns {
        let is_same = |one: &Known<'_>| one.charge.is_some_and(|charge| charge.transaction_id == sale.transaction_id);
        let place = known.iter().position(is_same).or_else(|| {
            let before = known.iter().enumerate().filter(|(_, one)| one.at <= sale.at.plus_millis(ECHO_MS));
            before.max_by_key(|(_, one)| one.at).map(|(place, _)| place)
        });
        if let Some(one) = place.and_then(|place| known.get_mut(place)) {
            one.returns.push(sale);
        }
    }
}
