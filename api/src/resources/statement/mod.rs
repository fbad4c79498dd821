//! A customer's payments as statement lines: one for each payment, with the price as corrected by a sales report, and
//! one for each refund; and their totals. Pure.

#[cfg(test)]
mod tests;
mod totals;

pub use totals::{PaidTotal, total, total_before};

use crate::resources::payments::{kind, not_known, rate_of, unknown};
use crate::resources::refunds::estimate;
use crate::resources::transfers::{Transfer, TransferSide, moves};
use domain::payment::{EntryKind, Total};
use domain::{AppId, CollapseKey, Environment, Timestamp, UserId};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use storage::PaymentView;

/// Label of a test purchase's amount.
pub const NO_MONEY: &str = "test purchase, no money";
/// Label of an amount that the store shows.
const SHOWN: &str = "the store";
/// Label of an amount that no sales report contains yet.
const UNCONFIRMED: &str = "not confirmed by a sales report yet";

/// A payment or refund of a customer, in words.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatementLine {
    /// Key of the purchase.
    pub collapse_key: CollapseKey,
    /// When the payment or refund occurred, by the store's clock where the store reports it.
    pub occurred_at: Timestamp,
    /// Name of the kind of line.
    pub title: &'static str,
    /// SKU that was paid for.
    pub sku: Option<String>,
    /// Whether the payment was real or in the store's test environment.
    pub environment: Environment,
    /// Charged or refunded amount, or why it is not known; null if not even that is known.
    pub amount: Option<String>,
    /// Amount in USD of a payment in another currency, or why it is not known; null for others.
    pub amount_in_usd: Option<String>,
    /// Source of the amount; null if the amount is not known.
    pub source: Option<String>,
    /// The store's id of the sales report's transaction that contains the amount; null if there is none.
    pub transaction_id: Option<String>,
    /// Exchange rate that converts the amount; null if none does.
    pub rate: Option<String>,
    /// Move of the purchase after the payment, from or to another customer; null if there was none.
    pub moved: Option<PaymentMove>,
}

/// The move of a purchase from or to another customer, after a payment for it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PaymentMove {
    /// Id of the app.
    pub app_id: AppId,
    /// Whether the other customer owns the purchase now; if false, they owned it before.
    pub is_away: bool,
    /// The other customer of the move.
    pub other: TransferSide,
}

impl PaymentMove {
    /// Returns the external id of the other customer, or their user id.
    pub fn login(&self) -> String {
        moves::login(&self.other)
    }
}

/// A payment with the corrections of its price, a refund, or a reversed refund.
pub struct PaymentRow {
    pub entry: PaymentView,
    corrections: Vec<PaymentView>,
    /// When the payment was made; for a refund, when the refunded payment was made.
    pub paid_at: Timestamp,
    moved: Option<PaymentMove>,
}

/// Returns the statement lines of rows, newest first.
pub fn lines(rows: &[PaymentRow]) -> Vec<StatementLine> {
    let mut lines: Vec<StatementLine> = rows.iter().map(StatementLine::from).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.occurred_at));
    lines
}

impl From<&PaymentRow> for StatementLine {
    fn from(row: &PaymentRow) -> Self {
        let transaction = row.transaction().filter(|_| !row.is_test());
        Self {
            collapse_key: row.entry.collapse_key,
            occurred_at: row.entry.occurred_at,
            title: kind(row.entry.kind),
            sku: row.entry.sku.clone(),
            environment: row.entry.environment,
            amount: row.amount().or_else(|| row.unknown()),
            amount_in_usd: row.in_usd(),
            source: Some(row.source()).filter(|source| !source.is_empty()),
            transaction_id: transaction.map(str::to_owned),
            rate: row.rate(),
            moved: row.moved.clone(),
        }
    }
}

/// Returns the payments for the purchases that a customer owns now. If a purchase moved after a payment, the row has
/// its former owner.
pub fn of_owned(entries: &[PaymentView], transfers: &[Transfer], user: UserId) -> Vec<PaymentRow> {
    let with_move = |row: PaymentRow| {
        let moved = moves::next(transfers, row.entry.collapse_key, row.paid_at);
        let moved = moved.filter(|one| one.from.user_id != user);
        row.before(moved.map(|one| PaymentMove {
            app_id: one.app_id,
            is_away: false,
            other: one.from.clone(),
        }))
    };
    rows(entries).into_iter().map(with_move).collect()
}

/// Returns a customer's payments for purchases that have since moved away, each with the current owner.
pub fn before_moves(
    entries: &[PaymentView],
    transfers: &[Transfer],
    user: UserId,
) -> Vec<PaymentRow> {
    let own = |row: PaymentRow| {
        let moved = moves::next(transfers, row.entry.collapse_key, row.paid_at)?;
        let is_payer = moved.from.user_id == user;
        is_payer.then(|| {
            row.before(Some(PaymentMove {
                app_id: moved.app_id,
                is_away: true,
                other: moved.to.clone(),
            }))
        })
    };
    rows(entries).into_iter().filter_map(own).collect()
}

/// Returns the statement lines of ledger entries, newest first.
pub fn of_entries(entries: &[PaymentView]) -> Vec<StatementLine> {
    lines(&rows(entries))
}

/// Returns the rows of ledger entries, in the same order.
fn rows(entries: &[PaymentView]) -> Vec<PaymentRow> {
    let is_correction = |one: &PaymentView| one.kind == EntryKind::Correction;
    let of_same = |one: &PaymentView, other: &PaymentView| {
        (one.collapse_key, one.number) == (other.collapse_key, other.number)
    };
    let payment = |one: &PaymentView| {
        entries
            .iter()
            .find(|other| other.kind.is_payment() && of_same(one, other))
    };
    let row = |one: &PaymentView| {
        let is_payment = one.kind.is_payment();
        let corrections = entries
            .iter()
            .filter(|other| is_payment && is_correction(other) && of_same(one, other));
        PaymentRow {
            corrections: corrections.cloned().collect(),
            paid_at: payment(one).map_or(one.occurred_at, |payment| payment.occurred_at),
            entry: one.clone(),
            moved: None,
        }
    };
    // A correction gets its own row only if its payment is not among the entries.
    entries
        .iter()
        .filter(|one| !is_correction(one) || payment(one).is_none())
        .map(row)
        .collect()
}

impl PaymentRow {
    /// Adds the purchase's move after the payment.
    fn before(self, moved: Option<PaymentMove>) -> Self {
        Self { moved, ..self }
    }

    fn is_test(&self) -> bool {
        self.entry.environment == Environment::Sandbox
    }

    const fn is_payment(&self) -> bool {
        self.entry.kind.is_payment()
    }

    /// Returns the amount in USD after all corrections; `None` if not known.
    fn usd(&self) -> Option<Decimal> {
        let mut total = Total::default();
        let all = std::iter::once(&self.entry).chain(&self.corrections);
        all.for_each(|one| total.add(one.usd.as_ref().and_then(|usd| usd.parse().ok())));
        total.usd()
    }

    /// Returns the id of the sales report's transaction that contains the amount.
    fn transaction(&self) -> Option<&str> {
        let corrected = self
            .corrections
            .iter()
            .find_map(|one| one.transaction_id.as_deref());
        corrected.or(self.entry.transaction_id.as_deref())
    }

    /// Returns a phrase about the exchange rate of the latest converted amount.
    fn rate(&self) -> Option<String> {
        let mut newest_first = self.corrections.iter().chain(std::iter::once(&self.entry));
        newest_first.find_map(rate_of).filter(|_| !self.is_test())
    }

    /// Returns the price before any correction.
    fn price(&self) -> Option<String> {
        Some(format!(
            "{} {}",
            self.entry.price.as_ref()?,
            self.entry.currency.as_ref()?
        ))
    }

    fn is_in_usd(&self) -> bool {
        self.entry.currency.as_deref() == Some("USD")
    }

    /// Returns the charged or refunded amount; `None` if not known.
    fn amount(&self) -> Option<String> {
        let usd = if self.is_test() {
            Some(Decimal::ZERO)
        } else {
            self.usd()
        };
        let in_usd = || usd.map(|usd| format!("{} USD", signed(usd)));
        match self.entry.kind {
            EntryKind::Refund if estimate(&self.entry).is_some() => {
                in_usd().map(|amount| format!("{amount} estimated"))
            }
            EntryKind::Refund => in_usd().map(|amount| format!("{amount} refunded")),
            EntryKind::Restored | EntryKind::Correction => in_usd(),
            _ if self.is_test() || !self.corrections.is_empty() => in_usd(),
            _ => self.price().or_else(in_usd),
        }
    }

    /// Returns the text that the amount is not known, with the reason.
    fn unknown(&self) -> Option<String> {
        self.entry
            .unknown_because
            .map(|why| not_known(&self.entry, why))
    }

    /// Returns the amount in USD of a payment in another currency, or why it is not known.
    fn in_usd(&self) -> Option<String> {
        let is_foreign =
            self.is_payment() && self.corrections.is_empty() && self.entry.price.is_some();
        let usd = self.usd().map(|usd| format!("{} USD", signed(usd)));
        let why = self.entry.unknown_because;
        let text = usd
            .or_else(|| why.map(|why| format!("not known in USD: {}", unknown(&self.entry, why))));
        text.filter(|_| is_foreign && !self.is_in_usd() && !self.is_test())
    }

    /// Returns the source of the amount, and the list price if it differs; empty if no amount is known.
    fn source(&self) -> String {
        if self.is_test() {
            return NO_MONEY.to_owned();
        }
        if self.entry.is_shown {
            let is_known = self.usd().is_some() || self.price().is_some();
            return if is_known { SHOWN } else { "" }.to_owned();
        }
        if !self.is_payment() {
            let is_reported = self.entry.source == "report" || self.transaction().is_some();
            let other = estimate(&self.entry).unwrap_or("list price");
            return if is_reported { "sales report" } else { other }.to_owned();
        }
        let (is_listed, is_reported) =
            (self.entry.source != "report", self.transaction().is_some());
        let list = if self.entry.source == "device" {
            "price on the device"
        } else {
            "list price"
        };
        // The currency is omitted if it is USD, the currency of a corrected amount.
        let price = self
            .entry
            .price
            .clone()
            .filter(|_| self.is_in_usd())
            .or_else(|| self.price());
        let was = price
            .filter(|_| is_listed && !self.corrections.is_empty())
            .map(|price| format!("{list} {price}"));
        match (was, is_reported) {
            (Some(was), true) => format!("{was} \u{b7} sales report"),
            (_, true) => "sales report".to_owned(),
            (_, false) if self.usd().is_none() && self.price().is_none() => String::new(),
            (_, false) => format!("{list}, {UNCONFIRMED}"),
        }
    }
}

/// Returns an amount with a typographic minus sign instead of a hyphen.
fn signed(usd: Decimal) -> String {
    usd.to_string().replace('-', "\u{2212}")
}
