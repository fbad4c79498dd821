//! The exchange rate that converts an amount. `admin` stores rates.

use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::AppId;
use domain::payment::{Conversion, DailyRate, Day};
use rust_decimal::Decimal;

row! {
    /// A rate of a currency.
    pub struct RateRow {
        pub day: String,
        pub usd: Decimal,
    }
}

/// An earlier one does not count: it ended with this one.
const NEWEST: Sql = statement! {"
    SELECT day, usd
    FROM rates
    WHERE app_id = ? AND currency = ? AND day <= ?
    ORDER BY day DESC
    LIMIT 1
"};

/// Returns the conversion of an amount in a currency and on a day to USD.
pub fn conversion(
    connection: &mut AnyConnection,
    app: AppId,
    currency: &str,
    on: Day,
) -> Result<Option<Conversion>, Error> {
    let newest = sql(NEWEST).bind((app, currency.to_ascii_uppercase(), on.to_string()));
    let newest: Option<RateRow> = newest.first(connection)?;
    let rate = newest
        .map(|RateRow { day, usd }| rate(&day, usd))
        .transpose()?;
    Ok(Conversion::on(on, rate))
}

/// Returns a rate as it is stored.
pub fn rate(day: &str, usd: Decimal) -> Result<DailyRate, Error> {
    Ok(DailyRate {
        day: self::day(day)?,
        usd,
    })
}

/// Returns a day as it is stored.
pub fn day(text: &str) -> Result<Day, Error> {
    text.parse()
        .map_err(|cause| Error::corrupt_by("the day of an exchange rate is not one", cause))
}
