//! The time of the next attempt after a failed one, by the destination's schedule or by the response's `Retry-After`.
//!
//! This module is pure: random numbers and the time are arguments. Each kind of destination decides what a status
//! means.

use super::invalid::Invalid;
use domain::Timestamp;
use domain::time::DAY;
use std::time::{Duration, UNIX_EPOCH};

#[cfg(test)]
mod tests;

const SECOND_MS: i64 = 1000;
const HOUR_MS: i64 = 3600 * SECOND_MS;
/// Maximum length of the default pause of a whole destination. The default is the pause without a `Retry-After`, and
/// the minimum with one.
const MAX_DEFAULT_PAUSE_MS: i64 = 30 * SECOND_MS;
/// Maximum length of a schedule, in days.
pub const LONGEST_DAYS: u32 = 8;
const MAX_SECONDS: i64 = LONGEST_DAYS as i64 * 24 * 3600;
/// Maximum number of waits in a schedule.
const MAX_WAITS: usize = 100;
/// [`LONGEST_DAYS`] as a text for errors.
const LONGEST: &str = "together at most 691200 (8 days)";

/// The default waits in seconds, as Standard Webhooks recommends. The tenth and last attempt is 75 h 35 min 5 s after
/// the first.
pub const DEFAULT_WAITS_SECONDS: [i64; 9] =
    [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// Time without a success after which a failed request disables most kinds of destination: five days.
pub const DISABLE_AFTER: Duration = DAY.saturating_mul(5);

/// Validates a schedule: the waits in seconds after the first attempt, the second, and so on.
///
/// # Errors
/// Returns the expected form of a schedule.
pub fn check_schedule(seconds: &[i64]) -> Result<(), Invalid> {
    let total = seconds
        .iter()
        .try_fold(0_i64, |sum, wait| sum.checked_add(*wait));
    let is_within_limit = total.is_some_and(|total| total <= MAX_SECONDS);
    let has_valid_waits =
        (1..=MAX_WAITS).contains(&seconds.len()) && seconds.iter().all(|wait| *wait >= 1);
    if is_within_limit && has_valid_waits {
        Ok(())
    } else {
        Err(Invalid::new(
            "schedule",
            format!("1 to 100 waits of whole seconds, each at least 1, {LONGEST}"),
        ))
    }
}

/// The waits between the attempts of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    first_ms: i64,
    waits_ms: Vec<i64>,
}

/// The schedule of a kind of destination, as the command line shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleText {
    pub usual: &'static str,
    /// Text to append to a schedule that a destination sets itself.
    pub end: &'static str,
}

impl ScheduleText {
    /// The default schedule, from [`DEFAULT_WAITS_SECONDS`].
    pub const USUAL: Self = Self {
        usual: "10 attempts over 75 h 35 m",
        end: "",
    };
}

#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The number of the attempt's step in the schedule, from 1. Attempts that use no step are not counted.
    pub number: i64,
    /// The time of the first attempt; `None` if this is the first.
    pub first_tried_at: Option<Timestamp>,
    /// The time of the failed attempt.
    pub at: Timestamp,
}

impl Schedule {
    /// Returns a schedule with these waits in seconds; without any, the default schedule.
    pub fn new(seconds: Option<&[i64]>) -> Self {
        let seconds = seconds
            .filter(|seconds| !seconds.is_empty())
            .unwrap_or(&DEFAULT_WAITS_SECONDS);
        let waits_ms: Vec<i64> = seconds
            .iter()
            .map(|wait| wait.max(&1).saturating_mul(SECOND_MS))
            .collect();
        Self {
            first_ms: waits_ms.first().copied().unwrap_or(SECOND_MS),
            waits_ms,
        }
    }

    /// Returns the first wait, in milliseconds.
    pub const fn first_ms(&self) -> i64 {
        self.first_ms
    }

    /// Returns how long to wait after a failed attempt, in milliseconds; `None` if it was the last attempt.
    ///
    /// Without `retry_after_ms`, the result is the step's wait, spread by up to 20 % either way; `jitter` is between 0
    /// and 1. With it, the result is `retry_after_ms`, limited in three ways:
    ///
    /// - at least the step's wait
    /// - at most twice the step's wait or an hour, whichever is longer
    /// - not past the end of the schedule, counted from the first attempt, unless the step's wait itself ends later
    pub fn wait_ms(&self, step: Step, retry_after_ms: Option<i64>, jitter: f64) -> Option<i64> {
        let index = usize::try_from(step.number.saturating_sub(1)).unwrap_or(0);
        let base_ms = *self.waits_ms.get(index)?;
        Some(match retry_after_ms {
            Some(retry_after_ms) => self.bounded_ms(step, retry_after_ms, base_ms),
            None => spread(base_ms, jitter),
        })
    }

    /// Returns how long the whole destination pauses, in milliseconds. Without `retry_after_ms`: the schedule's first
    /// wait, or 30 s if that is shorter. With it: `retry_after_ms`, at least the pause without it and at most an hour.
    pub fn pause_ms(&self, retry_after_ms: Option<i64>) -> i64 {
        let base_ms = self.first_ms.min(MAX_DEFAULT_PAUSE_MS);
        retry_after_ms.map_or(base_ms, |retry_after_ms| {
            retry_after_ms.clamp(base_ms, HOUR_MS)
        })
    }

    fn bounded_ms(&self, step: Step, retry_after_ms: i64, base_ms: i64) -> i64 {
        let total_ms = self
            .waits_ms
            .iter()
            .fold(0_i64, |sum, wait| sum.saturating_add(*wait));
        let passed_ms = step
            .first_tried_at
            .map_or(0, |first| step.at.millis_since(first).max(0));
        let longest_ms = base_ms.saturating_mul(2).max(HOUR_MS);
        retry_after_ms
            .min(longest_ms)
            .min(total_ms.saturating_sub(passed_ms))
            .max(base_ms)
    }
}

/// Parses a `Retry-After` header (RFC 9110 10.2.3): a number of seconds, or a date in any of HTTP's three formats.
/// Returns the wait from `at` in milliseconds: 0 for a date in the past, `None` for any other text.
pub fn retry_after_ms(text: &str, at: Timestamp) -> Option<i64> {
    let text = text.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number too large for an `i64` is a very long wait.
        return Some(
            text.parse::<i64>()
                .map_or(i64::MAX, |seconds| seconds.saturating_mul(SECOND_MS)),
        );
    }
    let date = httpdate::parse_http_date(text)
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    let then = Timestamp::from_millis(i64::try_from(date.as_millis()).ok()?);
    Some(then.millis_since(at).max(0))
}

/// Spreads a wait by up to 20 % either way. With a jitter outside 0 to 1, the wait is unchanged.
fn spread(wait_ms: i64, jitter: f64) -> i64 {
    let jitter = if (0.0..=1.0).contains(&jitter) {
        jitter
    } else {
        0.5
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "from 0 to 400, and a float cast saturates"
    )]
    let thousandths = (jitter * 400.0) as i64;
    wait_ms.saturating_mul(thousandths.saturating_add(800)) / 1000
}
