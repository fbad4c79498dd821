//! A destination's `Retry-After`. The first byte chooses the step of the schedule, the next two the time that it has
//! already run.
//!
//! Digits must be read as exactly that number of seconds. A date must be one of HTTP's three spellings of the second
//! that is read, and each spelling of a second must be read; nothing else counts. In all cases, the wait and the pause
//! must be as requested within the documented limits, and never outside them.

use domain::Timestamp;
use protocols::destinations::schedule::{DEFAULT_WAITS_SECONDS, Schedule, Step, retry_after_ms};

const HOUR_MS: i64 = 3_600_000;
/// The last day of the year 9999 but one: later dates count as this one.
const LAST_SECOND: i64 = 253_402_128_000;
/// Spellings of a date (RFC 9110, section 5.6.7), each with the second from which it is no longer valid: the second
/// spelling has a two-digit year, which below 70 belongs to this century. The day in the third spelling may be padded
/// with a zero.
const SPELLINGS: [(&str, i64); 4] = [
    ("%a, %d %b %Y %H:%M:%S GMT", LAST_SECOND),
    ("%A, %d-%b-%y %H:%M:%S GMT", 3_155_760_000),
    ("%a %b %e %H:%M:%S %Y", LAST_SECOND),
    ("%a %b %d %H:%M:%S %Y", LAST_SECOND),
];

pub fn check(data: &[u8]) {
    let [step, hours, minutes, text @ ..] = data else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let at: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a time");
    let found = retry_after_ms(text, at);
    assert_eq!(found, expected(text, at), "{text}");
    // The bytes of the text also determine a second.
    let number = |all: i64, byte: u8| (all * 256 + i64::from(byte)) % LAST_SECOND;
    let second = text.bytes().fold(0, number);
    for spelling in spelled(second) {
        let wait = second
            .saturating_mul(1000)
            .saturating_sub(millis(at))
            .max(0);
        assert_eq!(retry_after_ms(&spelling, at), Some(wait), "{spelling}");
    }
    bounds(
        usize::from(*step),
        i64::from(*hours) * HOUR_MS + i64::from(*minutes) * 60_000,
        found,
        at,
    );
}

/// Returns a time in milliseconds since 1970.
fn millis(at: Timestamp) -> i64 {
    at.millis_since(Timestamp::from_millis(0))
}

/// Returns all of HTTP's spellings of a second.
fn spelled(second: i64) -> impl Iterator<Item = String> {
    let date = jiff::Timestamp::from_second(second).expect("a second of four-digit years");
    let of_second = SPELLINGS.into_iter().filter(move |(_, end)| second < *end);
    of_second.map(move |(form, _)| date.strftime(form).to_string())
}

/// Returns the expected wait for digits or for a date in one of its spellings; `None` for all other texts.
fn expected(text: &str, at: Timestamp) -> Option<i64> {
    let text = text.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let millis = text
            .parse::<u128>()
            .unwrap_or(u128::MAX)
            .saturating_mul(1000);
        return Some(i64::try_from(millis).unwrap_or(i64::MAX));
    }
    // From the beginning of 1970, the wait equals the parsed date. Another library determines whether that is the
    // text's date.
    let date = retry_after_ms(text, Timestamp::from_millis(0))?;
    assert_eq!(date % 1000, 0, "{text}: {date}");
    let is_spelled = || spelled(date / 1000).any(|spelling| spelling == text.trim());
    assert!(
        date == LAST_SECOND * 1000 || is_spelled(),
        "{text} is no spelling of {date}"
    );
    Some(date.saturating_sub(millis(at)).max(0))
}

fn bounds(step: usize, passed_ms: i64, retry_after_ms: Option<i64>, at: Timestamp) {
    let schedule = Schedule::new(None);
    let place = step % (DEFAULT_WAITS_SECONDS.len() + 1);
    let number = i64::try_from(place).expect("a small number") + 1;
    let step = Step {
        number,
        first_tried_at: Some(at.plus_millis(-passed_ms)),
        at,
    };
    let wait = schedule.wait_ms(step, retry_after_ms, 0.5);
    let shortest_pause = schedule.first_ms().min(30_000);
    let pause = schedule.pause_ms(retry_after_ms);
    assert_eq!(
        pause,
        retry_after_ms.unwrap_or(0).clamp(shortest_pause, HOUR_MS)
    );
    let Some(base_ms) = DEFAULT_WAITS_SECONDS
        .get(place)
        .map(|seconds| seconds * 1000)
    else {
        assert_eq!(wait, None, "the schedule is over");
        return;
    };
    let wait = wait.expect("a wait");
    let Some(wanted) = retry_after_ms else {
        assert_eq!(wait, base_ms);
        return;
    };
    let total_ms = DEFAULT_WAITS_SECONDS.iter().sum::<i64>() * 1000;
    let longest_ms = (2 * base_ms).max(HOUR_MS);
    assert!((base_ms..=longest_ms).contains(&wait), "{wanted}: {wait}");
    assert!(
        wait == base_ms || wait <= wanted && passed_ms + wait <= total_ms,
        "{wanted}: {wait}"
    );
    let allowed = wanted.min(longest_ms);
    let is_free = allowed >= base_ms && passed_ms + allowed <= total_ms;
    assert!(
        !is_free || wait == allowed,
        "{wanted}: {wait} and not {allowed}"
    );
}
