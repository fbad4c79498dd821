//! Payments: a row for each payment, with the correction of its price by a sales report, and one for each refund; and
//! the total. Pure.

use super::list::{badge, kind, not_known, purchase, rate_of, unknown};
use crate::pages::cell::{Cell, CellPart};
use crate::pages::lists::{Column, Table};
use crate::pages::parts::{Code, Moment};
use crate::pages::visit::Visit;
use crate::resources::refunds::estimate;
use domain::payment::{EntryKind, Total};
use domain::{Environment, Timestamp};
use rust_decimal::Decimal;
use std::collections::BTreeSet;
use storage::PaymentView;

/// Label of a test purchase.
pub const NO_MONEY: &str = "test purchase, no money";
/// Label of an amount that no sales report contains yet.
const UNCONFIRMED: &str = "not confirmed by a sales report yet";

/// A payment with the corrections of its price, or a refund, or a refund that was reversed.
pub struct PaymentRow {
    pub entry: PaymentView,
    corrections: Vec<PaymentView>,
    /// When the payment was made that a refund changes, else when this was.
    pub paid_at: Timestamp,
    /// Before which move it was paid: a text, and the page and the login of the other customer.
    moved: Option<(&'static str, String, Code)>,
}

const COLUMNS: &[Column<PaymentRow>] = &[
    Column::head("Date", |row, _| Moment::at(row.entry.occurred_at).into()),
    Column::new("What", |row, visit| {
        let what = CellPart::link(visit.to(&purchase(&row.entry)), kind(row.entry.kind));
        let what = Cell::from(what).and(badge(&row.entry));
        let what = what.under(
            row.entry
                .sku
                .as_ref()
                .map(Code::short)
                .into_iter()
                .map(CellPart::from)
                .collect(),
        );
        let moved = row.moved.iter();
        let moved = moved.flat_map(|(text, path, login)| {
            [
                CellPart::from(*text),
                CellPart::link(path.clone(), login.clone()),
            ]
        });
        what.under(moved.collect())
    }),
    Column::number("Amount", |row, _| {
        let amount = row
            .amount()
            .or_else(|| row.unknown())
            .map_or(CellPart::Muted("not known"), CellPart::from);
        let transaction = row
            .transaction()
            .filter(|_| !row.is_test())
            .map(|id| CellPart::from(Code::short(id)));
        let rate = row.rate().map(CellPart::from);
        let source = Some(row.source())
            .filter(|source| !source.is_empty())
            .map(CellPart::from);
        let source = source.into_iter().chain(transaction).chain(rate);
        let amount = Cell::from(amount).under(source.collect());
        amount.under(row.in_usd().into_iter().map(CellPart::from).collect())
    }),
];

/// The table of payments, newest first; none without a payment.
pub fn table(visit: &Visit, mut rows: Vec<PaymentRow>) -> Option<Table> {
    rows.sort_by_key(|row| std::cmp::Reverse(row.entry.occurred_at));
    (!rows.is_empty()).then(|| Table::of("Payments, newest first", COLUMNS, &rows, visit))
}

/// The rows of ledger entries, in their order.
pub fn rows(entries: &[PaymentView]) -> Vec<PaymentRow> {
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
    // A correction is a row of its own only if its payment is not among the entries.
    entries
        .iter()
        .filter(|one| !is_correction(one) || payment(one).is_none())
        .map(row)
        .collect()
}

impl PaymentRow {
    /// Adds the move after the payment.
    pub fn before(self, moved: Option<(&'static str, String, Code)>) -> Self {
        Self { moved, ..self }
    }

    fn is_test(&self) -> bool {
        self.entry.environment == Environment::Sandbox
    }

    const fn is_payment(&self) -> bool {
        self.entry.kind.is_payment()
    }

    /// The amount in USD after all corrections; `None` where none is known.
    fn usd(&self) -> Option<Decimal> {
        let mut total = Total::default();
        let all = std::iter::once(&self.entry).chain(&self.corrections);
        all.for_each(|one| total.add(one.usd.as_ref().and_then(|usd| usd.parse().ok())));
        total.usd()
    }

    /// The transaction of the sales report that has the amount.
    fn transaction(&self) -> Option<&str> {
        let corrected = self
            .corrections
            .iter()
            .find_map(|one| one.transaction_id.as_deref());
        corrected.or(self.entry.transaction_id.as_deref())
    }

    /// The exchange rate of the last amount that one converts.
    fn rate(&self) -> Option<String> {
        let mut newest_first = self.corrections.iter().chain(std::iter::once(&self.entry));
        newest_first.find_map(rate_of).filter(|_| !self.is_test())
    }

    /// Price before any correction.
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

    /// Charged or refunded amount; `None` if not known.
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

    /// That the amount is not known, with the reason.
    fn unknown(&self) -> Option<String> {
        self.entry
            .unknown_because
            .map(|why| not_known(&self.entry, why))
    }

    /// The amount in USD of a payment in another currency.
    fn in_usd(&self) -> Option<String> {
        let is_foreign =
            self.is_payment() && self.corrections.is_empty() && self.entry.price.is_some();
        let usd = self.usd().map(|usd| format!("{} USD", signed(usd)));
        let why = self.entry.unknown_because;
        let text = usd
            .or_else(|| why.map(|why| format!("not known in USD: {}", unknown(&self.entry, why))));
        text.filter(|_| is_foreign && !self.is_in_usd() && !self.is_test())
    }

    /// Source of the amount, and the list price if it differs; empty if no amount is known.
    fn source(&self) -> String {
        if self.is_test() {
            return NO_MONEY.to_owned();
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
        // In the currency of the amount, which is USD after a correction.
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

/// An amount with a minus sign that is not a hyphen.
fn signed(usd: Decimal) -> String {
    usd.to_string().replace('-', "\u{2212}")
}

/// Sums of the rows of one environment, for real payments.
#[derive(Default)]
struct Sums {
    refunded: Decimal,
    /// Whether a part of that is an estimate.
    is_estimated: bool,
    /// Amount that no sales report contains yet.
    unconfirmed: Decimal,
    /// Whether all of that is by list prices.
    is_listed: bool,
    /// Amount that others paid before the purchases moved, including refunded payments, and their names.
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
            if let Some((_, _, login)) = row.moved.as_ref().filter(|_| row.is_payment()) {
                sums.others = sums.others.saturating_add(usd);
                sums.logins.insert(login.whole().to_owned());
            }
        }
        sums
    }

    /// How what came back is called.
    const fn returned(&self) -> &'static str {
        if self.is_estimated {
            "refunded by settle's estimate"
        } else {
            "refunded"
        }
    }

    /// Which part of the payments no sales report has.
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

/// Total that a customer paid, where `usd` is that less refunds. Refunds are shown only if all payments are read
/// (`is_whole`).
pub fn total(usd: &str, rows: &[PaymentRow], is_whole: bool) -> String {
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
    let others = (!others.is_zero()).then(|| {
        format!("{least}{others} USD of it paid before the purchases moved from {logins}")
    });
    let notes: Vec<String> = doubt.into_iter().chain(others).collect();
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join("; "))
    };
    match is_refunded {
        true => format!(
            "Paid {paid}, {} {}; {usd} USD remain{notes}",
            sums.returned(),
            sums.refunded
        ),
        false => format!("Paid in total: {usd} USD{notes}"),
    }
}

/// Total that a customer paid for purchases that moved away, and the refunded part; a minimum if not all of it is read
/// (`is_whole`). `None` if no amount is known.
pub fn total_before(rows: &[PaymentRow], is_whole: bool) -> Option<String> {
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
    Some(format!(
        "Paid before the purchases moved away: {least}{paid} USD{refunded}{doubt}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::list::tests::entry;
    use super::{PaymentRow, rows, total, total_before};
    use crate::pages::parts::Code;
    use domain::Environment;
    use domain::payment::{EntryKind, UnknownPrice};
    use storage::PaymentView;

    /// An entry of a sales report.
    fn reported(number: i64, kind: EntryKind, usd: &str, id: &str) -> PaymentView {
        PaymentView {
            source: "report".to_owned(),
            transaction_id: Some(id.to_owned()),
            price: None,
            currency: None,
            ..entry(number, kind, usd)
        }
    }

    fn shown(row: &PaymentRow) -> (String, String, Option<&str>) {
        (
            row.amount().unwrap_or_default(),
            row.source(),
            row.transaction(),
        )
    }

    #[test]
    fn a_correction_changes_its_payment_and_a_refund_is_a_row() {
        let all = [
            reported(1, EntryKind::Refund, "-8.49", "T-882310"),
            reported(1, EntryKind::Correction, "-1.50", "T-880141"),
            entry(1, EntryKind::Initial, "9.99"),
        ];
        let rows = rows(&all);
        let texts: Vec<_> = rows.iter().map(shown).collect();
        assert_eq!(
            texts,
            [
                (
                    "\u{2212}8.49 USD refunded".to_owned(),
                    "sales report".to_owned(),
                    Some("T-882310")
                ),
                (
                    "8.49 USD".to_owned(),
                    "list price 9.99 \u{b7} sales report".to_owned(),
                    Some("T-880141")
                ),
            ]
        );
        assert_eq!(
            total("0.00", &rows, true),
            "Paid 8.49, refunded 8.49; 0.00 USD remain"
        );
    }

    #[test]
    fn a_refund_that_no_report_has_is_an_estimate() {
        let inferred = PaymentView {
            source: "store".to_owned(),
            ..entry(1, EntryKind::Refund, "-9.99")
        };
        let rows = rows(&[inferred, entry(1, EntryKind::Initial, "9.99")]);
        let (amount, source, _) = shown(&rows[0]);
        assert_eq!(amount, "\u{2212}9.99 USD estimated");
        assert!(
            source.starts_with("settle's estimate, since it ended early"),
            "{source}"
        );
        let whole = total("0.00", &rows, true);
        assert!(
            whole.starts_with("Paid 9.99, refunded by settle's estimate 9.99; 0.00 USD remain"),
            "{whole}"
        );
    }

    #[test]
    fn a_payment_whose_list_price_a_report_has_is_confirmed() {
        let confirmed = |number: i64, kind: EntryKind, id: &str| PaymentView {
            transaction_id: Some(id.to_owned()),
            ..entry(number, kind, "9.99")
        };
        let rows = rows(&[
            confirmed(2, EntryKind::Renewal, "T-2"),
            confirmed(1, EntryKind::Initial, "T-1"),
        ]);
        let texts: Vec<_> = rows.iter().map(shown).collect();
        let row = |id| ("9.99 USD".to_owned(), "sales report".to_owned(), Some(id));
        assert_eq!(texts, [row("T-2"), row("T-1")]);
        assert_eq!(total("19.98", &rows, true), "Paid in total: 19.98 USD");
    }

    #[test]
    fn a_correction_without_its_payment_is_a_row() {
        let all = [
            reported(1, EntryKind::Correction, "-1.50", "T-880141"),
            entry(2, EntryKind::Renewal, "9.99"),
        ];
        let texts: Vec<_> = rows(&all).iter().map(|row| shown(row).0).collect();
        assert_eq!(texts, ["\u{2212}1.50 USD", "9.99 USD"]);
    }

    #[test]
    fn a_test_purchase_counts_as_nothing() {
        let test = PaymentView {
            environment: Environment::Sandbox,
            ..entry(1, EntryKind::Initial, "9.99")
        };
        let rows = rows(&[test]);
        let texts: Vec<_> = rows.iter().map(shown).collect();
        assert_eq!(
            texts,
            [(
                "0 USD".to_owned(),
                "test purchase, no money".to_owned(),
                None
            )]
        );
        assert_eq!(
            (total("0", &rows, true), total_before(&rows, true)),
            ("Paid in total: 0 USD".to_owned(), None)
        );
    }

    #[test]
    fn a_payment_in_another_currency_has_its_amount_in_usd() {
        let euro = PaymentView {
            price: Some("8.90".to_owned()),
            currency: Some("EUR".to_owned()),
            ..entry(1, EntryKind::Initial, "9.61")
        };
        let foreign = |all: &[PaymentView]| {
            let rows = rows(all);
            let row = rows.last().unwrap();
            (row.amount(), row.in_usd(), row.source())
        };
        let (amount, usd, _) = foreign(std::slice::from_ref(&euro));
        assert_eq!(
            (amount.as_deref(), usd.as_deref()),
            (Some("8.90 EUR"), Some("9.61 USD"))
        );
        let (amount, usd, source) =
            foreign(&[reported(1, EntryKind::Correction, "-1.00", "T-1"), euro]);
        assert_eq!((amount.as_deref(), usd), (Some("8.61 USD"), None));
        assert_eq!(source, "list price 8.90 EUR \u{b7} sales report");
    }

    #[test]
    fn an_amount_that_is_not_known_has_its_reason() {
        let unlisted = PaymentView {
            price: None,
            currency: None,
            usd: None,
            unknown_because: Some(UnknownPrice::NotListed),
            is_unlisted: true,
            ..entry(1, EntryKind::Initial, "9.99")
        };
        let rows = rows(&[unlisted]);
        assert_eq!((rows[0].amount(), rows[0].source()), (None, String::new()));
        assert_eq!(
            rows[0].unknown().as_deref(),
            Some("not known: the product is not in the catalogue")
        );
    }

    #[test]
    fn a_total_names_the_part_without_a_sales_report() {
        let list = entry(2, EntryKind::Renewal, "9.99");
        let both = [
            list.clone(),
            reported(1, EntryKind::Correction, "-1.50", "T-1"),
            entry(1, EntryKind::Initial, "9.99"),
        ];
        let not_yet = "list price, not confirmed by a sales report yet";
        assert_eq!(
            total("18.48", &rows(&both), true),
            format!("Paid in total: 18.48 USD (9.99 USD of it {not_yet})")
        );
        let rows = rows(&[list]);
        assert_eq!(
            total("9.99", &rows, true),
            format!("Paid in total: 9.99 USD ({not_yet})")
        );
        assert_eq!(
            total("50.00", &rows, false),
            format!("Paid in total: 50.00 USD (at least 9.99 USD of it {not_yet})")
        );
        let before =
            |rows: &[PaymentRow], is_whole| total_before(rows, is_whole).unwrap_or_default();
        let moved = "Paid before the purchases moved away:";
        assert_eq!(before(&rows, true), format!("{moved} 9.99 USD ({not_yet})"));
        let least = format!("{moved} at least 9.99 USD (at least 9.99 USD of it {not_yet})");
        assert_eq!(before(&rows, false), least);
    }

    #[test]
    fn a_refund_before_a_move_is_not_taken_from_what_was_paid() {
        let refunded = [
            entry(1, EntryKind::Refund, "-9.99"),
            entry(1, EntryKind::Initial, "9.99"),
        ];
        let rows = rows(&refunded);
        let whole = "9.99 USD, refunded 9.99; 0.00 USD remain (list price, not confirmed by a sales report yet)";
        assert_eq!(
            total_before(&rows, true),
            Some(format!("Paid before the purchases moved away: {whole}"))
        );
        let part = total_before(&rows, false).unwrap();
        assert!(
            part.contains(": at least 9.99 USD, refunded at least 9.99 ("),
            "{part}"
        );
    }

    #[test]
    fn a_total_names_what_a_former_holder_paid() {
        let moved = |entries: &[PaymentView]| {
            let quinn = || {
                (
                    "before the move from",
                    String::new(),
                    Code::short("quinn@example.com"),
                )
            };
            rows(entries)
                .into_iter()
                .map(|row| row.before(Some(quinn())))
                .collect::<Vec<_>>()
        };
        let paid = reported(1, EntryKind::Initial, "9.99", "T-1");
        let others = "9.99 USD of it paid before the purchases moved from quinn@example.com";
        let rows = moved(std::slice::from_ref(&paid));
        assert_eq!(
            total("9.99", &rows, true),
            format!("Paid in total: 9.99 USD ({others})")
        );
        assert_eq!(
            total("50.00", &rows, false),
            format!("Paid in total: 50.00 USD (at least {others})")
        );
        let refunded = moved(&[reported(1, EntryKind::Refund, "-9.99", "T-2"), paid]);
        let remain = "Paid 9.99, refunded 9.99; 0.00 USD remain";
        assert_eq!(
            total("0.00", &refunded, true),
            format!("{remain} ({others})")
        );
    }
}
