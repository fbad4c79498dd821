//! What a reply to a webhook means: 2xx is success, everything else is tried again until the schedule ends.
//!
//! `Retry-After`, 410 and what concerns a whole destination are not judged here.

use crate::http::Reply;
use crate::outcome::Verdict;

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// The waits after the first to the ninth attempt, the example schedule of Standard Webhooks: the tenth
/// and last attempt is 75 h 35 min 5 s after the first.
const WAITS_MS: [i64; 9] = [
    5 * SECOND_MS,
    5 * MINUTE_MS,
    30 * MINUTE_MS,
    2 * HOUR_MS,
    5 * HOUR_MS,
    10 * HOUR_MS,
    14 * HOUR_MS,
    20 * HOUR_MS,
    24 * HOUR_MS,
];

/// What becomes of the delivery after attempt `number`, counted from 1. `jitter` from 0 to 1 moves the
/// wait by up to a fifth either way.
#[must_use]
pub fn outcome(reply: &Reply, number: i64, jitter: f64) -> Verdict {
    let (class, message) = match reply {
        Reply::Answer { status: 200..=299, .. } => return Verdict::Delivered,
        Reply::Answer { status, .. } => (class(*status), format!("the endpoint answered {status}")),
        Reply::Failure { class, message } => (*class, message.clone()),
    };
    let waited = usize::try_from(number.saturating_sub(1)).unwrap_or(0);
    match WAITS_MS.get(waited) {
        Some(wait_ms) => Verdict::Retry { delay_ms: spread(*wait_ms, jitter), class, message },
        None => Verdict::Dead { class, message },
    }
}

const fn class(status: u16) -> &'static str {
    match status {
        300..=399 => "redirect",
        400..=499 => "client_error",
        500..=599 => "server_error",
        _ => "unexpected_status",
    }
}

fn spread(wait_ms: i64, jitter: f64) -> i64 {
    let jitter = if (0.0..=1.0).contains(&jitter) { jitter } else { 0.5 };
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to 400, and a float cast saturates")]
    let thousandths = (jitter * 400.0) as i64;
    wait_ms.saturating_mul(thousandths.saturating_add(800)) / 1000
}
