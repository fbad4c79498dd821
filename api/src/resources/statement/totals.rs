//! Totals of a statement. Pure.

use super::{PaymentRow, UNCONFIRMED};
use crate::resources::refunds::estimate;
use domain::payment::{EntryKind, Total};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Total that a customer paid, in USD.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaidTotal {
    /// Total in a sentence.
    pub summary: String,
    /// Charged amount in USD, including refunded payments if all payments are counted (`is_whole`).
    pub charged_usd: String,
    /// Refunded amount in USD.
    pub refunded_usd: String,
    /// Whether part of the refunds is settle's estimate.
    pub is_refund_estimated: bool,
    /// Amount in USD that no sales report contains yet.
    pub unconfirmed_usd: String,
    /// Amount in USD that other customers paid before the purchases moved.
    pub paid_by_others_usd: String,
    /// Whether all payments are counted. If not, only the latest are, and each amount is a lower bound.
    pub is_whole: bool,
}

/// Sums over one environment's rows of real payments.
#[derive(Default)]
struct Sums {
    refunded: Decimal,
    /// Whether part of the refunds is an estimate.
    is_estimated: bool,
    /// Amount that no sales report contains yet.
    unconfirmed: Decimal,
    /// Whether the unconfirmed amount consists of list prices only.
    is_listed: bool,
    /// Amount that other customers paid before the purchases moved, including refunded payments; and their names.
    others: Decimal,
    logins: BTreeSet<String>,
}

impl Sums {
    fn of(rows: &[PaymentRow]) -> Self {
        let mut sums = Self {
            is_listed: true,
            ..Self::default()
        };
        for row in rows.iter().filter(|row| !row.is_test()) {
            let Some(usd) = row.usd() else { continue };
            if matches!(row.entry.kind, EntryKind::Refund | EntryKind::Restored) {
                sums.refunded = sums.refunded.saturating_sub(usd);
                sums.is_estimated |= estimate(&row.entry).is_some();
            }
            if row.is_payment() && row.transaction().is_none() {
                sums.unconfirmed = sums.unconfirmed.saturating_add(usd);
                sums.is_listed &= row.entry.source == "catalogue";
            }
            let moved = row.moved.as_ref().filter(|one| !one.is_away);
            if let Some(moved) = moved.filter(|_| row.is_payment()) {
                sums.others = sums.others.saturating_add(usd);
                sums.logins.insert(moved.login());
            }
        }
        sums
    }

    /// Returns the total, with this sentence.
    fn paid(&self, summary: String, paid: Decimal, is_whole: bool) -> PaidTotal {
        PaidTotal {
            summary,
            charged_usd: paid.to_string(),
            refunded_usd: self.refunded.to_string(),
            is_refund_estimated: self.is_estimated,
            unconfirmed_usd: self.unconfirmed.to_string(),
            paid_by_others_usd: self.others.to_string(),
            is_whole,
        }
    }

    /// Returns the verb for the refunded amount.
    const fn returned(&self) -> &'static str {
        if self.is_estimated {
            "refunded by settle's estimate"
        } else {
            "refunded"
        }
    }

    /// Returns a phrase about the part of the payments that no sales report contains; `None` if there is none.
    fn doubt(&self, paid: Decimal, is_whole: bool) -> Option<String> {
        let what = if self.is_listed {
            "list price"
        } else {
            "price in a list or on the device"
        };
        let part = match is_whole {
            true if self.unconfirmed == paid => String::new(),
            true => format!("{} USD of it ", self.unconfirmed),
            false => format!("at least {} USD of it ", self.unconfirmed),
        };
        (!self.unconfirmed.is_zero()).then(|| format!("{part}{what}, {UNCONFIRMED}"))
    }
}

/// Returns the total that a customer paid. `usd` is that total less refunds. Refunds are shown only if all payments
/// were read (`is_whole`).
pub fn total(usd: &str, rows: &[PaymentRow], is_whole: bool) -> PaidTotal {
    let sums = Sums::of(rows);
    let left: Decimal = usd.parse().unwrap_or_default();
    let is_refunded = is_whole && !sums.refunded.is_zero();
    let paid = if is_refunded {
        left.saturating_add(sums.refunded)
    } else {
        left
    };
    let doubt = sums.doubt(paid, is_whole);
    let logins: Vec<&str> = sums.logins.iter().map(String::as_str).collect();
    let (others, logins) = (sums.others, logins.join(" and "));
    let least = if is_whole { "" } else { "at least " };
    let others_note = (!others.is_zero()).then(|| {
        format!("{least}{others} USD of it paid before the purchases moved from {logins}")
    });
    let notes: Vec<String> = doubt.into_iter().chain(others_note).collect();
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join("; "))
    };
    let summary = match is_refunded {
        true => format!(
            "Paid {paid}, {} {}; {usd} USD remain{notes}",
            sums.returned(),
            sums.refunded
        ),
        false => format!("Paid in total: {usd} USD{notes}"),
    };
    sums.paid(summary, paid, is_whole)
}

/// Returns the total that a customer paid for purchases that moved away, and the refunded part of it. The amounts are
/// lower bounds unless all payments were read (`is_whole`). `None` if no amount is known.
pub fn total_before(rows: &[PaymentRow], is_whole: bool) -> Option<PaidTotal> {
    let mut total = Total::default();
    rows.iter()
        .filter(|row| !row.is_test())
        .for_each(|row| total.add(row.usd()));
    let (left, sums) = (total.usd()?, Sums::of(rows));
    let paid = left.saturating_add(sums.refunded);
    let least = if is_whole { "" } else { "at least " };
    let refunded = match (sums.refunded.is_zero(), is_whole) {
        (true, _) => String::new(),
        (false, true) => format!(", {} {}; {left} USD remain", sums.returned(), sums.refunded),
        (false, false) => format!(", {} at least {}", sums.returned(), sums.refunded),
    };
    let doubt = sums
        .doubt(paid, is_whole)
        .map_or_else(String::new, |doubt| format!(" ({doubt})"));
    let summary =
        format!("Paid before the purchases moved away: {least}{paid} USD{refunded}{doubt}");
    Some(sums.paid(summary, paid, is_whole))
}
