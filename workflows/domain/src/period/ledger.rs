//! The entries of a period that the ledger lacks, and the tax in them.

use super::{Period, RefundExtent};
use crate::payment::EntryKind;
use rust_decimal::Decimal;

/// An entry of one period, in its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodEntry {
    pub kind: EntryKind,
    /// The price of a payment, or the amount by which the sum of the entries changes, negative for a refund; `None` if
    /// it is not known.
    pub amount: Option<Decimal>,
}

impl PeriodEntry {
    const fn refund(amount: Option<Decimal>) -> Self {
        Self {
            kind: EntryKind::Refund,
            amount,
        }
    }
}

/// Returns the entries that the ledger lacks after those `recorded` for this period, in order. `payment` is the kind of
/// the period's payment. Once they are recorded, the same facts add no further entry, whatever reports them. An entry
/// without an amount is followed by one with the amount as soon as the price is known.
pub fn missing_entries(
    period: &Period,
    payment: EntryKind,
    recorded: &[PeriodEntry],
) -> Vec<PeriodEntry> {
    let mut missing = Vec::new();
    let is_price = |kind: EntryKind| kind.is_payment() || kind == EntryKind::Correction;
    if !recorded.iter().any(|entry| entry.kind.is_payment()) {
        missing.push(PeriodEntry {
            kind: payment,
            amount: period.price,
        });
    } else if let Some(price) = period.price {
        let difference = price.saturating_sub(sum(recorded, is_price));
        let is_unpriced = !recorded
            .iter()
            .any(|entry| is_price(entry.kind) && entry.amount.is_some());
        if !difference.is_zero() || is_unpriced {
            missing.push(PeriodEntry {
                kind: EntryKind::Correction,
                amount: Some(difference),
            });
        }
    }
    missing.extend(missing_refund(period, recorded));
    missing
}

/// Returns the missing refund or reversal, if any.
fn missing_refund(period: &Period, recorded: &[PeriodEntry]) -> Option<PeriodEntry> {
    let is_return = |kind: EntryKind| matches!(kind, EntryKind::Refund | EntryKind::Restored);
    let last = recorded.iter().rev().find(|entry| is_return(entry.kind));
    let is_refunded = last.is_some_and(|entry| entry.kind == EntryKind::Refund);
    let Some(refunded) = period.refunded() else {
        let is_reversed = period
            .refund
            .is_some_and(|refund| refund.extent == RefundExtent::Reversed);
        return (!is_refunded && !is_reversed).then_some(PeriodEntry::refund(None));
    };
    // The sum of the recorded entries is negative.
    let difference = refunded.saturating_add(sum(recorded, is_return));
    if difference > Decimal::ZERO {
        return Some(PeriodEntry::refund(Some(-difference)));
    }
    // The reversal of a refund of an unknown amount has no amount either.
    let is_unknown = is_refunded && last.is_some_and(|entry| entry.amount.is_none());
    let is_restored = difference < Decimal::ZERO || (is_unknown && refunded.is_zero());
    is_restored.then_some(PeriodEntry {
        kind: EntryKind::Restored,
        amount: (!difference.is_zero()).then_some(-difference),
    })
}

/// Returns the tax of the next refund or reversal of a period, negative for a refund; `None` if the store does not show
/// it. `recorded` is the sum of those that are recorded; `None` if no tax of them is known.
pub fn missing_tax(period: &Period, recorded: Option<Decimal>) -> Option<Decimal> {
    let is_reversed = period
        .refund
        .is_some_and(|refund| refund.extent == RefundExtent::Reversed);
    let returned = if is_reversed {
        recorded.map(|_| Decimal::ZERO)
    } else {
        period.refunded_tax
    };
    let recorded = recorded.unwrap_or_default();
    returned.map(|returned| Decimal::ZERO.saturating_sub(returned.saturating_add(recorded)))
}

/// Returns the sum of the known amounts of the entries of these kinds.
fn sum(recorded: &[PeriodEntry], counts: impl Fn(EntryKind) -> bool) -> Decimal {
    let counted = recorded.iter().filter(|entry| counts(entry.kind));
    counted
        .filter_map(|entry| entry.amount)
        .fold(Decimal::ZERO, Decimal::saturating_add)
}
