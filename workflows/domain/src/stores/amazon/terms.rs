//! Terms by the calendar: the n-th term ends n terms after the anchor. Terms are not chained to the end of the previous
//! term, because one month without that day (the 31st) would then move all later ends.

use crate::purchase::{Origin, Terms};
use crate::time::{HOUR, Timestamp};
use crate::verification::{Term, Unit};
use std::time::Duration;

/// The trials that the store sells, the shortest first (<https://developer.amazon.com/docs/in-app-purchasing>).
pub(super) const TRIALS: [Term; 5] = [
    Term {
        count: 7,
        unit: Unit::Day,
    },
    Term {
        count: 14,
        unit: Unit::Day,
    },
    Term {
        count: 1,
        unit: Unit::Month,
    },
    Term {
        count: 2,
        unit: Unit::Month,
    },
    Term {
        count: 3,
        unit: Unit::Month,
    },
];

const DAY_MICROS: i64 = 86_400_000_000;

/// How much earlier than its date the store may renew.
const EARLY_MICROS: i64 = DAY_MICROS / 2;

/// How much earlier than counted a term can begin if the anchor fell into a short month: the anchor is the 28th instead
/// of the 31st, or the other way round.
const CLAMPED_MICROS: i64 = 7 * DAY_MICROS / 2;

impl Terms {
    /// Whether a scheduled change at `date` can still begin another row, since this row did not begin with that change.
    /// A row whose anchor is a shown renewal did not begin at its anchor.
    pub(super) fn is_open(&self, date: Timestamp) -> bool {
        self.anchor != date || self.origin == Origin::Renewal
    }

    /// Returns the number of the term that ends at the boundary nearest to `date`; `None` if that is before the end of
    /// the first term, as for the accelerated terms of the sandbox.
    pub(super) fn ending(&self, date: Timestamp) -> Option<u64> {
        let nearest = self.nearest(date);
        let number = self.number(nearest);
        let is_end = nearest > 0 || self.origin == Origin::Renewal;
        (is_end && number > 0).then_some(number)
    }

    /// Returns the number of terms that have ended at the boundary nearest to `date`, including those before this row.
    pub(super) fn elapsed(&self, date: Timestamp) -> u64 {
        self.number(self.nearest(date))
    }

    /// Returns how much earlier than its date the store may renew: half a day, but at most a quarter of a term.
    pub(super) fn renewal_lead(&self) -> Duration {
        Duration::from_micros(EARLY_MICROS.min(self.micros() / 4).unsigned_abs())
    }

    /// Returns the number of the term that contains `time`; `before` if `time` precedes all terms of the row.
    pub(super) fn begun(&self, time: Timestamp) -> u64 {
        let nearest = self.nearest(time);
        let has_begun = self.boundary(nearest).is_some_and(|begin| begin <= time);
        self.number(nearest).saturating_add(u64::from(has_begun))
    }

    /// Returns the number of the term that contains `time`, where `time` is a report of its beginning and may be a
    /// little early.
    pub(super) fn containing(&self, time: Timestamp) -> u64 {
        let early = match (self.origin, self.term.unit) {
            (Origin::Purchase | Origin::Renewal, Unit::Month | Unit::Year) => CLAMPED_MICROS,
            _ => EARLY_MICROS,
        };
        self.begun(Timestamp::from_micros(
            time.micros().saturating_add(early.min(self.micros() / 4)),
        ))
    }

    /// Returns when the term with this number ends.
    pub(super) fn end(&self, number: u64) -> Option<Timestamp> {
        let places = i64::try_from(number)
            .ok()?
            .checked_sub_unsigned(self.before)?;
        self.boundary(places).filter(|_| places >= self.first())
    }

    /// Whether a term ends within two hours of `date`.
    pub(super) fn is_end(&self, date: Timestamp) -> bool {
        let near = |end: Timestamp| end.distance(date) <= HOUR * 2;
        self.boundary(self.nearest(date)).is_some_and(near)
    }

    /// Returns the distance of the boundary nearest to `date` from the anchor, in terms.
    fn nearest(&self, date: Timestamp) -> i64 {
        let passed = date.micros().saturating_sub(self.anchor.micros());
        let about = passed.div_euclid(self.micros().max(1));
        let around = about.saturating_sub(1)..=about.saturating_add(2);
        let distance = |n: &i64| {
            self.boundary(*n)
                .map_or(u64::MAX, |end| end.micros().abs_diff(date.micros()))
        };
        around
            .filter(|n| *n >= self.first())
            .min_by_key(distance)
            .unwrap_or_else(|| self.first())
    }

    /// Returns the number of the term that ends `places` terms from the anchor.
    fn number(&self, places: i64) -> u64 {
        self.before.saturating_add_signed(places)
    }

    /// Returns the first boundary of the row, in terms from the anchor.
    fn first(&self) -> i64 {
        match self.origin {
            Origin::Renewal => i64::try_from(self.before).map_or(i64::MIN, |before| -before),
            Origin::Seen | Origin::Purchase => 0,
        }
    }

    /// Returns the boundary `places` terms from the anchor.
    fn boundary(&self, places: i64) -> Option<Timestamp> {
        self.term.after(self.anchor, places)
    }

    /// Returns the approximate length of one term in microseconds.
    fn micros(&self) -> i64 {
        let unit = match self.term.unit {
            Unit::Day => DAY_MICROS,
            Unit::Week => 7 * DAY_MICROS,
            Unit::Month => DAY_MICROS / 16 * 487,
            Unit::Year => DAY_MICROS / 4 * 1461,
        };
        unit.saturating_mul(i64::from(self.term.count.max(1)))
    }
}

impl Term {
    /// Returns the date `times` terms after `begin`. If the month lacks that day, the date is the month's last day.
    pub(super) fn after(self, begin: Timestamp, times: i64) -> Option<Timestamp> {
        let count = times.checked_mul(i64::from(self.count))?;
        let span = match self.unit {
            Unit::Day => jiff::Span::new().try_days(count),
            Unit::Week => jiff::Span::new().try_weeks(count),
            Unit::Month => jiff::Span::new().try_months(count),
            Unit::Year => jiff::Span::new().try_years(count),
        };
        let begin = jiff::Timestamp::from_microsecond(begin.micros()).ok()?;
        let date = jiff::tz::TimeZone::UTC
            .to_datetime(begin)
            .checked_add(span.ok()?)
            .ok()?;
        let instant = jiff::tz::TimeZone::UTC.to_timestamp(date).ok()?;
        Some(Timestamp::from_micros(instant.as_microsecond()))
    }
}

/// Returns the date one term after `begin`, for tests of other modules.
#[cfg(test)]
pub(crate) fn next_date(term: Term, begin: Timestamp) -> Option<Timestamp> {
    term.after(begin, 1)
}
