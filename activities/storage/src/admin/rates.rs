//! Exchange rates: the worth of one unit of a currency in USD on a day. New rates apply to later settlings. Purchases
//! with a line of a sales report of that currency and day are rechecked.

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
use domain::{AppId, CollapseKey};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

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

const PURCHASES_OF_RATE: Sql = statement! {hot "sales_day", "
    SELECT DISTINCT p.collapse_key AS value
    FROM sales s
    JOIN purchases p ON p.receipt_id = s.receipt_id AND p.app_id = s.app_id
    LEFT JOIN rates r ON r.app_id = s.app_id AND r.currency = s.currency AND r.day = s.day
    WHERE s.app_id = ? AND s.currency = ? AND s.day = ? AND (r.usd IS NULL OR r.usd <> ?)
"};

impl Store {
    /// Stores rates and replaces those of the same day and currency. If the list has two for the same day and currency,
    /// the later one is stored. Purchases with a line of a sales report whose rate changes are rechecked.
    pub async fn put_rates(&self, app: AppId, rates: Vec<Rate>) -> Result<(), Error> {
        let latest: BTreeMap<_, Rate> =
            rates.into_iter().map(|rate| ((rate.currency.clone(), rate.day.clone()), rate)).collect();
        let rates: Vec<Rate> = latest.into_values().collect();
        self.change("rates.put", move |write| {
            app_lock::take(write, app)?;
            require_app(write, app)?;
            let mut affected = BTreeSet::new();
            for rate in &rates {
                affected.extend(purchases_of(write.connection, app, rate)?);
            }
            for rates in rates.chunks(ROWS) {
                let values = rates.iter().map(|Rate { day, currency, usd }| {
                    [app.into(), currency.as_str().into(), day.as_str().into(), usd.as_str().into()]
                });
                sql(UPSERT).uncached().bind_rows(values).run(write.connection)?;
            }
            for key in affected {
                purchase::recheck(write, Urgency::Setting, CauseKind::ExchangeRates, purchase::OF_KEY, [key.into()])?;
            }
            let stored: BTreeMap<String, &str> =
                rates.iter().map(|rate| (format!("{} {}", rate.day, rate.currency), rate.usd.as_str())).collect();
            let entry = (!rates.is_empty()).then(|| AuditEntry::on(app, app).after(json!(stored)));
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

/// The purchases with sales of this currency and day, unless the stored rate is the same.
fn purchases_of(connection: &mut AnyConnection, app: AppId, rate: &Rate) -> Result<Vec<CollapseKey>, Error> {
    let Rate { day, currency, usd } = rate;
    sql(PURCHASES_OF_RATE).bind(app).bind(currency.as_str()).bind(day.as_str()).bind(usd.as_str()).values(connection)
}
