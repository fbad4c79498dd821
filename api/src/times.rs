//! Durations and instants as people write them.

use domain::Timestamp;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use std::time::Duration;

/// `5s`, `2m`, `1h 30m`, `3d`; a day has 24 hours.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is not a duration (expected 5s, 2m, 1h 30m or 3d)");
    let span: Span = text.parse().map_err(|_| expected())?;
    let duration: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| expected())?;
    Duration::try_from(duration).map_err(|_| expected())
}

/// An instant (RFC 3339), or a duration counted from `now`.
pub fn instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    let expected = |_| format!("`{text}` is not a time (expected 2026-01-31T12:00:00Z, or 2h for two hours from now)");
    let ahead = duration(text).map_err(expected)?;
    Ok(now.plus_millis(millis(ahead)))
}

/// An instant (RFC 3339), or a duration counted back from `now`.
pub fn past(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    let expected = |_| format!("`{text}` is not a time (expected 2026-01-31T12:00:00Z, or 2h for two hours ago)");
    let ago = duration(text).map_err(expected)?;
    Ok(now.plus_millis(-millis(ago)))
}

/// Whole milliseconds, as the rest of the program counts them.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
