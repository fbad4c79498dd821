//! The exchange rate that converts an amount. `admin` stores rates.

use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
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

/// Selects the newest rate up to a day. No earlier rate counts: each ends when the next one begins.
const NEWEST: Sql = statement! {"
    SELECT day, usd
    FROM rates
    WHERE app_id = ? AND currency = ? AND day <= ?
    ORDER BY day DESC
    LIMIT 1
"};

/// Returns the conversion to USD of an amount in this currency on this day; `None` without a rate that counts.
pub fn conversion(
    connection: &mut AnyConnection,
    app: AppId,
    currency: &str,
    on: Day,
) -> Result<Option<Conversion>, Error> {
    conversion_ahead(connection, app, currency, on)?.fetch(connection)
}

/// A conversion to USD on a day, which is fetched later.
pub struct ConversionAhead {
    on: Day,
    newest: Ahead<'static, RateRow>,
}

/// Like [`conversion`], but the rate is fetched later.
pub fn conversion_ahead(
    connection: &mut AnyConnection,
    app: AppId,
    currency: &str,
    on: Day,
) -> Result<ConversionAhead, Error> {
    let newest = sql(NEWEST).bind((app, currency.to_ascii_uppercase(), on.to_string()));
    Ok(ConversionAhead {
        on,
        newest: newest.ahead(connection)?,
    })
}

impl ConversionAhead {
    /// Returns the conversion; `None` without a rate that counts.
    pub fn fetch(self, connection: &mut AnyConnection) -> Result<Option<Conversion>, Error> {
        let newest = self.newest.first(connection)?;
        let rate = newest
            .map(|RateRow { day, usd }| rate(&day, usd))
            .transpose()?;
        Ok(Conversion::on(self.on, rate))
    }
}

/// Parses a stored rate.
pub fn rate(day: &str, usd: Decimal) -> Result<DailyRate, Error> {
    Ok(DailyRate {
        day: self::day(day)?,
        usd,
    })
}

/// Parses a stored day.
pub fn day(text: &str) -> Result<Day, Error> {
    text.parse()
        .map_err(|cause| Error::corrupt_by("the day of an exchange rate is not one", cause))
}
