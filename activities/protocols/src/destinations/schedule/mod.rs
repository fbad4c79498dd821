//! When an attempt follows a failed one: the schedule of a destination, and its `Retry-After`.
//!
//! Pure; random numbers and the time are arguments. The meaning of a status is decided by each kind.

use super::Invalid;
use domain::Timestamp;
use std::time::UNIX_EPOCH;

#[cfg(test)]
mod tests;

const SECOND_MS: i64 = 1000;
const HOUR_MS: i64 = 3600 * SECOND_MS;
/// Maximum pause of a destination without a `Retry-After`.
const MAX_DEFAULT_PAUSE_MS: i64 = 30 * SECOND_MS;
/// Maximum length of a schedule, in days.
pub const LONGEST_DAYS: u32 = 8;
const MAX_SECONDS: i64 = LONGEST_DAYS as i64 * 24 * 3600;
/// Maximum number of its waits.
const MAX_WAITS: usize = 100;
/// [`LONGEST_DAYS`] for people.
pub const LONGEST: &str = "together at most 691200 (8 days)";

/// The default waits, the example of Standard Webhooks: the tenth and last attempt is 75 h 35 min 5 s after the first.
pub const DEFAULT_WAITS_SECONDS: [i64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// Checks a schedule: the waits in seconds after the first, the second… attempt.
///
/// # Errors
/// The expected form of a schedule.
pub fn check_schedule(seconds: &[i64]) -> Result<(), Invalid> {
    let total = seconds.iter().try_fold(0_i64, |sum, wait| sum.checked_add(*wait));
    let is_short = total.is_some_and(|total| total <= MAX_SECONDS);
    let is_counted = (1..=MAX_WAITS).contains(&seconds.len()) && seconds.iter().all(|wait| *wait >= 1);
    if is_short && is_counted {
        Ok(())
    } else {
        Err(Invalid::new("schedule", format!("1 to 100 waits of whole seconds, each at least 1, {LONGEST}")))
    }
}

/// The waits between the attempts of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    first_ms: i64,
    waits_ms: Vec<i64>,
}

/// The schedule of a kind, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleText {
    /// The default schedule.
    pub usual: &'static str,
    /// The end that is added to a schedule of a destination's own.
    pub end: &'static str,
}

/// Which attempt failed, and when.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its number among the attempts that count, from 1.
    pub number: i64,
    /// The time of the first attempt; `None` when this is the first.
    pub first_tried_at: Option<Timestamp>,
    /// The current time.
    pub at: Timestamp,
}

impl Schedule {
    /// A schedule of these waits in seconds, or the default one.
    #[must_use]
    pub fn new(seconds: Option<&[i64]>) -> Self {
        let seconds = seconds.filter(|seconds| !seconds.is_empty()).unwrap_or(&DEFAULT_WAITS_SECONDS);
        let waits_ms: Vec<i64> = seconds.iter().map(|wait| wait.max(&1).saturating_mul(SECOND_MS)).collect();
        Self { first_ms: waits_ms.first().copied().unwrap_or(SECOND_MS), waits_ms }
    }

    /// The first wait, which is also the shortest pause of a destination, in milliseconds.
    #[must_use]
    pub const fn first_ms(&self) -> i64 {
        self.first_ms
    }

    /// How long to wait after a failed attempt, in milliseconds; `None` when it was the last one.
    ///
    /// Without `retry_after_ms` it is the step's wait, moved by up to a fifth either way by `jitter` from 0 to 1.
    /// `retry_after_ms` is bounded by the step's wait and twice that, or an hour if that is longer. Past the schedule's end,
    /// by the time since the first attempt, it adds nothing to the step's wait.
    #[must_use]
    pub fn wait_ms(&self, step: Step, retry_after_ms: Option<i64>, jitter: f64) -> Option<i64> {
        let place = usize::try_from(step.number.saturating_sub(1)).unwrap_or(0);
        let base_ms = *self.waits_ms.get(place)?;
        Some(match retry_after_ms {
            Some(retry_after_ms) => self.bounded_ms(step, retry_after_ms, base_ms),
            None => spread(base_ms, jitter),
        })
    }

    /// How long the whole destination pauses, in milliseconds: `retry_after_ms` between the first wait and an hour, or the
    /// first wait without it. The first wait counts as at most half a minute here.
    #[must_use]
    pub fn pause_ms(&self, retry_after_ms: Option<i64>) -> i64 {
        let base_ms = self.first_ms.min(MAX_DEFAULT_PAUSE_MS);
        retry_after_ms.map_or(base_ms, |retry_after_ms| retry_after_ms.clamp(base_ms, HOUR_MS))
    }

    fn bounded_ms(&self, step: Step, retry_after_ms: i64, base_ms: i64) -> i64 {
        let total_ms = self.waits_ms.iter().fold(0_i64, |sum, wait| sum.saturating_add(*wait));
        let passed_ms = step.first_tried_at.map_or(0, |first| step.at.millis_since(first).max(0));
        let longest_ms = base_ms.saturating_mul(2).max(HOUR_MS);
        retry_after_ms.min(longest_ms).min(total_ms.saturating_sub(passed_ms)).max(base_ms)
    }
}

/// The wait from `at` in a `Retry-After` header (RFC 9110 10.2.3), in milliseconds: seconds, or a date in any of the three
/// forms of HTTP. A date in the past is 0; anything else is `None`.
#[must_use]
pub fn retry_after_ms(text: &str, at: Timestamp) -> Option<i64> {
    let text = text.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long wait.
        return Some(text.parse::<i64>().map_or(i64::MAX, |seconds| seconds.saturating_mul(SECOND_MS)));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let then = Timestamp::from_millis(i64::try_from(date.as_millis()).ok()?);
    Some(then.millis_since(at).max(0))
}

/// A wait moved by up to a fifth either way.
fn spread(wait_ms: i64, jitter: f64) -> i64 {
    let jitter = if (0.0..=1.0).contains(&jitter) { jitter } else { 0.5 };
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to 400, and a float cast saturates")]
    let thousandths = (jitter * 400.0) as i64;
    wait_ms.saturating_mul(thousandths.saturating_add(800)) / 1000
}
