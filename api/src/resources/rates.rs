//! `/v1/apps/{app_id}/rates`: exchange rates to USD, per currency and day.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Body, PageQuery, Query, Stored};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{App, Paged, Rate};

/// Maximum number of rates in one request.
pub const MAX_RATES: usize = 5_000;

/// Rates of exchange.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "rates": [{ "day": "2026-01-31", "currency": "EUR", "usd": "1.08" }] }]))]
pub struct Rates {
    /// The rates.
    #[schemars(extend("maxItems" = MAX_RATES))]
    rates: Vec<NewRate>,
}

/// The worth of one unit of a currency on a day.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct NewRate {
    /// The day.
    #[schemars(extend("format" = "date"))]
    pub day: String,
    /// The currency.
    #[schemars(extend("format" = "currency"))]
    pub currency: String,
    /// Its worth in USD: a decimal, more than 0.
    #[schemars(with = "String", extend("format" = "rate"))]
    pub usd: Decimal,
}

/// Which rates.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RateQuery {
    /// The currency.
    #[schemars(extend("format" = "currency"))]
    currency: String,
    /// The page.
    #[serde(flatten)]
    page: PageQuery,
}

/// The number of stored rates.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoredRates {
    /// Their number.
    rates: usize,
}

impl From<NewRate> for Rate {
    fn from(NewRate { day, currency, usd }: NewRate) -> Self {
        Self { day, currency, usd: usd.normalize().to_string() }
    }
}

/// `PUT /v1/apps/{app_id}/rates`: adds rates, and replaces those of the same day and currency. They apply to purchases
/// that are settled from then on; purchases with lines of a sales report of such a day are settled again.
pub async fn put(edge: Acting, Stored(app): Stored<App>, Body(body): Body<Rates>) -> Result<Json<StoredRates>, Error> {
    let rates = body.rates.len();
    edge.store.put_rates(app.id, body.rates.into_iter().map(Rate::from).collect()).await?;
    Ok(Json(StoredRates { rates }))
}

/// `GET /v1/apps/{app_id}/rates?currency=EUR`, the oldest day first.
pub async fn list(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<RateQuery>,
) -> Result<Json<Paged<Rate>>, Error> {
    Ok(Json(edge.store.rates(app.id, &query.currency, query.page.page()).await?))
}
