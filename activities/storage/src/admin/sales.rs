//! Lines of a store's sales report: each is remembered by its transaction, and the purchases that they are about are
//! rechecked. The entries of the ledger that follow are written by that settling, and not here.

use crate::admin::platforms::require_app;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::run::Run;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{self, Number, row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::purchases::purchase;
use crate::settling::payments::{SaleRow, booked, sales_of};
use domain::payment::{self, Adjustment, Sale, SaleKind};
use domain::{AppId, CollapseKey, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A line of a sales report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSale {
    /// The store's name of the transaction.
    pub transaction_id: String,
    /// What it is.
    pub kind: SaleKind,
    /// The store's name of the purchase.
    pub receipt_id: String,
    /// What was sold.
    pub sku: String,
    /// The amount: a decimal, never below 0.
    pub price: String,
    /// ISO 4217, three capital letters.
    pub currency: String,
    /// When it was created.
    pub at: Timestamp,
}

/// The result of importing a page of lines; of a dry run, what it would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ImportedSales {
    /// Lines that were not known.
    pub new: i64,
    /// Lines that were known, and are the same.
    pub known: i64,
    /// Lines that were known, and differ now.
    pub changed: i64,
    /// Lines whose payment is known.
    pub matched: i64,
    /// Purchases that are settled again because of them.
    pub purchases: i64,
    /// Lines whose payment is not known; they are kept until it is.
    pub unmatched: Vec<Unmatched>,
    /// Payments whose price is not the one of the list, or that were given back.
    pub differences: Vec<Difference>,
}

/// A line whose payment is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unmatched {
    /// Its transaction.
    pub transaction_id: String,
    /// What it is.
    pub kind: SaleKind,
    /// Why: `purchase_unknown`, or `payment_unknown` where no payment of the purchase is near its time.
    pub why: &'static str,
}

/// A payment for which the report differs from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// The transaction of the report; null where the price is right and only its rate was missing.
    pub transaction_id: Option<String>,
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// The number of the payment.
    pub number: i64,
    /// What it is: `correction`, `refund` or `restored`; `no_rate` where its amount in USD is not known yet.
    pub what: &'static str,
    /// The price that was known, such as `9.99 USD`.
    pub listed: Option<String>,
    /// The price or amount of the report.
    pub reported: Option<String>,
    /// What the ledger is adjusted by, in USD.
    pub usd: Option<String>,
}

row! {
    struct Known {
        transaction_id: String,
        kind: String,
        sold_at: Timestamp,
        price: String,
        currency: String,
        receipt_id: String,
        sku: String,
    }
}

row! {
    struct PurchaseRow {
        collapse_key: CollapseKey,
        purchase: String,
    }
}

row! {
    struct Key {
        collapse_key: CollapseKey,
    }
}

row! {
    struct Listed {
        number: i64,
        price: Option<String>,
        currency: Option<String>,
    }
}

/// The identity of a line: its transaction, what it is, and when it was given back.
type Identity<'a> = (&'a str, SaleKind, i64);

/// The lines about a receipt.
#[derive(Default)]
struct Lines<'a> {
    all: Vec<&'a NewSale>,
    /// Whether one of them is new or changed.
    has_news: bool,
}

impl Store {
    /// Imports lines of a sales report, all of them or none. A repeated line changes nothing; another content of a
    /// transaction replaces the one before.
    pub async fn import_sales(&self, app: AppId, sales: Vec<NewSale>, run: Run) -> Result<ImportedSales, Error> {
        self.write(move |write| import(write, app, (&sales, run))).await
    }
}

fn import(write: &mut Write<'_>, app: AppId, (sales, run): (&[NewSale], Run)) -> Result<ImportedSales, Error> {
    require_app(write, app)?;
    // A settling shares this row until it is committed: it sees these lines, or is found below with what it wrote.
    if run == Run::Real {
        lock_app(write, app)?;
    }
    let latest: BTreeMap<Identity<'_>, &NewSale> = sales.iter().map(|sale| (sale.identity(), sale)).collect();
    let mut answer = ImportedSales::default();
    let mut receipts: BTreeMap<&str, Lines<'_>> = BTreeMap::new();
    for sale in latest.into_values() {
        let is_news = match known(write.connection, app, sale)? {
            None => count(&mut answer.new),
            Some(known) if known.is(sale) => {
                answer.known += 1;
                false
            }
            Some(_) => count(&mut answer.changed),
        };
        if is_news && run == Run::Real {
            upsert(write, app, sale)?;
        }
        let of_receipt = receipts.entry(&sale.receipt_id).or_default();
        of_receipt.all.push(sale);
        of_receipt.has_news |= is_news;
    }
    let mut concerned = BTreeSet::new();
    for (receipt_id, lines) in receipts {
        concerned.extend(compare(write.connection, (app, receipt_id), (&lines, &mut answer))?);
    }
    answer.purchases = i64::try_from(concerned.len()).unwrap_or(i64::MAX);
    if run == Run::Real {
        for key in concerned {
            purchase::recheck(write, purchase::OF_KEY, [key.into()])?;
        }
    }
    Ok(answer)
}

const LOCK_APP: Sql = statement!("SELECT created_at AS value FROM apps WHERE id = ? FOR NO KEY UPDATE");

/// Locks the app's row, which the record of a settling shares until it is committed.
pub fn lock_app(write: &mut Write<'_>, app: AppId) -> Result<(), Error> {
    if write.connection.is_shared() {
        let _: Option<Number> = sql(LOCK_APP).bind(app).first(write.connection)?;
    }
    Ok(())
}

const PURCHASES_OF_RATE: Sql = statement! {hot "sales_day", "
    SELECT DISTINCT p.collapse_key
    FROM sales s
    JOIN purchases p ON p.receipt_id = s.receipt_id AND p.app_id = s.app_id
    LEFT JOIN rates r ON r.app_id = s.app_id AND r.currency = s.currency AND r.day = s.day
    WHERE s.app_id = ? AND s.currency = ? AND s.day = ? AND (r.usd IS NULL OR r.usd <> ?)
"};

/// The purchases with sales of a currency and day for which there is another rate, or none.
pub fn rated(
    connection: &mut AnyConnection,
    app: AppId,
    (currency, day, usd): (&str, &str, &str),
) -> Result<Vec<CollapseKey>, Error> {
    let rows: Vec<Key> = sql(PURCHASES_OF_RATE).bind(app).bind(currency).bind(day).bind(usd).all(connection)?;
    Ok(rows.into_iter().map(|row| row.collapse_key).collect())
}

fn count(counter: &mut i64) -> bool {
    *counter += 1;
    true
}

const FIND_LINES: Sql = statement! {"
    SELECT transaction_id, kind, sold_at, price, currency, receipt_id, sku
    FROM sales
    WHERE app_id = ? AND transaction_id = ? AND kind = ? AND returned_at = ?
"};

fn known(connection: &mut AnyConnection, app: AppId, sale: &NewSale) -> Result<Option<Known>, Error> {
    sql(FIND_LINES)
        .bind(app)
        .bind(statement::clean(&sale.transaction_id).as_ref())
        .bind(sale.kind.as_str())
        .bind(sale.returned_at())
        .first(connection)
}

const UPSERT: Sql = statement! {"
    INSERT INTO sales (app_id, transaction_id, kind, returned_at, receipt_id, sku, price, currency, sold_at,
        day, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (app_id, transaction_id, kind, returned_at)
    DO UPDATE SET receipt_id = excluded.receipt_id, sku = excluded.sku, price = excluded.price,
        currency = excluded.currency, sold_at = excluded.sold_at, day = excluded.day
"};

fn upsert(write: &mut Write<'_>, app: AppId, sale: &NewSale) -> Result<(), Error> {
    sql(UPSERT)
        .bind(app)
        .bind(statement::clean(&sale.transaction_id).as_ref())
        .bind(sale.kind.as_str())
        .bind(sale.returned_at())
        .bind(statement::clean(&sale.receipt_id).as_ref())
        .bind(statement::clean(&sale.sku).as_ref())
        .bind(sale.price.as_str())
        .bind(sale.currency.as_str())
        .bind(sale.at)
        .bind(day(sale.at))
        .bind(write.now)
        .run(write.connection)
        .map(drop)
}

/// The day of a time in UTC, as rates of exchange have it.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take("2026-01-31".len()).collect()
}

const PURCHASES_OF_RECEIPT: Sql = statement! {"
    SELECT collapse_key, purchase
    FROM purchases
    WHERE receipt_id = ? AND app_id = ?
    ORDER BY collapse_key
"};

/// Compares the lines about a receipt with its ledger; returns the purchases whose ledger or record they change.
fn compare(
    connection: &mut AnyConnection,
    (app, receipt_id): (AppId, &str),
    (lines, answer): (&Lines<'_>, &mut ImportedSales),
) -> Result<Vec<CollapseKey>, Error> {
    let purchases: Vec<PurchaseRow> = sql(PURCHASES_OF_RECEIPT).bind(receipt_id).bind(app).all(connection)?;
    let sales = with(connection, (app, receipt_id), &lines.all)?;
    let is_line = |sale: &Sale| lines.all.iter().any(|line| line.identity() == identity(sale));
    let mut found = BTreeSet::new();
    let mut concerned = Vec::new();
    for row in &purchases {
        let known = purchase::read(&row.purchase)?;
        let booked = booked(connection, row.collapse_key)?;
        let reach = payment::reach(&known);
        let matches = payment::matches(&booked, &sales, reach);
        let matched =
            sales.iter().zip(&matches).enumerate().filter(|(_, (sale, number))| number.is_some() && is_line(sale));
        let places: Vec<usize> = matched.map(|(place, _)| place).collect();
        let adjustments = payment::adjustments(&booked, &sales, payment::refund_status(&known), reach);
        differences(connection, (row.collapse_key, &adjustments), (&sales, &matches, answer))?;
        if (lines.has_news && !places.is_empty()) || !adjustments.is_empty() {
            concerned.push(row.collapse_key);
        }
        found.extend(places);
    }
    answer.matched += i64::try_from(found.len()).unwrap_or(i64::MAX);
    let why = if purchases.is_empty() { "purchase_unknown" } else { "payment_unknown" };
    let left = sales.iter().enumerate().filter(|(place, sale)| is_line(sale) && !found.contains(place));
    answer.unmatched.extend(left.map(|(_, sale)| Unmatched {
        transaction_id: sale.transaction_id.clone(),
        kind: sale.kind,
        why,
    }));
    Ok(concerned)
}

/// The sales of a receipt, with these lines in the place of those of the same transaction.
fn with(
    connection: &mut AnyConnection,
    (app, receipt_id): (AppId, &str),
    lines: &[&NewSale],
) -> Result<Vec<Sale>, Error> {
    let mut sales = sales_of(connection, app, receipt_id)?;
    for line in lines {
        let price = line.price.parse();
        let row = SaleRow {
            transaction_id: line.transaction_id.clone(),
            kind: line.kind,
            sold_at: line.at,
            price: price.map_err(|cause| Error::corrupt_by("an amount of a sales report is not a decimal", cause))?,
            currency: line.currency.clone(),
            rate: sql(FIND_RATE).bind(app).bind(line.currency.as_str()).bind(day(line.at)).value(connection)?,
        };
        sales.retain(|sale| identity(sale) != line.identity());
        sales.push(row.sale());
    }
    sales.sort_by(|a, b| (a.at, &a.transaction_id, a.kind).cmp(&(b.at, &b.transaction_id, b.kind)));
    Ok(sales)
}

const FIND_RATE: Sql = statement!("SELECT usd AS value FROM rates WHERE app_id = ? AND currency = ? AND day = ?");

const PAYMENTS_OF_PURCHASE: Sql = statement! {"
    SELECT number, price, currency
    FROM payments
    WHERE collapse_key = ? AND entry = 0
"};

/// Lists the adjustments of a purchase's ledger, and the amounts without a rate.
fn differences(
    connection: &mut AnyConnection,
    (key, adjustments): (CollapseKey, &[Adjustment]),
    (sales, matches, answer): (&[Sale], &[Option<i64>], &mut ImportedSales),
) -> Result<(), Error> {
    let listed: Vec<Listed> = sql(PAYMENTS_OF_PURCHASE).bind(key).all(connection)?;
    let price = |number: i64| {
        let found = listed.iter().find(|one| one.number == number)?;
        Some(format!("{} {}", found.price.as_deref()?, found.currency.as_deref()?))
    };
    let reported = |id: Option<&str>, number: i64| {
        let mut of = sales.iter().zip(matches).filter(|(_, matched)| **matched == Some(number));
        let sale = of.find(|(sale, _)| id.is_none_or(|id| sale.transaction_id == id))?.0;
        Some(format!("{} {}", sale.price, sale.currency))
    };
    for one in adjustments {
        answer.differences.push(Difference {
            transaction_id: one.transaction_id.clone(),
            collapse_key: key,
            number: one.number,
            what: one.kind.as_str(),
            listed: price(one.number),
            reported: reported(one.transaction_id.as_deref(), one.number),
            usd: Some(one.usd.to_string()),
        });
    }
    for (sale, number) in sales.iter().zip(matches) {
        if let (None, Some(number)) = (sale.usd, number) {
            answer.differences.push(Difference {
                transaction_id: Some(sale.transaction_id.clone()),
                collapse_key: key,
                number: *number,
                what: "no_rate",
                listed: price(*number),
                reported: Some(format!("{} {}", sale.price, sale.currency)),
                usd: None,
            });
        }
    }
    Ok(())
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
    (&sale.transaction_id, sale.kind, returned_at(sale.kind, sale.at))
}

/// A transaction is charged once, and given back in any number of parts.
fn returned_at(kind: SaleKind, at: Timestamp) -> i64 {
    if kind == SaleKind::Charge { 0 } else { at.micros() }
}

impl Known {
    fn is(&self, sale: &NewSale) -> bool {
        let clean = |text: &str| statement::clean(text).into_owned();
        self.transaction_id == clean(&sale.transaction_id)
            && self.kind == sale.kind.as_str()
            && self.sold_at == sale.at
            && self.price == sale.price
            && self.currency == sale.currency
            && self.receipt_id == clean(&sale.receipt_id)
            && self.sku == clean(&sale.sku)
    }
}
