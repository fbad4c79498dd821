//! Rates of exchange: what one unit of a currency was worth in USD on a day. They hold for settlings from then on, and
//! purchases that a sales report has on such a day are settled again.

use crate::admin::platforms::require_app;
use crate::admin::sales;
use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::purchases::purchase;
use domain::AppId;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of rows per statement.
const ROWS: usize = 500;

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

row! {
    struct RateRow {
        day: String,
        currency: String,
        usd: String,
    }
}

const UPSERT: Sql = statement! {"
    INSERT INTO rates (app_id, currency, day, usd)
    VALUES ?*
    ON CONFLICT (app_id, currency, day) DO UPDATE SET usd = excluded.usd
"};

const LIST: Sql = statement! {"
    SELECT day, currency, usd
    FROM rates
    WHERE app_id = ? AND currency = ? AND day > ?
    ORDER BY day
    LIMIT ?
"};

impl Store {
    /// Stores rates, in the place of those of the same day and currency. Of two for the same the later one holds.
    /// Purchases with lines of a sales report of these currencies and days are rechecked.
    pub async fn put_rates(&self, app: AppId, rates: Vec<Rate>) -> Result<(), Error> {
        let latest: BTreeMap<(String, String), String> =
            rates.into_iter().map(|rate| ((rate.currency, rate.day), rate.usd)).collect();
        let rows: Vec<((String, String), String)> = latest.into_iter().collect();
        self.write(move |write| {
            require_app(write, app)?;
            sales::lock_app(write, app)?;
            let mut concerned = BTreeSet::new();
            for ((currency, day), usd) in &rows {
                concerned.extend(sales::rated(write.connection, app, (currency, day, usd))?);
            }
            for rows in rows.chunks(ROWS) {
                let values = rows.iter().map(|((currency, day), usd)| {
                    [app.into(), currency.as_str().into(), day.as_str().into(), usd.as_str().into()]
                });
                sql(UPSERT).once().bind_rows(values).run(write.connection)?;
            }
            for key in concerned {
                purchase::recheck(write, purchase::OF_KEY, [key.into()])?;
            }
            Ok(())
        })
        .await
    }

    /// The rates of a currency, the oldest day first.
    pub async fn rates(&self, app: AppId, currency: &str, page: Page) -> Result<Paged<Rate>, Error> {
        let currency = currency.to_owned();
        self.read(move |connection| {
            let rows: Vec<RateRow> = sql(LIST)
                .bind(app)
                .bind(currency)
                .bind(page.cursor.clone().unwrap_or_default())
                .bind(page.size() + 1)
                .all(connection)?;
            let rate = |row: RateRow| Ok(Rate { day: row.day, currency: row.currency, usd: row.usd });
            Paged::cut(rows, page.size(), |row| row.day.clone(), rate)
        })
        .await
    }
}
