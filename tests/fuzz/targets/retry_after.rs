//! A destination's `Retry-After`. The first byte chooses the step of the schedule, the next two how long it runs
//! already.
//!
//! Digits are exactly their number of seconds; a date is what another library reads; nothing else counts. Whatever it
//! is, the wait and the pause stay within the documented bounds.

use domain::Timestamp;
use protocols::destinations::schedule::{DEFAULT_WAITS_SECONDS, Schedule, Step, retry_after_ms};

const HOUR_MS: i64 = 3_600_000;

pub fn check(data: &[u8]) {
    let [step, hours, minutes, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let at: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a time");
    let found = retry_after_ms(text, at);
    match expected(text, at) {
        Some(wait) => assert_eq!(found, Some(wait), "{text}"),
        None => assert!(found.is_none_or(|wait| wait >= 0 && text.contains(is_digit)), "{text}: {found:?}"),
    }
    bounds(usize::from(*step), i64::from(*hours) * HOUR_MS + i64::from(*minutes) * 60_000, found, at);
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

/// The wait of digits, and of a date that another library reads; `None` for all others.
fn expected(text: &str, at: Timestamp) -> Option<i64> {
    let text = text.trim_matches([' ', '\t']);
    if !text.is_empty() && text.chars().all(is_digit) {
        let millis = text.parse::<u128>().unwrap_or(u128::MAX).saturating_mul(1000);
        return Some(i64::try_from(millis).unwrap_or(i64::MAX));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    // HTTP's dates begin in 1970, and have one spelling.
    let is_http = date.as_second() >= 0 && date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string() == text;
    is_http.then(|| Timestamp::from_millis(date.as_millisecond()).millis_since(at).max(0))
}

fn bounds(step: usize, passed_ms: i64, retry_after_ms: Option<i64>, at: Timestamp) {
    let schedule = Schedule::new(None);
    let place = step % (DEFAULT_WAITS_SECONDS.len() + 1);
    let number = i64::try_from(place).expect("a small number") + 1;
    let step = Step { number, first_tried_at: Some(at.plus_millis(-passed_ms)), at };
    let wait = schedule.wait_ms(step, retry_after_ms, 0.5);
    let Some(base_ms) = DEFAULT_WAITS_SECONDS.get(place).map(|seconds| seconds * 1000) else {
        assert_eq!(wait, None, "the schedule is over");
        return;
    };
    let wait = wait.expect("a wait");
    match retry_after_ms {
        None => assert_eq!(wait, base_ms),
        Some(wanted) => {
            let total_ms = DEFAULT_WAITS_SECONDS.iter().sum::<i64>() * 1000;
            assert!((base_ms..=(2 * base_ms).max(HOUR_MS)).contains(&wait), "{wanted}: {wait}");
            assert!(wait == base_ms || wait <= wanted && passed_ms + wait <= total_ms, "{wanted}: {wait}");
        }
    }
    let pause = schedule.pause_ms(retry_after_ms);
    assert!((schedule.first_ms().min(30_000)..=HOUR_MS).contains(&pause), "{pause}");
}
