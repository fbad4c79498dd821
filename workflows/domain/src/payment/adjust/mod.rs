//! The adjustments of payments: the entries that the ledger lacks.
//!
//! The expected sum of a payment is its price (that of the sales report, else the recorded one) minus refunds. An
//! adjustment is the difference between the expected and the booked sum, so processing the same facts again adjusts
//! nothing. `matching` finds the payment of each line of a sales report.

mod matching;

#[cfg(test)]
mod tests;

use super::{Conversion, EntryKind};
use crate::names::names;
use crate::time::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An entry in the ledger. The entries of each payment are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    pub number: i64,
    pub kind: EntryKind,
    pub at: Timestamp,
    /// Revenue in USD; negative for refunds, `None` if not known.
    pub usd: Option<Decimal>,
    /// The transaction in the sales report that caused the entry.
    pub transaction_id: Option<String>,
    /// Whether the entry is a correction because a newer exchange rate than the recorded one applies.
    pub is_by_rate: bool,
}

/// The price of a payment, converted by the exchange rate that applies now. No sales report contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvertedPrice {
    pub number: i64,
    pub usd: Decimal,
    pub conversion: Conversion,
}

/// Kind of a sales report line.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SaleKind {
    /// A payment by the customer.
    Charge,
    /// A refund by the store.
    Refund,
    /// A chargeback by the customer's bank.
    Chargeback,
}

names!(SaleKind { Charge = "charge", Refund = "refund", Chargeback = "chargeback", });

impl std::str::FromStr for SaleKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text));
        found
            .copied()
            .ok_or_else(|| "`charge`, `refund` or `chargeback`".to_owned())
    }
}

/// A line of a sales report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// The store's id of the transaction.
    pub transaction_id: String,
    pub kind: SaleKind,
    pub at: Timestamp,
    pub price: Decimal,
    pub currency: String,
    /// The amount in USD; `None` if no rate applies on that day.
    pub usd: Option<Decimal>,
    /// Exchange rate that converted the amount; `None` if it needed none.
    pub conversion: Option<Conversion>,
}

/// The refund status of a purchase's latest payment, as the store shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundStatus {
    /// Refunded, at this time.
    Refunded(Timestamp),
    Valid,
    /// It is not known whether or how much was refunded.
    Unknown,
}

/// An entry that the ledger lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The number of the payment to adjust.
    pub number: i64,
    pub kind: EntryKind,
    /// When the change occurred; `None` for the time at which it is recorded.
    pub at: Option<Timestamp>,
    pub usd: Decimal,
    /// The transaction in the sales report that caused the adjustment.
    pub transaction_id: Option<String>,
    /// Exchange rate that converted the corrected price; `None` if it needed none.
    pub conversion: Option<Conversion>,
}

/// The line of a sales report that confirms the price of a payment or its refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceReport {
    /// Id of the line's transaction.
    pub transaction_id: String,
    /// Whether the line's price differs from the one recorded at first, so that a correction in the ledger adds the
    /// difference.
    pub is_correction: bool,
}

/// One payment, with its ledger entries and its lines of the report.
struct KnownPayment<'a> {
    number: i64,
    at: Timestamp,
    earned: Option<Decimal>,
    sum: Decimal,
    is_refunded: bool,
    /// When the store showed the payment's refund.
    store_refund: Option<Timestamp>,
    /// The transactions of the payment's booked refunds.
    refund_ids: BTreeSet<&'a str>,
    /// The transactions of the payment's booked prices.
    charge_ids: BTreeSet<&'a str>,
    charge: Option<&'a Sale>,
    returns: Vec<&'a Sale>,
}

/// Returns the entries that the ledger lacks. If a report both corrects a price and refunds it, each is a separate
/// entry with the reported amount.
pub fn adjustments(
    booked: &[LedgerEntry],
    sales: &[Sale],
    refund_status: RefundStatus,
    reach: Duration,
) -> Vec<Adjustment> {
    let known = known(booked, sales, reach);
    let present = newest(booked);
    let adjust = |one: &KnownPayment<'_>| {
        one.adjust(if present == Some(one.number) {
            refund_status
        } else {
            RefundStatus::Unknown
        })
    };
    known.iter().flat_map(adjust).collect()
}

/// Returns the corrections of payments whose price a newer exchange rate converts than when it was recorded. A payment
/// that a sales report prices, or that was fully refunded, needs none.
pub fn reconverted(
    booked: &[LedgerEntry],
    sales: &[Sale],
    prices: &[ConvertedPrice],
    reach: Duration,
) -> Vec<Adjustment> {
    let known = known(booked, sales, reach);
    let correct = |price: &ConvertedPrice| {
        known
            .iter()
            .find(|one| one.number == price.number)?
            .reconverted(price)
    };
    prices.iter().filter_map(correct).collect()
}

/// Returns the payment's number for each line of a report; `None` if no payment in the ledger matches.
pub fn matches(booked: &[LedgerEntry], sales: &[Sale], reach: Duration) -> Vec<Option<i64>> {
    let known = known(booked, sales, reach);
    let of = |sale: &Sale| {
        let same = |other: &Sale| std::ptr::eq(other, sale);
        let payment = known.iter().find(|one| {
            one.charge.is_some_and(same) || one.returns.iter().any(|other| same(other))
        });
        payment.map(|payment| payment.number)
    };
    sales.iter().map(of).collect()
}

/// Returns the charges of a sales report by the number of their payment.
pub fn charges(booked: &[LedgerEntry], sales: &[Sale], reach: Duration) -> BTreeMap<i64, Sale> {
    let known = known(booked, sales, reach);
    known
        .iter()
        .filter_map(|one| Some((one.number, one.charge?.clone())))
        .collect()
}

/// Returns the lines of a sales report whose price is that of a payment in the ledger, including corrections, by the
/// number of the payment. A charge without an exchange rate confirms no price.
pub fn confirmed(
    booked: &[LedgerEntry],
    sales: &[Sale],
    reach: Duration,
) -> BTreeMap<i64, PriceReport> {
    let known = known(booked, sales, reach);
    known
        .iter()
        .filter_map(|one| Some((one.number, one.price_report()?)))
        .collect()
}

/// Returns the lines of a sales report that confirm a refund which the ledger has only because the purchase ended
/// early, by the number of the payment. An amount other than the whole price is a correction.
pub fn confirmed_refunds(
    booked: &[LedgerEntry],
    sales: &[Sale],
    reach: Duration,
) -> BTreeMap<i64, PriceReport> {
    let known = known(booked, sales, reach);
    known
        .iter()
        .filter_map(|one| Some((one.number, one.refund_report()?)))
        .collect()
}

/// Returns the price in USD of the payment with this number, ignoring sales reports: the recorded price, or the one
/// added later, by the exchange rate that converted it last.
pub fn recorded_usd(booked: &[LedgerEntry], number: i64) -> Option<Decimal> {
    known(booked, &[], Duration::ZERO)
        .into_iter()
        .find(|one| one.number == number)?
        .earned
}

/// Returns the number of the latest payment.
pub fn newest(booked: &[LedgerEntry]) -> Option<i64> {
    let payments = booked.iter().filter(|entry| entry.kind.is_payment());
    payments
        .max_by_key(|entry| (entry.at, entry.number))
        .map(|entry| entry.number)
}

impl Sale {
    /// Whether the line is the beginning of a trial: a charge of zero is not a payment.
    pub fn is_of_trial(&self) -> bool {
        self.kind == SaleKind::Charge && self.price.is_zero()
    }
}

impl<'a> KnownPayment<'a> {
    fn of(first: &LedgerEntry) -> Self {
        Self {
            number: first.number,
            at: first.at,
            earned: None,
            sum: Decimal::ZERO,
            is_refunded: false,
            store_refund: None,
            refund_ids: BTreeSet::new(),
            charge_ids: BTreeSet::new(),
            charge: None,
            returns: Vec::new(),
        }
    }

    fn add(&mut self, entry: &'a LedgerEntry) {
        self.sum = self.sum.saturating_add(entry.usd.unwrap_or_default());
        if entry.kind != EntryKind::Refund {
            self.charge_ids.extend(entry.transaction_id.as_deref());
        }
        match entry.kind {
            EntryKind::Refund => {
                self.is_refunded = true;
                if entry.transaction_id.is_none() {
                    self.store_refund = Some(entry.at);
                }
                self.refund_ids.extend(entry.transaction_id.as_deref());
            }
            EntryKind::Restored => (self.is_refunded, self.store_refund) = (false, None),
            // A newer exchange rate applies: the difference is added.
            EntryKind::Correction if entry.is_by_rate => {
                self.earned = Some(
                    self.earned
                        .unwrap_or_default()
                        .saturating_add(entry.usd.unwrap_or_default()),
                );
            }
            // The payment was recorded without a price, which this entry added later.
            EntryKind::Correction if entry.transaction_id.is_none() => {
                self.earned = self.earned.or(entry.usd)
            }
            EntryKind::Correction => {}
            _ => (self.at, self.earned) = (entry.at, entry.usd),
        }
    }

    /// Returns the price in USD. A charge without a rate has no price in USD, so the earlier price remains.
    fn price(&self) -> Option<Decimal> {
        self.charge.and_then(|charge| charge.usd).or(self.earned)
    }

    /// Returns the correction of a price that is converted by a newer rate.
    fn reconverted(&self, price: &ConvertedPrice) -> Option<Adjustment> {
        if self.charge.is_some_and(|charge| charge.usd.is_some()) || self.store_refund.is_some() {
            return None;
        }
        // If the payment was fully refunded, by either rate, there is nothing left to correct.
        if self.earned.is_some_and(|earned| self.is_returned(earned)) && self.is_returned(price.usd)
        {
            return None;
        }
        let usd = price.usd.saturating_sub(self.earned.unwrap_or_default());
        let (kind, conversion) = (EntryKind::Correction, Some(price.conversion));
        let (number, at, transaction_id) = (self.number, Some(self.at), None);
        (!usd.is_zero()).then_some(Adjustment {
            number,
            kind,
            at,
            usd,
            transaction_id,
            conversion,
        })
    }

    /// Returns the charge whose price is booked, by the payment itself or by a correction for the same transaction.
    fn price_report(&self) -> Option<PriceReport> {
        let charge = self.charge?;
        let is_same = charge.usd.is_some() && charge.usd == self.earned;
        let is_booked = is_same || self.charge_ids.contains(charge.transaction_id.as_str());
        is_booked.then(|| PriceReport {
            transaction_id: charge.transaction_id.clone(),
            is_correction: !is_same,
        })
    }

    /// Returns the reported refund that confirms one inferred from an early end.
    fn refund_report(&self) -> Option<PriceReport> {
        self.store_refund?;
        let price = self.price()?;
        let returned = self.returned(price)?;
        let transaction_id = self.returns.last()?.transaction_id.clone();
        Some(PriceReport {
            transaction_id,
            is_correction: returned != price,
        })
    }

    /// Whether the report's refunds amount to the whole of this price.
    fn is_returned(&self, price: Decimal) -> bool {
        self.returned(price) == Some(price)
    }

    /// Returns the sum of the report's refunds in USD, never more than the price; `None` if the report contains none in
    /// USD.
    fn returned(&self, price: Decimal) -> Option<Decimal> {
        let is_same = |sale: &Sale| {
            self.charge
                .is_some_and(|charge| charge.currency == sale.currency)
        };
        let mut values: Vec<Decimal> = self
            .returns
            .iter()
            .filter(|sale| !is_same(sale))
            .filter_map(|sale| sale.usd)
            .collect();
        // A refund in the currency of the charge is a part of the charge, regardless of the rate on the day of the
        // refund.
        if let Some(charge) = self
            .charge
            .filter(|_| self.returns.iter().any(|sale| is_same(sale)))
        {
            let same = self
                .returns
                .iter()
                .filter(|sale| is_same(sale))
                .map(|sale| sale.price);
            values.push(part(
                price,
                same.fold(Decimal::ZERO, Decimal::saturating_add),
                charge.price,
            ));
        }
        if values.is_empty() {
            return None;
        }
        Some(
            values
                .into_iter()
                .fold(Decimal::ZERO, Decimal::saturating_add)
                .min(price),
        )
    }

    fn adjust(&self, refund_status: RefundStatus) -> Vec<Adjustment> {
        let Some(adjustment) = self.adjustment(refund_status) else {
            return Vec::new();
        };
        let correction = self
            .price_correction()
            .filter(|_| adjustment.kind == EntryKind::Refund);
        let refund = correction.map(|correction| adjustment.usd.saturating_sub(correction));
        match correction.zip(refund.filter(|usd| usd.is_sign_negative() && !usd.is_zero())) {
            Some((correction, refund)) => {
                let correction = self.entry(EntryKind::Correction, correction);
                vec![
                    correction,
                    Adjustment {
                        usd: refund,
                        ..adjustment
                    },
                ]
            }
            None => vec![adjustment],
        }
    }

    /// Returns everything that the ledger lacks about the payment, as one entry.
    fn adjustment(&self, refund_status: RefundStatus) -> Option<Adjustment> {
        // A payment without a price is not refunded.
        let price = self.price()?;
        let is_refunded = match refund_status {
            RefundStatus::Refunded(_) => true,
            RefundStatus::Valid => false,
            RefundStatus::Unknown => self.store_refund.is_some(),
        };
        let returned = self.returned(price);
        let back = returned.unwrap_or(if is_refunded { price } else { Decimal::ZERO });
        let usd = price.saturating_sub(back).saturating_sub(self.sum);
        if usd.is_zero() {
            return None;
        }
        let new_return = self.new_return().filter(|_| returned.is_some());
        let entry = self.entry(EntryKind::Correction, usd);
        Some(match (new_return, is_refunded) {
            (Some(sale), _) if usd.is_sign_negative() => Adjustment {
                kind: EntryKind::Refund,
                at: Some(sale.at),
                transaction_id: Some(sale.transaction_id.clone()),
                conversion: sale.conversion,
                ..entry
            },
            (None, true) if !self.is_refunded => Adjustment {
                kind: EntryKind::Refund,
                at: refund_status.at(),
                transaction_id: None,
                ..entry
            },
            (None, false) if self.is_refunded => Adjustment {
                kind: EntryKind::Restored,
                at: None,
                transaction_id: None,
                ..entry
            },
            _ => entry,
        })
    }

    /// Returns the difference between the reported and the booked price, unless it is booked already.
    fn price_correction(&self) -> Option<Decimal> {
        let charge = self
            .charge
            .filter(|charge| !self.charge_ids.contains(charge.transaction_id.as_str()))?;
        let difference = charge.usd?.saturating_sub(self.earned?);
        (!difference.is_zero()).then_some(difference)
    }

    /// Creates an entry at the time of the payment, with the transaction of the reported charge.
    fn entry(&self, kind: EntryKind, usd: Decimal) -> Adjustment {
        let transaction_id = self.charge.map(|charge| charge.transaction_id.clone());
        let conversion = self.charge.and_then(|charge| charge.conversion);
        Adjustment {
            number: self.number,
            kind,
            at: Some(self.at),
            usd,
            transaction_id,
            conversion,
        }
    }

    /// Returns the last refund that is not booked, else the last one.
    fn new_return(&self) -> Option<&'a Sale> {
        let is_new = |sale: &&&Sale| !self.refund_ids.contains(sale.transaction_id.as_str());
        self.returns
            .iter()
            .rev()
            .find(is_new)
            .or_else(|| self.returns.last())
            .copied()
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

/// Returns the part of the price in USD, in cents, that corresponds to `part` of the charge; the whole price if nothing
/// of the charge is left.
fn part(price: Decimal, part: Decimal, charge: Decimal) -> Decimal {
    if part >= charge || charge.is_zero() {
        return price;
    }
    if price == charge {
        return part;
    }
    let exact = price
        .checked_mul(part)
        .and_then(|product| product.checked_div(charge))
        .unwrap_or(price);
    let mut cents = exact.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    cents.rescale(2);
    cents
}

fn known<'a>(
    booked: &'a [LedgerEntry],
    sales: &'a [Sale],
    reach: Duration,
) -> Vec<KnownPayment<'a>> {
    let mut known: BTreeMap<i64, KnownPayment<'a>> = BTreeMap::new();
    for entry in booked {
        known
            .entry(entry.number)
            .or_insert_with(|| KnownPayment::of(entry))
            .add(entry);
    }
    let mut known: Vec<KnownPayment<'a>> = known.into_values().collect();
    matching::assign_charges(&mut known, sales, reach);
    matching::assign_returns(&mut known, sales, reach);
    known
}
