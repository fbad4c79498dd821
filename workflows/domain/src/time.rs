//! Instants in UTC with microseconds, and units of duration. Nothing here reads a clock.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);

/// How far ahead of the current time a stored time may lie that was the current time when it was stored: a transaction
/// uses the time of its beginning, and may see what a later one stored.
pub const OVERLAP: Duration = Duration::from_secs(20);

/// Minimum and maximum delay before a write that the database permanently refuses is retried.
const REFUSED_WAITS: [Duration; 2] = [MINUTE, MINUTE.saturating_mul(5)];

/// Returns how long a write that the database permanently refuses waits for its next retry, after it has waited for
/// `waited`.
pub fn refused_wait(waited: Duration) -> Duration {
    let [least, most] = REFUSED_WAITS;
    (waited / 4).clamp(least, most)
}

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text that was expected to be an RFC 3339 instant and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time (expected RFC 3339, such as 2026-01-31T12:00:00Z)")]
pub struct InvalidTimestamp(String);

/// 9999-12-30, the last day that RFC 3339 can write in every offset.
const LATEST_MICROS: i64 = 253_402_128_000_000_000;
/// 0001-01-02, the corresponding first day.
const EARLIEST_MICROS: i64 = -62_135_510_400_000_000;

impl Timestamp {
    pub const EARLIEST: Self = Self(EARLIEST_MICROS);

    /// Creates an instant from microseconds since 1970, clamped to the years 1 to 9999.
    pub const fn from_micros(micros: i64) -> Self {
        if micros > LATEST_MICROS {
            Self(LATEST_MICROS)
        } else if micros < EARLIEST_MICROS {
            Self(EARLIEST_MICROS)
        } else {
            Self(micros)
        }
    }

    /// Creates an instant from milliseconds since 1970, clamped to the years 1 to 9999.
    pub const fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1000))
    }

    /// Returns the microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Returns this instant plus `millis` milliseconds, clamped.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self::from_micros(self.0.saturating_add(millis.saturating_mul(1000)))
    }

    /// Returns this instant plus a duration, clamped.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_micros(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns this instant minus a duration, clamped.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_micros(
            self.0
                .saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the duration from `earlier` to this instant; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns a stored time; `None` if it lies further ahead of `now` than `longest`, the maximum when it was stored,
    /// plus [`OVERLAP`]. In that case, the clock was set back and the time is meaningless: whatever waits for it is due
    /// now.
    pub fn unless_ahead(self, longest: Duration, now: Self) -> Option<Self> {
        (self.since(now) <= longest.saturating_add(OVERLAP)).then_some(self)
    }

    /// Returns the duration between two instants in either order.
    pub const fn distance(self, other: Self) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }

    /// Returns the milliseconds from `earlier` to this instant, rounded towards zero; negative if `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0) / 1000
    }

    /// Formats as RFC 3339 with the offset in digits, as some documented fields require.
    pub fn with_offset(self) -> String {
        format!("{}+00:00", self.to_string().trim_end_matches('Z'))
    }
}

impl fmt::Display for Timestamp {
    /// Formats as RFC 3339 with six decimals and `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => write!(f, "{instant:.6}"),
            Err(_) => f.write_str("1970-01-01T00:00:00.000000Z"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        text.parse::<jiff::Timestamp>()
            .map(|instant| Self::from_micros(instant.as_microsecond()))
            .map_err(|_| InvalidTimestamp(text.to_owned()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Returns the milliseconds of a duration, clamped.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Converts milliseconds to a duration; a negative number becomes zero.
pub fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Returns the milliseconds of a duration, clamped and rounded up, so that a remaining window is never written as zero.
fn millis_up(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// Serializes a duration as a whole number of milliseconds, rounded up; a negative number is read as zero.
#[expect(clippy::missing_errors_doc, reason = "serde calls these")]
pub mod as_millis {
    use super::{Deserialize, Deserializer, Duration, Serializer, duration, millis_up};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(millis_up(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        i64::deserialize(deserializer).map(duration)
    }
}

/// Like [`as_millis`], but the duration can be null.
#[expect(clippy::missing_errors_doc, reason = "serde calls these")]
pub mod as_optional_millis {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, duration, millis_up};

    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(millis_up).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::deserialize(deserializer).map(|ms: Option<i64>| ms.map(duration))
    }
}
