//! The revenue of an event in Amplitude's form. The ledger decides which event carries which amount: the price of each
//! payment is sent to Amplitude with exactly one event.

use domain::payment::EntryKind;
use storage::{Earned, Unsent};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Revenue {
    /// Amount in USD; negative for a refund.
    pub amount: f64,
    /// Amplitude's `revenueType`.
    pub kind: &'static str,
}

/// Returns the revenue of an event that carries a payment with a known price, or an adjustment; `None` otherwise.
pub fn of(unsent: &Unsent) -> Option<Revenue> {
    let earned = unsent.earned.as_ref()?;
    let amount: f64 = earned.revenue()?.parse().ok()?;
    amount.is_finite().then_some(Revenue {
        amount,
        kind: kind(earned.kind),
    })
}

/// Returns why the price of the payment that this event carries is unknown; `None` if it is known, or the event carries
/// no payment.
pub fn unknown_because(unsent: &Unsent) -> Option<&str> {
    let earned = unsent
        .earned
        .as_ref()
        .filter(|earned| !earned.is_elsewhere && earned.usd.is_none());
    earned.and_then(|earned| earned.unknown_because.as_deref())
}

/// Returns why an adjustment of a payment is not sent; `None` if it is sent.
pub fn not_counted_because(unsent: &Unsent) -> Option<&'static str> {
    unsent.earned.as_ref()?.not_counted_because
}

/// Returns the SKU of the payment: the ledger's if it has one, else the purchase's.
pub fn sku(unsent: &Unsent) -> Option<&str> {
    let of_purchase = || {
        unsent
            .data
            .get("product_ref_id")
            .and_then(serde_json::Value::as_str)
    };
    unsent
        .earned
        .as_ref()
        .and_then(|Earned { sku, .. }| sku.as_deref())
        .or_else(of_purchase)
}

/// Parses an amount of money from a text, as in `data`, or from a number.
pub fn money(value: &serde_json::Value) -> Option<f64> {
    let amount = value
        .as_str()
        .and_then(|text| text.parse().ok())
        .or_else(|| value.as_f64());
    amount.filter(|amount: &f64| amount.is_finite())
}

const fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Initial => "initial",
        EntryKind::Renewal | EntryKind::Recovery => "renewal",
        EntryKind::TrialConversion => "trial_conversion",
        EntryKind::PlanChange => "plan_change",
        EntryKind::Refund => "refund",
        EntryKind::Restored | EntryKind::Correction => "correction",
    }
}
