//! `/v1/apps/{app_id}/rates`: what one unit of a currency was worth in USD on a day.

use super::catalogue::{currency, decimal};
use super::{Body, Fields, Id, Query};
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::AppId;
use serde_json::{Value, json};
use storage::{Paged, Rate};

/// So many rates are taken at a time.
pub const MOST: usize = 5_000;

/// `PUT /v1/apps/{app_id}/rates`: adds rates, in the place of those of the same day and currency. They hold for what
/// is settled from then on.
pub async fn put(State(edge): State<Shared>, Id(app): Id<AppId>, Body(mut fields): Body) -> Result<Json<Value>, Error> {
    edge.store.app(app).await?;
    let rates = fields.required_objects("rates", MOST, rate);
    fields.finish()?;
    let count = rates.len();
    edge.store.put_rates(app, rates).await?;
    Ok(Json(json!({ "rates": count })))
}

/// `GET /v1/apps/{app_id}/rates?currency=EUR`, the oldest day first.
pub async fn list(
    State(edge): State<Shared>,
    Id(app): Id<AppId>,
    Query(mut fields): Query,
) -> Result<Json<Paged<Rate>>, Error> {
    edge.store.app(app).await?;
    let currency = currency(&mut fields);
    let page = fields.page();
    fields.finish()?;
    Ok(Json(edge.store.rates(app, &currency, page).await?))
}

/// One rate; what is wrong in it is noted.
pub fn rate(fields: &mut Fields) -> Rate {
    let day = fields.required_text("day");
    if !day.is_empty() && (day.len() != 10 || day.parse::<jiff::civil::Date>().is_err()) {
        fields.wrong("day", format!("a day such as 2026-01-31, and it is `{day}`"));
    }
    let currency = currency(fields);
    let usd = decimal(fields, "usd");
    if usd.is_some_and(|usd| usd.is_zero()) {
        fields.wrong("usd", "what one unit was worth in USD, more than 0");
    }
    Rate { day, currency, usd: usd.map(|usd| usd.normalize().to_string()).unwrap_or_default() }
}
