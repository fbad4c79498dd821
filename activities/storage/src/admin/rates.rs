//! Exchange rates: the value of one unit of a currency in USD on a day. `domain` decides on which days a rate applies.
//! New rates apply to later settlings, and rechecks convert earlier amounts to which a different rate applies now.

use crate::admin::platforms::require_app;
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase::{self, Urgency};
use crate::settings::app_lock;
use crate::settings::rates::{self, RateRow};
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::payment::{self, Day};
use domain::{AppId, CollapseKey};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Maximum number of rows per statement.
const ROWS: usize = 500;
/// Maximum number of purchases that one transaction rechecks, unless a single rate affects more: settlings of the app
/// wait for this transaction.
const RECHECKED: i64 = 500;

row! {
    /// The exchange rate of a currency on one day.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct Rate {
        /// Day of the rate, such as `2026-01-31`.
        pub day: String,
        /// ISO 4217 code: three capital letters.
        pub currency: String,
        /// Value of one unit in USD: a decimal, as text.
        pub usd: String,
    }
}

const UPSERT: Sql = statement! {"
    INSERT INTO rates (app_id, currency, day, usd)
    VALUES ?*
    ON CONFLICT (app_id, currency, day) DO UPDATE SET usd = excluded.usd
"};

const LIST: Sql = statement! {"
    SELECT day AS cursor, day, currency, usd
    FROM rates
    WHERE app_id = ? AND currency = ? AND day > ?
    ORDER BY day
    LIMIT ?
"};

const STORED: Sql = statement!(
    "SELECT day, usd FROM rates WHERE app_id = ? AND currency = ? AND day >= ? AND day <= ?"
);
/// `|| ''` keeps SQLite, which has no statistics, from reading all purchases of the app.
const PURCHASES_WITH_SALES: Sql = statement! {hot "sales_day", "
    SELECT DISTINCT p.collapse_key AS value
    FROM sales s
    JOIN purchases p ON p.receipt_id = s.receipt_id AND p.app_id || '' = s.app_id
    WHERE s.app_id = ? AND s.currency = ? AND s.day >= ? AND s.day <= ?
    LIMIT ?
"};
const PURCHASES_WITH_PRICES: Sql = statement! {hot "payments_priced_on", "
    SELECT DISTINCT m.collapse_key AS value
    FROM payments m
    WHERE m.priced_on IS NOT NULL AND m.app_id = ? AND m.currency = ? AND m.priced_on >= ? AND m.priced_on <= ?
    LIMIT ?
"};
/// Purchases with payments that have not been converted yet: a worker of release 0.1.0 may have taken their recheck
/// without recording a conversion.
const PURCHASES_WITHOUT_RATE: Sql = statement! {hot "payments_unrated", "
    SELECT DISTINCT m.collapse_key AS value
    FROM payments m
    WHERE m.unknown_because = 'no_rate' AND m.app_id = ? AND m.currency = ?
        AND COALESCE(m.priced_on, '') >= ? AND COALESCE(m.priced_on, '') <= ?
        AND (SELECT MAX(n.entry) FROM payments n WHERE n.collapse_key = m.collapse_key AND n.number = m.number) = 0
    LIMIT ?
"};
/// Purchases that release 0.1.0 recorded, and that have not been settled since.
const UNDATED: Sql = statement! {hot "payments_unrated", "
    SELECT collapse_key AS value
    FROM payments
    WHERE unknown_because = 'no_rate' AND app_id = ? AND currency = ? AND COALESCE(priced_on, '') = ''
        AND collapse_key > ?
    ORDER BY collapse_key
    LIMIT ?
"};

/// Progress of an import.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The number of rates that are not stored yet.
    left: usize,
    /// The number of rates to store next, unless they affect too many purchases.
    next: usize,
}

/// The rates that one transaction stores.
struct Portion<'r> {
    rates: &'r [Rate],
    /// Purchases to recheck because of the new rates.
    purchases: BTreeSet<CollapseKey>,
}

impl Store {
    /// Stores rates and replaces those of the same day and currency. If the list has two for the same day and currency,
    /// the later one is stored. Purchases with an amount that is now converted by a different rate are rechecked, as
    /// are purchases with an amount that has not been converted yet.
    ///
    /// Rates that affect many purchases are stored in several transactions, the newest days first, so that no new rate
    /// is carried forward to days whose own new rate is not stored yet. After an error, repeating the import stores the
    /// rest.
    pub async fn put_rates(&self, app: AppId, new: Vec<Rate>) -> Result<(), Error> {
        let latest: BTreeMap<_, Rate> = new
            .into_iter()
            .map(|rate| ((rate.currency.clone(), rate.day.clone()), rate))
            .collect();
        let new: Arc<[Rate]> = latest.into_values().collect();
        let mut progress = Progress {
            left: new.len(),
            next: new.len(),
        };
        loop {
            progress = self.put_newest(app, Arc::clone(&new), progress).await?;
            if progress.left == 0 {
                break;
            }
        }
        let currencies: BTreeSet<&str> = new.iter().map(|rate| rate.currency.as_str()).collect();
        for currency in currencies {
            self.recheck_undated(app, currency).await?;
        }
        Ok(())
    }

    /// Stores the last portion of the remaining rates, which are sorted by currency and day.
    async fn put_newest(
        &self,
        app: AppId,
        new: Arc<[Rate]>,
        progress: Progress,
    ) -> Result<Progress, Error> {
        self.change("rates.put", move |write| {
            app_lock::take(write, app)?;
            require_app(write, app)?;
            let left = new.get(..progress.left).unwrap_or_default();
            let Portion { rates, purchases } =
                Portion::of(write.connection, app, left, progress.next)?;
            for chunk in rates.chunks(ROWS) {
                let values = chunk.iter().map(|Rate { day, currency, usd }| {
                    [
                        app.into(),
                        currency.as_str().into(),
                        day.as_str().into(),
                        usd.as_str().into(),
                    ]
                });
                sql(UPSERT)
                    .uncached()
                    .bind_rows(values)
                    .run(write.connection)?;
            }
            purchase::recheck_each(write, Urgency::Setting, CauseKind::ExchangeRates, purchases)?;
            let stored: BTreeMap<String, &str> = rates
                .iter()
                .map(|rate| (format!("{} {}", rate.day, rate.currency), rate.usd.as_str()))
                .collect();
            let entry = (!rates.is_empty()).then(|| AuditEntry::on(app, app).after(json!(stored)));
            let left = progress.left.saturating_sub(rates.len());
            Ok((
                Progress {
                    left,
                    next: rates.len().saturating_mul(2),
                },
                entry,
            ))
        })
        .await
    }

    /// Rechecks the purchases with unconverted payments in this currency that release 0.1.0 recorded. Their next
    /// settling converts a payment if a rate applies on its day, and records that day.
    async fn recheck_undated(&self, app: AppId, currency: &str) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let page = sql(UNDATED).bind((app, currency.to_owned(), after, RECHECKED));
            let found: Vec<CollapseKey> =
                self.read(move |connection| page.values(connection)).await?;
            let Some(last) = found.last() else {
                return Ok(());
            };
            after = last.to_string();
            let found: BTreeSet<CollapseKey> = found.into_iter().collect();
            self.change("rates.put", move |write| {
                purchase::recheck_each(
                    write,
                    Urgency::Setting,
                    CauseKind::ExchangeRates,
                    found.clone(),
                )?;
                Ok(((), None))
            })
            .await?;
        }
    }

    /// Lists the rates of a currency, the oldest day first.
    pub async fn rates(
        &self,
        app: AppId,
        currency: &str,
        page: Page,
    ) -> Result<Paged<Rate>, Error> {
        let currency = currency.to_owned();
        self.read(move |connection| {
            let after = page.cursor.clone().unwrap_or_default();
            page.read(connection, sql(LIST).bind((app, currency, after)))
        })
        .await
    }
}

impl<'r> Portion<'r> {
    /// Takes at most `most` rates from the end of the list, and so few that they affect a bounded number of purchases.
    fn of(
        connection: &mut AnyConnection,
        app: AppId,
        left: &'r [Rate],
        most: usize,
    ) -> Result<Self, Error> {
        let mut size = most.min(left.len());
        loop {
            let (_, rates) = left
                .split_at_checked(left.len().saturating_sub(size))
                .unwrap_or_default();
            let max = if size > 1 { RECHECKED } else { i64::MAX };
            if let Some(purchases) = purchases_of(connection, app, rates, max)? {
                return Ok(Self { rates, purchases });
            }
            size /= 2;
        }
    }
}

/// Returns the purchases to recheck once these rates are stored: those with an amount to which a different rate then
/// applies, and those with an amount that has not been converted yet. `None` if there are more than `max`.
fn purchases_of(
    connection: &mut AnyConnection,
    app: AppId,
    new: &[Rate],
    max: i64,
) -> Result<Option<BTreeSet<CollapseKey>>, Error> {
    let mut by_currency: BTreeMap<&str, BTreeMap<Day, Decimal>> = BTreeMap::new();
    for Rate { day, currency, usd } in new {
        let usd: Decimal = usd
            .parse()
            .map_err(|cause| Error::corrupt_by("an exchange rate is not a decimal", cause))?;
        by_currency
            .entry(currency)
            .or_default()
            .insert(rates::day(day)?, usd);
    }
    let mut purchases = BTreeSet::new();
    for (currency, new) in by_currency {
        let of_days = |text, days: &RangeInclusive<Day>| {
            sql(text).bind((
                app,
                currency,
                days.start().to_string(),
                days.end().to_string(),
            ))
        };
        let Some(days) = payment::days_of(&new) else {
            continue;
        };
        let stored: Vec<RateRow> = of_days(STORED, &days).all(connection)?;
        let stored = stored
            .into_iter()
            .map(|row| rates::day(&row.day).map(|day| (day, row.usd)));
        let stored: BTreeMap<Day, Decimal> = stored.collect::<Result<_, Error>>()?;
        let changed = payment::changed_days(&stored, &new);
        let converted = payment::converted_days(&stored, &new);
        for (text, days) in [
            (PURCHASES_WITH_SALES, &changed),
            (PURCHASES_WITH_PRICES, &changed),
            (PURCHASES_WITHOUT_RATE, &converted),
        ] {
            for days in days {
                let found = of_days(text, days)
                    .bind(max.saturating_add(1))
                    .values::<CollapseKey>(connection)?;
                purchases.extend(found);
                if i64::try_from(purchases.len()).is_ok_and(|found| found > max) {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(purchases))
}
