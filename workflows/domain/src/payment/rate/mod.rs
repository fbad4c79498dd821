//! Exchange rates, and which of them converts the amounts of a day. Central banks publish no rates on weekends and
//! holidays, and those of a day only in its afternoon. Therefore, a rate applies until the next one, for at most a
//! week.

#[cfg(test)]
mod tests;

use crate::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Maximum number of days after its own on which a rate still applies.
const CARRIED_DAYS: i64 = 7;

/// A day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

/// A text that was expected to be a day and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a day, such as 2026-01-31")]
pub struct InvalidDay(String);

/// The value of one unit of a currency in USD on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyRate {
    pub day: Day,
    pub usd: Decimal,
}

/// The rate that converts the amounts of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    /// The day of the amount to convert.
    pub on: Day,
    pub rate: DailyRate,
}

impl Day {
    pub fn of(at: Timestamp) -> Self {
        let instant = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
        Self(TimeZone::UTC.to_datetime(instant).date())
    }

    fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(jiff::Span::new().days(days)))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let day = text
            .parse()
            .ok()
            .map(Self)
            .filter(|day| day.to_string() == text);
        day.ok_or_else(|| InvalidDay(text.to_owned()))
    }
}

impl DailyRate {
    /// Returns the days on which this rate applies if the next rate is that of `next`.
    pub fn days(&self, next: Option<Day>) -> RangeInclusive<Day> {
        let last = self.day.plus(CARRIED_DAYS);
        self.day..=next.map_or(last, |next| last.min(next.plus(-1)))
    }
}

impl Conversion {
    /// Creates the conversion for `day` by the newest of these rates up to that day; `None` if there is none or it is
    /// more than a week older.
    pub fn on(day: Day, rates: impl IntoIterator<Item = DailyRate>) -> Option<Self> {
        let rate = rates
            .into_iter()
            .filter(|rate| rate.day <= day)
            .max_by_key(|rate| rate.day)?;
        rate.days(None)
            .contains(&day)
            .then_some(Self { on: day, rate })
    }
}

/// Returns the days from the first to the last on which one of these rates may apply; `None` without a rate.
pub fn days_of(rates: &BTreeMap<Day, Decimal>) -> Option<RangeInclusive<Day>> {
    let ((first, _), (last, usd)) = rates.first_key_value().zip(rates.last_key_value())?;
    Some(
        *first..=*DailyRate {
            day: *last,
            usd: *usd,
        }
        .days(None)
        .end(),
    )
}

/// Returns the days on which the new rates convert amounts once they are stored, including rates that are stored
/// already, as ranges that do not overlap. `stored` has the stored rates of the [`days_of`] the new ones.
pub fn converted_days(
    stored: &BTreeMap<Day, Decimal>,
    new: &BTreeMap<Day, Decimal>,
) -> Vec<RangeInclusive<Day>> {
    let others = stored
        .iter()
        .filter(|(day, _)| !new.contains_key(*day))
        .map(|(day, usd)| (*day, *usd));
    changed_days(&others.collect(), new)
}

/// Returns the days whose amounts another rate converts once the new ones are stored, as ranges that do not touch.
/// `stored` has the stored rates of the [`days_of`] the new ones.
pub fn changed_days(
    stored: &BTreeMap<Day, Decimal>,
    new: &BTreeMap<Day, Decimal>,
) -> Vec<RangeInclusive<Day>> {
    let mut ranges: Vec<RangeInclusive<Day>> = Vec::new();
    for (day, usd) in new
        .iter()
        .filter(|(day, usd)| stored.get(*day) != Some(*usd))
    {
        let next =
            |rates: &BTreeMap<Day, Decimal>| rates.range(day.plus(1)..).next().map(|(day, _)| *day);
        let next = [next(stored), next(new)].into_iter().flatten().min();
        let days = DailyRate {
            day: *day,
            usd: *usd,
        }
        .days(next);
        match ranges.last_mut() {
            Some(last) if last.end().plus(1) == *day => *last = *last.start()..=*days.end(),
            _ => ranges.push(days),
        }
    }
    ranges
}
