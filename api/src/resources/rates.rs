//! `/v1/apps/{app_id}/rates`: exchange rates to USD, per currency and day.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Draft, FieldErrors, PageQuery, Query, Stored};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use domain::Timestamp;
use domain::time::DAY;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{App, Paged, Rate};

/// Maximum number of exchange rates in one request.
pub const MAX_RATES: usize = 5_000;

/// Number of characters in a date such as `2026-01-31`.
const DAY_CHARS: usize = 10;

/// Exchange rates to add.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "rates": [{ "day": "2026-01-31", "currency": "EUR", "usd": "1.08" }] }]))]
pub struct Rates {
    /// Exchange rates by day and currency.
    #[schemars(extend("maxItems" = MAX_RATES))]
    rates: Vec<NewRate>,
}

/// The value in USD of one unit of a currency on one day.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct NewRate {
    /// Day of the rate, tomorrow (UTC) at the latest.
    #[schemars(extend("format" = "date"))]
    pub day: String,
    /// Currency; not USD, whose rate is 1.
    #[schemars(extend("format" = "currency"))]
    pub currency: String,
    /// Value in USD: a decimal from 0.000000001 to 1000000.
    #[schemars(with = "String", extend("format" = "rate"))]
    pub usd: Decimal,
}

/// Filter of exchange rates.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RateQuery {
    /// ISO 4217 code of the currency.
    #[schemars(extend("format" = "currency"))]
    currency: String,
    /// The page.
    #[serde(flatten)]
    page: PageQuery,
}

/// Result of adding exchange rates.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoredRates {
    /// Number of stored rates.
    rates: usize,
}

impl Rates {
    fn check(&self, now: Timestamp, wrong: &mut FieldErrors) {
        for (at, rate) in self.rates.iter().enumerate() {
            for (field, expected) in rate.mistakes(now) {
                wrong.add(&format!("rates[{at}].{field}"), expected);
            }
        }
    }
}

impl NewRate {
    /// Returns the errors that the schema cannot express, each with the field and its expected value.
    pub fn mistakes(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let tomorrow: String = now.plus(DAY).to_string().chars().take(DAY_CHARS).collect();
        let is_late = self.day > tomorrow;
        let of_day = is_late.then(|| {
            (
                "day",
                format!(
                    "a day no later than tomorrow, {tomorrow}, but it is `{}`",
                    self.day
                ),
            )
        });
        let is_usd = self.currency == "USD";
        let of_usd = is_usd.then(|| {
            (
                "currency",
                "a currency other than USD, whose rate is always 1".to_owned(),
            )
        });
        of_day.into_iter().chain(of_usd).collect()
    }
}

impl From<NewRate> for Rate {
    fn from(NewRate { day, currency, usd }: NewRate) -> Self {
        Self {
            day,
            currency,
            usd: usd.normalize().to_string(),
        }
    }
}

/// `PUT /v1/apps/{app_id}/rates`: adds rates, and replaces those of the same day and currency. They apply to purchases
/// settled from then on; purchases with amounts that these rates convert are settled again.
pub async fn put(
    edge: Acting,
    Stored(app): Stored<App>,
    mut draft: Draft<Rates>,
) -> Result<Json<StoredRates>, Error> {
    draft.body.check((edge.clock)(), &mut draft.wrong);
    let body = draft.finish()?;
    let rates = body.rates.len();
    edge.store
        .put_rates(app.id, body.rates.into_iter().map(Rate::from).collect())
        .await?;
    Ok(Json(StoredRates { rates }))
}

/// `GET /v1/apps/{app_id}/rates?currency=EUR`, oldest day first.
pub async fn list(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<RateQuery>,
) -> Result<Json<Paged<Rate>>, Error> {
    Ok(Json(
        edge.store
            .rates(app.id, &query.currency, query.page.page())
            .await?,
    ))
}

/// Day of the rate that converts an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateDay {
    /// Rate of the amount's own day.
    Own,
    /// Rate of an earlier day.
    Carried,
}

impl RateDay {
    pub const fn of(is_rate_carried: bool) -> Self {
        if is_rate_carried {
            Self::Carried
        } else {
            Self::Own
        }
    }
}

/// Returns a phrase about the exchange rate that converts an amount.
pub fn rate_sentence(day: &str, of: RateDay) -> String {
    match of {
        RateDay::Own => format!("exchange rate of {day}"),
        RateDay::Carried => format!("exchange rate of {day}, carried forward"),
    }
}

#[cfg(test)]
mod tests {
    use super::NewRate;
    use domain::Timestamp;
    use rust_decimal::Decimal;

    #[test]
    fn a_rate_is_of_a_known_day_and_not_of_the_dollar() {
        let now: Timestamp = "2026-01-31T23:59:59Z".parse().unwrap();
        for (day, currency, wrong) in [
            ("2026-01-31", "EUR", &[][..]),
            ("2026-02-01", "EUR", &[]),
            ("2026-02-02", "EUR", &["day"]),
            ("9999-12-31", "USD", &["day", "currency"]),
            ("2026-01-31", "USD", &["currency"]),
        ] {
            let rate = NewRate {
                day: day.to_owned(),
                currency: currency.to_owned(),
                usd: Decimal::ONE,
            };
            let found: Vec<_> = rate
                .mistakes(now)
                .into_iter()
                .map(|(field, _)| field)
                .collect();
            assert_eq!(found, wrong, "{day} {currency}");
        }
    }
}
