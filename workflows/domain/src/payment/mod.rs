//! Payments: which transitions are payments, and the later adjustments of a payment in the ledger.
//!
//! Each term of a purchase is paid once, even if several notifications report it. `event/price.rs` has the precedence
//! of prices; `Booking::of` in storage's `settling/payments` applies it. A report without an exchange rate prices only
//! the record, and not the ledger. A recorded price never changes: a refund, a corrected price or a restored payment is
//! a separate ledger entry. So the amounts sent to destinations always add up to the revenue.

mod adjust;
mod by_period;
mod rate;

#[cfg(test)]
mod tests;

pub use adjust::{
    Adjustment, ConvertedPrice, LedgerEntry, PriceReport, RefundStatus, Sale, SaleKind,
    adjustments, charges, confirmed, confirmed_refunds, matches, newest, reconverted, recorded_usd,
};
pub use by_period::{
    PeriodPayment, RecordedPayment, Standing, period_payments, refunded_payment,
    unrecorded_transactions,
};
pub use rate::{Conversion, DailyRate, Day, InvalidDay, changed_days, converted_days, days_of};

use crate::catalogue::PriceSource;
use crate::names::names;
use crate::purchase::{Purchase, State};
use crate::time::{DAY, Timestamp};
use crate::transition::{Transition, TransitionKind};
use crate::verification::Unit;
use crate::{NotificationKind, event};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Why the ledger of a purchase has an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The first payment of a purchase.
    Initial,
    Renewal,
    /// The first term after a trial.
    TrialConversion,
    /// A term whose payment had failed before.
    Recovery,
    /// The first term of a new plan: of a purchase that resulted from an immediate change of plan, or of a purchase
    /// beside another one with a shared entitlement.
    PlanChange,
    /// A payment was fully or partly refunded.
    Refund,
    /// A refunded payment is valid again.
    Restored,
    /// The price of a payment is corrected.
    Correction,
}

impl EntryKind {
    /// Whether the entry is a payment, as opposed to a change of one.
    pub const fn is_payment(self) -> bool {
        !matches!(self, Self::Refund | Self::Restored | Self::Correction)
    }
}

names!(EntryKind, "a kind of ledger entry" {
    Initial = "initial",
    Renewal = "renewal",
    TrialConversion = "trial_conversion",
    Recovery = "recovery",
    PlanChange = "plan_change",
    Refund = "refund",
    Restored = "restored",
    Correction = "correction",
});

/// A payment that the ledger does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    pub kind: EntryKind,
    /// The number of the paid term, from 1; a negative number, unique in the purchase, if terms cannot be counted.
    pub number: i64,
    /// The index of the transition that announces the payment.
    pub index: usize,
    /// The index of another transition that announces the same payment: a conversion is announced as a renewal too.
    pub other_index: Option<usize>,
    /// When it was paid, according to the store.
    pub at: Option<Timestamp>,
    /// Whether the price in the record is the payment's price; false if the plan changed afterwards.
    pub is_priced: bool,
}

/// The sum of the known amounts of a purchase's entries, in USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total(Option<rust_decimal::Decimal>);

impl Total {
    /// Adds an entry; `None` if its amount is not known.
    pub fn add(&mut self, usd: Option<rust_decimal::Decimal>) {
        self.0 = match (self.0, usd) {
            (Some(sum), Some(usd)) => Some(sum.saturating_add(usd)),
            (known, other) => known.or(other),
        };
    }

    /// Returns the sum; `None` if no amount is known.
    pub const fn usd(self) -> Option<rust_decimal::Decimal> {
        self.0
    }
}

/// Why the revenue of a payment is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPrice {
    /// The store never showed the product.
    ProductUnknown,
    /// The price of a trial or a promotion applied.
    Promotion,
    /// The catalogue has no price for the product in that country.
    NotListed,
    /// There is no exchange rate for that day.
    NoRate,
    /// The plan changed later in the same settling, and the record has the new plan's price.
    PlanChanged,
    /// The store may not show the payment's promotion yet; when it does, a correction sets the price. Or the purchase
    /// ended before any answer showed it running, so it may have been a trial; then only a sales report can price it.
    Unconfirmed,
    /// The device reported a price far outside the catalogue's prices.
    Implausible,
}

names!(UnknownPrice {
    ProductUnknown = "product_unknown",
    Promotion = "promotion",
    NotListed = "not_listed",
    NoRate = "no_rate",
    PlanChanged = "plan_changed",
    Unconfirmed = "unconfirmed",
    Implausible = "implausible",
});

impl UnknownPrice {
    /// Returns why the record of a purchase has no price in USD; `None` if it has one.
    pub fn of(data: &Value) -> Option<Self> {
        let is_null = |field: &str| data.get(field).is_none_or(Value::is_null);
        let is_on = |field: &str| data.get(field).and_then(Value::as_bool) == Some(true);
        match () {
            () if !is_null("price_in_usd") => None,
            () if !is_null("purchase_price") => Some(Self::NoRate),
            () if is_null("product_ref_id") => Some(Self::ProductUnknown),
            () if !is_null("offer_type")
                || is_on("is_in_intro_offer_period")
                || is_on("is_in_trial_period") =>
            {
                Some(Self::Promotion)
            }
            () => Some(Self::NotListed),
        }
    }
}

/// Returns the payments among the transitions of one settling, in order, except for terms that are already paid.
/// `purchase` is the purchase after the settling; `paid` contains the numbers of the payments in the ledger.
pub fn payments(
    transitions: &[Transition],
    purchase: &Purchase,
    paid: &BTreeSet<i64>,
) -> Vec<Payment> {
    let mut found = candidates(transitions, purchase);
    // The record has the price of the plan after the last change; earlier payments had another price.
    let change = transitions
        .iter()
        .rposition(|one| one.kind == TransitionKind::PlanChanged);
    let of_change = found
        .iter()
        .rposition(|payment| change.is_some_and(|change| payment.index <= change));
    found
        .iter_mut()
        .take(of_change.unwrap_or(0))
        .for_each(|payment| payment.is_priced = false);
    let mut taken = paid.clone();
    found.retain_mut(|payment| {
        if payment.number == 0 {
            payment.number = taken
                .first()
                .map_or(-1, |least| least.saturating_sub(1).min(-1));
        }
        taken.insert(payment.number)
    });
    found
}

/// Returns the transitions that may be payments; those that cannot be counted have the number 0.
fn candidates(transitions: &[Transition], purchase: &Purchase) -> Vec<Payment> {
    let happened = |what: TransitionKind| transitions.iter().any(|one| one.kind == what);
    let starts_trial = happened(TransitionKind::TrialStarted);
    let number = |one: &Transition| {
        let counted = one.cycle.and_then(|cycle| i64::try_from(cycle).ok());
        counted.unwrap_or_else(|| i64::from(purchase.is_one_time_purchase()))
    };
    let payment = |kind, index, one: &Transition| Payment {
        kind,
        number: number(one),
        index,
        other_index: None,
        at: one.at,
        is_priced: true,
    };
    let mut found: Vec<Payment> = Vec::new();
    let mut conversion: Option<usize> = None;
    for (index, one) in transitions.iter().enumerate() {
        let kind = match one.kind {
            TransitionKind::TrialConverted => {
                conversion = Some(found.len());
                EntryKind::TrialConversion
            }
            TransitionKind::Renewed | TransitionKind::Recovered => {
                let converted = conversion.take().and_then(|at| found.get_mut(at));
                if let Some(converted) = converted {
                    converted.other_index = Some(index);
                    continue;
                }
                if one.kind == TransitionKind::Renewed {
                    EntryKind::Renewal
                } else {
                    EntryKind::Recovery
                }
            }
            TransitionKind::Purchased if !starts_trial => EntryKind::Initial,
            TransitionKind::PlanChanged
                if !starts_trial && is_first_of_new_plan(one, transitions, purchase) =>
            {
                EntryKind::PlanChange
            }
            _ => continue,
        };
        found.push(payment(kind, index, one));
    }
    found
}

/// Whether a change of plan is the first payment of a new purchase. An immediate change begins a new purchase, whose
/// first term is paid at once unless it is a trial. A scheduled change takes effect with a renewal, which is the
/// payment.
fn is_first_of_new_plan(
    change: &Transition,
    transitions: &[Transition],
    purchase: &Purchase,
) -> bool {
    let is_of_new_purchase = purchase.was_reported(NotificationKind::PlanChanged)
        || purchase.original_receipt_id().is_some();
    // A purchase beside another one with a shared entitlement is announced as a change of plan although no notification
    // names one.
    let is_paid = |one: &Transition| PAYING.contains(&one.kind) && one.cycle == change.cycle;
    let takes_up = || change.cycle == Some(1) && !transitions.iter().any(is_paid);
    let is_first = change.cycle.is_none_or(|cycle| cycle <= 1);
    let in_trial = purchase.stage.in_trial && purchase.stage.runs();
    is_first && (is_of_new_purchase || takes_up()) && !in_trial
}

/// The transitions that announce the payment of a term whether or not the plan changes.
const PAYING: [TransitionKind; 4] = [
    TransitionKind::Purchased,
    TransitionKind::Renewed,
    TransitionKind::Recovered,
    TransitionKind::TrialConverted,
];

/// Returns the types of the events that announce payments.
pub fn event_types() -> Vec<&'static str> {
    PAYING
        .iter()
        .chain(&[TransitionKind::PlanChanged])
        .map(|kind| kind.event_type())
        .collect()
}

/// Returns the refund status of a purchase's latest payment, as the store shows it.
pub fn refund_status(purchase: &Purchase) -> RefundStatus {
    let state = purchase.state();
    // A change of plan refunds part of the payment, and only the sales report shows how much. An unpaid term cannot be
    // refunded.
    if state == State::Replaced || purchase.payment_issues_began_at().is_some() {
        return RefundStatus::Unknown;
    }
    match (purchase.revoked_at(), state.is_active()) {
        (Some(at), _) => RefundStatus::Refunded(at),
        (None, Some(true)) => RefundStatus::Valid,
        (None, _) => RefundStatus::Unknown,
    }
}

/// Returns the maximum time between a charge in a sales report and its payment: half a term, at least one day and at
/// most 15 days. No limit for a one-time purchase, which has only one payment.
pub fn reach(purchase: &Purchase) -> Duration {
    if purchase.is_one_time_purchase() {
        return Duration::MAX;
    }
    let term = purchase
        .snapshot
        .as_ref()
        .and_then(|snapshot| snapshot.term);
    let days = term.map_or(30, |term| {
        let unit = match term.unit {
            Unit::Day => 1,
            Unit::Week => 7,
            Unit::Month => 30,
            Unit::Year => 365,
        };
        u32::from(term.count).saturating_mul(unit)
    });
    (DAY.saturating_mul(days) / 2).clamp(DAY, DAY.saturating_mul(15))
}

/// Replaces the price and transaction id of the record by those in the store's sales report for the latest payment.
pub fn report_price(data: &mut Value, sale: &Sale) {
    let Some(fields) = data.as_object_mut() else {
        return;
    };
    let decimal = |value: rust_decimal::Decimal| serde_json::to_value(value).unwrap_or_default();
    fields.insert("purchase_price".to_owned(), decimal(sale.price));
    fields.insert(
        "purchase_currency".to_owned(),
        Value::from(sale.currency.as_str()),
    );
    fields.insert(
        "price_in_usd".to_owned(),
        sale.usd.map_or(Value::Null, decimal),
    );
    fields.insert(
        "transaction_id".to_owned(),
        Value::from(sale.transaction_id.as_str()),
    );
    fields.insert(
        "price_source".to_owned(),
        serde_json::to_value(PriceSource::Report).unwrap_or_default(),
    );
}

/// The refund of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refunded {
    pub usd: rust_decimal::Decimal,
    /// When the payment was last refunded.
    pub at: Timestamp,
}

/// Returns the refund of the payment with this number; `None` if it has none or was restored.
pub fn refunded(booked: &[LedgerEntry], number: i64) -> Option<Refunded> {
    let of_payment = booked.iter().filter(|entry| entry.number == number);
    let changes =
        of_payment.filter(|entry| matches!(entry.kind, EntryKind::Refund | EntryKind::Restored));
    let usd = -changes
        .clone()
        .filter_map(|entry| entry.usd)
        .sum::<rust_decimal::Decimal>();
    let at = changes
        .filter(|entry| entry.kind == EntryKind::Refund)
        .map(|entry| entry.at)
        .max()?;
    (usd > rust_decimal::Decimal::ZERO).then_some(Refunded { usd, at })
}

/// Adds the refund of the latest payment to the record.
pub fn report_refund(data: &mut Value, refunded: Refunded) {
    let Some(fields) = data.as_object_mut() else {
        return;
    };
    fields.insert(
        "refunded_amount".to_owned(),
        serde_json::to_value(refunded.usd).unwrap_or_default(),
    );
    fields.insert(
        "refunded_at".to_owned(),
        serde_json::to_value(refunded.at).unwrap_or_default(),
    );
}

/// The price that was recorded with a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedPrice {
    /// The SKU in the record at that time.
    pub sku: Option<String>,
    pub price: rust_decimal::Decimal,
    pub currency: String,
    /// Amount in USD; `None` while there is no exchange rate.
    pub usd: Option<rust_decimal::Decimal>,
    pub source: PriceSource,
}

impl RecordedPrice {
    /// Whether the record still has the SKU that was paid for.
    pub fn is_of(&self, data: &Value) -> bool {
        data.get("product_ref_id").and_then(Value::as_str) == self.sku.as_deref()
    }
}

/// Sets the record's price to the one recorded with the latest payment: neither a new country of the customer nor a new
/// price list changes what was paid.
pub fn keep_price(data: &mut Value, paid: &RecordedPrice) {
    let Some(fields) = data.as_object_mut() else {
        return;
    };
    let decimal = |value: rust_decimal::Decimal| serde_json::to_value(value).unwrap_or_default();
    let same = [
        ("purchase_price", decimal(paid.price)),
        ("purchase_currency", Value::from(paid.currency.as_str())),
    ];
    let is_same = same
        .iter()
        .all(|(field, value)| fields.get(*field) == Some(value));
    // A rate that becomes known later converts the recorded price, but no other one.
    let converted = fields
        .get("price_in_usd")
        .filter(|_| is_same)
        .cloned()
        .unwrap_or_default();
    fields.insert(
        "price_in_usd".to_owned(),
        paid.usd.map_or(converted, decimal),
    );
    fields.extend(same.map(|(field, value)| (field.to_owned(), value)));
    fields.insert(
        "price_source".to_owned(),
        serde_json::to_value(paid.source).unwrap_or_default(),
    );
}

/// Returns an amount in USD, rounded to cents and converted at `rate` if necessary. `None` if the rate is missing.
pub fn usd(
    amount: rust_decimal::Decimal,
    currency: &str,
    rate: Option<rust_decimal::Decimal>,
) -> Option<rust_decimal::Decimal> {
    event::usd_of(amount, currency, rate)
}
