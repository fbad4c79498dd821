//! Durations and instants as text.

use domain::Timestamp;
use domain::time::millis;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use std::time::Duration;

/// Parses a duration such as `5s`, `2m`, `1h 30m` or `3d`; a day has 24 hours.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected =
        || format!("`{text}` is not a duration (expected one such as 5s, 2m, 1h 30m or 3d)");
    let span: Span = text.parse().map_err(|_| expected())?;
    let duration: SignedDuration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| expected())?;
    Duration::try_from(duration).map_err(|_| expected())
}

/// Returns an instant in UTC to the second, without a time zone.
pub fn to_second(time: Timestamp) -> String {
    let text = time.to_string();
    let (day, rest) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {}", rest.get(..8).unwrap_or_default())
}

/// Parses an instant (RFC 3339), a day in UTC, `today`, `yesterday` or `tomorrow`, or a duration counted from `now`.
pub fn instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let ahead = || duration(text).map(|ahead| now.plus_millis(millis(ahead)));
    stated(text, now)
        .map_or_else(ahead, Ok)
        .map_err(|_| no_time(text, "two hours from now"))
}

/// Parses an instant like [`instant`], but subtracts a duration from `now`.
pub fn past(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let ago = || duration(text).map(|ago| now.plus_millis(-millis(ago)));
    stated(text, now)
        .map_or_else(ago, Ok)
        .map_err(|_| no_time(text, "two hours ago"))
}

/// Returns the instant that a text names directly; a day is its midnight in UTC.
fn stated(text: &str, now: Timestamp) -> Option<Timestamp> {
    const DAY_MS: i64 = 86_400_000;
    let today = Timestamp::from_millis(now.micros().div_euclid(DAY_MS * 1000) * DAY_MS);
    match text {
        "today" => Some(today),
        "yesterday" => Some(today.plus_millis(-DAY_MS)),
        "tomorrow" => Some(today.plus_millis(DAY_MS)),
        _ => text
            .parse()
            .or_else(|_| format!("{text}T00:00:00Z").parse())
            .ok(),
    }
}

fn no_time(text: &str, example: &str) -> String {
    format!(
        "`{text}` is not a time (expected 2026-01-31T12:00:00Z, a day such as 2026-01-31, yesterday, or 2h for {example})"
    )
}

/// Returns a duration in short form: `5s`, `2m`, `1h 30m`.
pub fn compact(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let parts = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")]
        .into_iter()
        .filter_map(|(size, unit)| {
            let count = rest / size;
            rest %= size;
            (count > 0).then(|| format!("{count}{unit}"))
        });
    let parts = parts.collect::<Vec<_>>().join(" ");
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        parts
    }
}

/// Returns a duration as a countdown: `1:58` or `1:00:00`.
pub fn countdown(duration: Duration) -> String {
    // Rounded up to whole seconds.
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::{compact, countdown};
    use std::time::Duration;

    #[test]
    fn durations_are_written_as_people_and_clocks_do() {
        for (seconds, text, clock) in [
            (0, "0s", "0:00"),
            (118, "1m 58s", "1:58"),
            (120, "2m", "2:00"),
            (5400, "1h 30m", "1:30:00"),
        ] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(
                (compact(duration).as_str(), countdown(duration).as_str()),
                (text, clock)
            );
        }
        assert_eq!(countdown(Duration::from_millis(4001)), "0:05");
    }
}
