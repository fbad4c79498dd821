//! Terms by the calendar: the n-th term ends n terms after the anchor. It is never added to the end of the
//! term before it, since a month that is too short for the day must not move all later ones.

use crate::reading::{Term, Unit};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One unbroken row of equal terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// When the first of them began.
    pub anchor: Timestamp,
    /// How long each lasts.
    pub term: Term,
    /// How many terms of another length there were before.
    pub before: u64,
}

const DAY_MICROS: i64 = 86_400_000_000;

/// How much earlier than its date the store may renew.
const EARLY_MICROS: i64 = DAY_MICROS / 2;

impl Terms {
    /// The number of the term that ends at the boundary nearest to `date`; `None` when that is before the
    /// first term's end, as with the shortened terms of a test.
    pub fn ending(&self, date: Timestamp) -> Option<u64> {
        let nearest = self.nearest(date);
        (nearest > 0).then(|| self.before.saturating_add(nearest))
    }

    /// How many terms ended at the boundary nearest to `date`; none of this row at its anchor.
    pub fn elapsed(&self, date: Timestamp) -> u64 {
        self.before.saturating_add(self.nearest(date))
    }

    /// How much earlier than its date the store may renew, in milliseconds.
    pub fn early_ms(&self) -> i64 {
        EARLY_MICROS.min(self.micros() / 4) / 1000
    }

    /// The number of the term in which `time` lies; `before` when it is earlier than all of them.
    pub fn begun(&self, time: Timestamp) -> u64 {
        let nearest = self.nearest(time);
        let has_begun = self.boundary(nearest).is_some_and(|begin| begin <= time);
        self.before.saturating_add(nearest).saturating_add(u64::from(has_begun))
    }

    /// The same, for a word that tells the beginning of a term and may be a little early.
    pub fn containing(&self, time: Timestamp) -> u64 {
        let early = EARLY_MICROS.min(self.micros() / 4);
        self.begun(Timestamp::from_micros(time.micros().saturating_add(early)))
    }

    /// When the term with this number ends.
    pub fn end(&self, number: u64) -> Option<Timestamp> {
        self.boundary(number.checked_sub(self.before)?)
    }

    /// Whether `date` is an end of a term, give or take two hours.
    pub fn is_end(&self, date: Timestamp) -> bool {
        let near = |end: Timestamp| end.millis_since(date).abs() <= 2 * 3_600_000;
        self.boundary(self.nearest(date)).is_some_and(near)
    }

    /// How many whole terms after the anchor the boundary lies that is nearest to `date`.
    fn nearest(&self, date: Timestamp) -> u64 {
        let passed = date.micros().saturating_sub(self.anchor.micros());
        let about = u64::try_from(passed / self.micros().max(1)).unwrap_or(0);
        let around = about.saturating_sub(1)..=about.saturating_add(2);
        let distance = |n: &u64| self.boundary(*n).map_or(u64::MAX, |end| end.micros().abs_diff(date.micros()));
        around.min_by_key(distance).unwrap_or(0)
    }

    /// `n` terms after the anchor. A day that the month does not have becomes its last.
    fn boundary(&self, n: u64) -> Option<Timestamp> {
        let count = i64::try_from(n).ok()?.checked_mul(i64::from(self.term.count))?;
        let span = match self.term.unit {
            Unit::Day => jiff::Span::new().try_days(count),
            Unit::Week => jiff::Span::new().try_weeks(count),
            Unit::Month => jiff::Span::new().try_months(count),
            Unit::Year => jiff::Span::new().try_years(count),
        };
        let anchor = jiff::Timestamp::from_microsecond(self.anchor.micros()).ok()?;
        let date = jiff::tz::TimeZone::UTC.to_datetime(anchor).checked_add(span.ok()?).ok()?;
        let instant = jiff::tz::TimeZone::UTC.to_timestamp(date).ok()?;
        Some(Timestamp::from_micros(instant.as_microsecond()))
    }

    /// About how long one term lasts.
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
