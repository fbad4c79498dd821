//! Exchange rates: the worth of one unit of a currency in USD on a day. `domain` decides on which days a rate counts. New
//! rates apply to later settlings; purchases with an amount of a day on which another rate counts now are rechecked.

use crate::admin::platforms::require_app;
use crate::db::audit_log::AuditEntry;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase::{self, Urgency};
use crate::settings::app_lock;
use crate::settings::rates::{self, RateRow};
use domain::payment::{self, Day};
use domain::{AppId, CollapseKey};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Maximum number of rows per statement.
const ROWS: usize = 500;

row! {
    /// One rate.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct Rate {
        /// The day, such as `2026-01-31`.
        pub day: String,
        /// ISO 4217, three capital letters.
        pub currency: String,
        /// A decimal, as text.
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

const STORED: Sql =
    statement!("SELECT day, usd FROM rates WHERE app_id = ? AND currency = ? AND day >= ? AND day <= ?");
/// `|| ''` keeps SQLite, which has no statistics, from reading all purchases of the app.
const PURCHASES_WITH_SALES: Sql = statement! {hot "sales_day", "
    SELECT DISTINCT p.collapse_key AS value
    FROM sales s
    JOIN purchases p ON p.receipt_id = s.receipt_id AND p.app_id || '' = s.app_id
    WHERE s.app_id = ? AND s.currency = ? AND s.day >= ? AND s.day <= ?
"};
const PURCHASES_WITH_PRICES: Sql = statement! {hot "payments_priced_on", "
    SELECT DISTINCT m.collapse_key AS value
    FROM payments m
    WHERE m.priced_on IS NOT NULL AND m.app_id = ? AND m.currency = ? AND m.priced_on >= ? AND m.priced_on <= ?
"};

impl Store {
    /// Stores rates and replaces those of the same day and currency. If the list has two for the same day and currency,
    /// the later one is stored. Purchases with an amount that another rate converts now are rechecked.
    pub async fn put_rates(&self, app: AppId, new: Vec<Rate>) -> Result<(), Error> {
        let latest: BTreeMap<_, Rate> =
            new.into_iter().map(|rate| ((rate.currency.clone(), rate.day.clone()), rate)).collect();
        let new: Vec<Rate> = latest.into_values().collect();
        self.change("rates.put", move |write| {
            app_lock::take(write, app)?;
            require_app(write, app)?;
            let affected = purchases_of(write.connection, app, &new)?;
            for chunk in new.chunks(ROWS) {
                let values = chunk.iter().map(|Rate { day, currency, usd }| {
                    [app.into(), currency.as_str().into(), day.as_str().into(), usd.as_str().into()]
                });
                sql(UPSERT).uncached().bind_rows(values).run(write.connection)?;
            }
            purchase::recheck_each(write, Urgency::Setting, CauseKind::ExchangeRates, affected)?;
            let stored: BTreeMap<String, &str> =
                new.iter().map(|rate| (format!("{} {}", rate.day, rate.currency), rate.usd.as_str())).collect();
            let entry = (!new.is_empty()).then(|| AuditEntry::on(app, app).after(json!(stored)));
            Ok(((), entry))
        })
        .await
    }

    /// The rates of a currency, the oldest day first.
    pub async fn rates(&self, app: AppId, currency: &str, page: Page) -> Result<Paged<Rate>, Error> {
        let currency = currency.to_owned();
        self.read(move |connection| {
            let after = page.cursor.clone().unwrap_or_default();
            page.read(connection, sql(LIST).bind(app).bind(currency).bind(after))
        })
        .await
    }
}

/// The purchases with amounts of days on which another rate counts once these are stored.
fn purchases_of(connection: &mut AnyConnection, app: AppId, new: &[Rate]) -> Result<BTreeSet<CollapseKey>, Error> {
    let mut by_currency: BTreeMap<&str, BTreeMap<Day, Decimal>> = BTreeMap::new();
    for Rate { day, currency, usd } in new {
        let usd: Decimal =
            usd.parse().map_err(|cause| Error::corrupt_by("an exchange rate is not a decimal", cause))?;
        by_currency.entry(currency).or_default().insert(rates::day(day)?, usd);
    }
    let mut purchases = BTreeSet::new();
    for (currency, new) in by_currency {
        let of_days = |text, days: &RangeInclusive<Day>| {
            sql(text).bind(app).bind(currency).bind(days.start().to_string()).bind(days.end().to_string())
        };
        let Some(days) = payment::days_of(&new) else { continue };
        let stored: Vec<RateRow> = of_days(STORED, &days).all(connection)?;
        let stored = stored.into_iter().map(|row| rates::day(&row.day).map(|day| (day, row.usd)));
        let stored: BTreeMap<Day, Decimal> = stored.collect::<Result<_, Error>>()?;
        for days in payment::changed_days(&stored, &new) {
            for text in [PURCHASES_WITH_SALES, PURCHASES_WITH_PRICES] {
                purchases.extend(of_days(text, &days).values::<CollapseKey>(connection)?);
            }
        }
    }
    Ok(purchases)
}
