//! Import of a store's sales report. Its lines are stored by transaction, and the purchases whose ledger they change
//! are rechecked. The ledger entries are written by the settling that follows, not by this module.

use crate::admin::platforms::require_app;
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase::{self, Urgency};
use crate::settings::{app_lock, rates};
use crate::settling::payments::{SaleRow, ledger_entries, sales_of};
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::run::Run;
use db::sql::{Sql, insert, statement};
use db::statement::{self, row, sql};
use db::writer::Write;
use domain::payment::{self, Adjustment, Day, EntryKind, Sale, SaleKind};
use domain::{AppId, CollapseKey, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A line of a sales report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSale {
    /// The store's id of the transaction.
    pub transaction_id: String,
    /// A charge, a refund or a chargeback.
    pub kind: SaleKind,
    /// The store's id of the purchase.
    pub receipt_id: String,
    pub sku: String,
    /// The amount: a non-negative decimal, as text.
    pub price: String,
    /// The ISO 4217 code of the currency: three capital letters.
    pub currency: String,
    /// The time of the charge, refund or chargeback, by the store's clock.
    pub at: Timestamp,
}

/// The result of an import; of a dry run, what it would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ImportedSales {
    /// Number of new lines.
    pub new: i64,
    /// Number of lines that were already stored and are unchanged.
    pub known: i64,
    /// Number of lines that were already stored with other content.
    pub changed: i64,
    /// Number of lines that match a payment in the ledger.
    pub matched: i64,
    /// Number of purchases that are rechecked because of these lines.
    pub purchases: i64,
    /// Lines that match no payment in the ledger. They stay stored and are matched once the payment is recorded.
    pub unmatched: Vec<Unmatched>,
    /// Payments whose price differs from the ledger, that were refunded, or whose amount has no exchange rate.
    pub differences: Vec<Difference>,
}

/// A line that matches no payment in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unmatched {
    /// Id of the line's transaction.
    pub transaction_id: String,
    /// A charge, a refund or a chargeback.
    pub kind: SaleKind,
    /// Why there is no match: `purchase_unknown`, or `payment_unknown` if the purchase has no payment at about that
    /// time.
    pub why: &'static str,
}

/// A difference between the sales report and the ledger, for one payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// Id of the transaction in the report; null if the price is right and only its exchange rate was missing.
    pub transaction_id: Option<String>,
    /// Key of the purchase.
    pub collapse_key: CollapseKey,
    /// Number of the paid term.
    pub number: i64,
    /// Kind of difference: `correction`, `refund` or `restored`; `no_rate` if the amount in USD is not known yet.
    pub what: &'static str,
    /// Price of the payment in the ledger, such as `9.99 USD`.
    pub listed: Option<String>,
    /// Amount in the report, such as `8.99 USD`; for a refund, the refunded amount. Null if the report does not list
    /// the payment.
    pub reported: Option<String>,
    /// Amount in USD by which the ledger is adjusted.
    pub usd: Option<String>,
}

row! {
    struct PurchaseRow {
        collapse_key: CollapseKey,
        purchase: String,
    }
}

row! {
    /// The price of a payment in the ledger.
    struct PriceRow {
        number: i64,
        price: Option<String>,
        currency: Option<String>,
    }
}

/// The identity of a line: its transaction, its kind, and the time of a refund or chargeback (0 for a charge).
type Identity<'a> = (&'a str, SaleKind, i64);

#[derive(Default)]
struct Lines<'a> {
    all: Vec<&'a NewSale>,
    /// Whether a line is new or changed.
    has_news: bool,
}

/// The sales of a purchase, each with the number of its payment in the purchase's ledger; `None` if no payment matches.
struct Matched<'a> {
    sales: &'a [Sale],
    numbers: Vec<Option<i64>>,
}

impl Store {
    /// Imports the lines of a sales report, all or none. A line that is already stored changes nothing; a line with
    /// other content of the same transaction replaces the stored one.
    pub async fn import_sales(
        &self,
        app: AppId,
        sales: Vec<NewSale>,
        run: Run,
    ) -> Result<ImportedSales, Error> {
        self.change("sales.import", move |write| {
            let imported = import(write, app, &sales, run)?;
            let counts = json!({ "new": imported.new, "changed": imported.changed, "known": imported.known });
            let is_changed = run == Run::Real && imported.new + imported.changed > 0;
            Ok((imported, is_changed.then(|| AuditEntry::on(app, app).after(counts))))
        })
        .await
    }
}

fn import(
    write: &mut Write<'_>,
    app: AppId,
    sales: &[NewSale],
    run: Run,
) -> Result<ImportedSales, Error> {
    // A settling holds the app's lock shared until its commit. So either it reads these lines, or the comparison below
    // reads what it wrote.
    if run == Run::Real {
        app_lock::take(write, app)?;
    }
    require_app(write, app)?;
    let latest: BTreeMap<Identity<'_>, &NewSale> =
        sales.iter().map(|sale| (sale.identity(), sale)).collect();
    let mut answer = ImportedSales::default();
    let mut by_store_id: BTreeMap<&str, Lines<'_>> = BTreeMap::new();
    for sale in latest.into_values() {
        let is_same = is_same(write.connection, app, sale)?;
        match is_same {
            None => answer.new += 1,
            Some(false) => answer.changed += 1,
            Some(true) => answer.known += 1,
        }
        let is_news = is_same != Some(true);
        if is_news && run == Run::Real {
            upsert(write, app, sale)?;
        }
        let of_purchase = by_store_id.entry(&sale.receipt_id).or_default();
        of_purchase.all.push(sale);
        of_purchase.has_news |= is_news;
    }
    let mut affected = BTreeSet::new();
    for lines in by_store_id.values() {
        affected.extend(compare(write.connection, app, lines, &mut answer)?);
    }
    answer.purchases = i64::try_from(affected.len()).unwrap_or(i64::MAX);
    if run == Run::Real {
        purchase::recheck_each(write, Urgency::Setting, CauseKind::SalesReport, affected)?;
    }
    Ok(answer)
}

const IS_SAME: Sql = statement! {"
    SELECT (sold_at = ? AND price = ? AND currency = ? AND receipt_id = ? AND sku = ?) AS value
    FROM sales
    WHERE app_id = ? AND transaction_id = ? AND kind = ? AND returned_at = ?
"};

/// Whether a line is stored with the same content; `None` if its transaction is not stored.
fn is_same(
    connection: &mut AnyConnection,
    app: AppId,
    sale: &NewSale,
) -> Result<Option<bool>, Error> {
    sql(IS_SAME)
        .bind((
            sale.at,
            sale.price.as_str(),
            sale.currency.as_str(),
            statement::clean(&sale.receipt_id).as_ref(),
            statement::clean(&sale.sku).as_ref(),
            app,
            statement::clean(&sale.transaction_id).as_ref(),
            sale.kind.as_str(),
            sale.returned_at(),
        ))
        .value(connection)
}

fn upsert(write: &mut Write<'_>, app: AppId, sale: &NewSale) -> Result<(), Error> {
    insert!(
        sales {
            app_id: app,
            transaction_id: statement::clean(&sale.transaction_id).as_ref(),
            kind: sale.kind.as_str(),
            returned_at: sale.returned_at(),
            receipt_id: statement::clean(&sale.receipt_id).as_ref(),
            sku: statement::clean(&sale.sku).as_ref(),
            price: sale.price.as_str(),
            currency: sale.currency.as_str(),
            sold_at: sale.at,
            day: Day::of(sale.at).to_string(),
            created_at: write.now()?,
        },
        "ON CONFLICT (app_id, transaction_id, kind, returned_at)
        DO UPDATE SET receipt_id = excluded.receipt_id, sku = excluded.sku, price = excluded.price,
        currency = excluded.currency, sold_at = excluded.sold_at, day = excluded.day"
    )
    .run(write.connection)
    .map(drop)
}

/// `|| ''` keeps SQLite, which has no statistics, from reading all purchases of the app.
const PURCHASES_OF_STORE_ID: Sql = statement! {"
    SELECT collapse_key, purchase
    FROM purchases
    WHERE receipt_id = ? AND app_id || '' = ?
    ORDER BY collapse_key
"};

/// Compares the lines about a store's id with the ledger of its purchases. Returns the purchases to recheck.
fn compare(
    connection: &mut AnyConnection,
    app: AppId,
    lines: &Lines<'_>,
    answer: &mut ImportedSales,
) -> Result<Vec<CollapseKey>, Error> {
    let Some(receipt_id) = lines.all.first().map(|line| line.receipt_id.as_str()) else {
        return Ok(Vec::new());
    };
    let purchases: Vec<PurchaseRow> = sql(PURCHASES_OF_STORE_ID)
        .bind(receipt_id)
        .bind(app)
        .all(connection)?;
    let stored = sales_of(connection, app, receipt_id)?;
    let sales = with_lines(connection, app, stored, &lines.all)?;
    let is_line = |sale: &Sale| {
        lines
            .all
            .iter()
            .any(|line| line.identity() == identity(sale))
    };
    let mut found = BTreeSet::new();
    let mut affected = Vec::new();
    for row in &purchases {
        let known = purchase::read(&row.purchase)?;
        let booked = ledger_entries(connection, row.collapse_key)?;
        let reach = payment::reach(&known);
        let matched = Matched {
            sales: &sales,
            numbers: payment::matches(&booked, &sales, reach),
        };
        let places = matched
            .pairs()
            .enumerate()
            .filter(|(_, (sale, number))| number.is_some() && is_line(sale));
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        let adjustments =
            payment::adjustments(&booked, &sales, payment::refund_status(&known), reach);
        answer.differences.extend(differences(
            connection,
            row.collapse_key,
            &adjustments,
            &matched,
        )?);
        if (lines.has_news && !places.is_empty()) || !adjustments.is_empty() {
            affected.push(row.collapse_key);
        }
        found.extend(places);
    }
    answer.matched += i64::try_from(found.len()).unwrap_or(i64::MAX);
    let why = if purchases.is_empty() {
        "purchase_unknown"
    } else {
        "payment_unknown"
    };
    let left = sales
        .iter()
        .enumerate()
        .filter(|(place, sale)| is_line(sale) && !found.contains(place));
    answer.unmatched.extend(left.map(|(_, sale)| Unmatched {
        transaction_id: sale.transaction_id.clone(),
        kind: sale.kind,
        why,
    }));
    Ok(affected)
}

/// Returns the stored sales with these lines added. A line replaces the sale with the same identity.
fn with_lines(
    connection: &mut AnyConnection,
    app: AppId,
    mut sales: Vec<Sale>,
    lines: &[&NewSale],
) -> Result<Vec<Sale>, Error> {
    for line in lines {
        let price = line.price.parse();
        let newest = rates::conversion(connection, app, &line.currency, Day::of(line.at))?;
        let row = SaleRow {
            transaction_id: line.transaction_id.clone(),
            kind: line.kind,
            sold_at: line.at,
            price: price.map_err(|cause| {
                Error::corrupt_by("an amount of a sales report is not a decimal", cause)
            })?,
            currency: line.currency.clone(),
            rate: newest.map(|found| found.rate.usd),
            rate_day: newest.map(|found| found.rate.day.to_string()),
        };
        sales.retain(|sale| identity(sale) != line.identity());
        sales.push(row.sale()?);
    }
    sales.sort_by(|a, b| (a.at, &a.transaction_id, a.kind).cmp(&(b.at, &b.transaction_id, b.kind)));
    Ok(sales)
}

const PAYMENTS_OF_PURCHASE: Sql = statement! {"
    SELECT number, price, currency
    FROM payments
    WHERE collapse_key = ? AND entry = 0
"};

/// Lists the adjustments of a purchase's ledger, and the sales without an exchange rate.
fn differences(
    connection: &mut AnyConnection,
    collapse_key: CollapseKey,
    adjustments: &[Adjustment],
    matched: &Matched<'_>,
) -> Result<Vec<Difference>, Error> {
    let listed: Vec<PriceRow> = sql(PAYMENTS_OF_PURCHASE)
        .bind(collapse_key)
        .all(connection)?;
    let price = |number: i64| {
        let found = listed.iter().find(|one| one.number == number)?;
        Some(format!(
            "{} {}",
            found.price.as_deref()?,
            found.currency.as_deref()?
        ))
    };
    let adjusted = adjustments.iter().map(|one| Difference {
        transaction_id: one.transaction_id.clone(),
        collapse_key,
        number: one.number,
        what: one.kind.as_str(),
        listed: price(one.number),
        reported: matched.reported(one),
        usd: Some(one.usd.to_string()),
    });
    let unrated = matched
        .pairs()
        .filter(|(sale, _)| sale.usd.is_none())
        .filter_map(|(sale, number)| {
            Some(Difference {
                transaction_id: Some(sale.transaction_id.clone()),
                collapse_key,
                number: number?,
                what: "no_rate",
                listed: price(number?),
                reported: Some(amount(sale)),
                usd: None,
            })
        });
    Ok(adjusted.chain(unrated).collect())
}

impl Matched<'_> {
    fn pairs(&self) -> impl Iterator<Item = (&Sale, Option<i64>)> {
        self.sales.iter().zip(self.numbers.iter().copied())
    }

    /// Returns the amount of the sale that caused an adjustment. A refund may have the transaction id of its charge,
    /// and may consist of several parts.
    fn reported(&self, adjustment: &Adjustment) -> Option<String> {
        let id = adjustment.transaction_id.as_ref();
        let is_source = |sale: &Sale| match adjustment.kind {
            EntryKind::Refund => sale.kind != SaleKind::Charge && adjustment.at == Some(sale.at),
            _ => sale.kind == SaleKind::Charge,
        };
        let mut of_payment = self
            .pairs()
            .filter(|(_, number)| *number == Some(adjustment.number));
        let source = of_payment
            .find(|(sale, _)| is_source(sale) && id.is_none_or(|id| sale.transaction_id == *id));
        source.map(|(sale, _)| amount(sale))
    }
}

fn amount(sale: &Sale) -> String {
    format!("{} {}", sale.price, sale.currency)
}

impl NewSale {
    fn identity(&self) -> Identity<'_> {
        (&self.transaction_id, self.kind, self.returned_at())
    }

    fn returned_at(&self) -> i64 {
        returned_at(self.kind, self.at)
    }
}

fn identity(sale: &Sale) -> Identity<'_> {
    (
        &sale.transaction_id,
        sale.kind,
        returned_at(sale.kind, sale.at),
    )
}

/// Returns the time of a refund or chargeback, and 0 for a charge: a transaction is charged once, but may be refunded
/// in parts.
fn returned_at(kind: SaleKind, at: Timestamp) -> i64 {
    if kind == SaleKind::Charge {
        0
    } else {
        at.micros()
    }
}
