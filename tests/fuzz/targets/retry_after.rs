//! A destination's `Retry-After`. The first byte chooses the step of the schedule, the next two how long it runs
//! already.
//!
//! Digits are exactly their number of seconds. What is read as a date is one of HTTP's three spellings of that very
//! second, and each spelling of a second is read; nothing else counts. Whatever it is, the wait and the pause are as long
//! as requested within the documented bounds, and never outside them.

use domain::Timestamp;
use protocols::destinations::schedule::{DEFAULT_WAITS_SECONDS, Schedule, Step, retry_after_ms};

const HOUR_MS: i64 = 3_600_000;
/// The last day of the year 9999 but one: later dates count as this one.
const LAST_SECOND: i64 = 253_402_128_000;
/// The spellings of a date (RFC 9110, section 5.6.7), each with the second from which on it is none: the year of the
/// second one has two digits, which are of this century below 70. The day of the third one may also have a zero.
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
    // The bytes of the text are also a second.
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

/// Milliseconds since 1970.
fn millis(at: Timestamp) -> i64 {
    at.millis_since(Timestamp::from_millis(0))
}

/// Returns a second in each of HTTP's spellings that it has.
fn spelled(second: i64) -> impl Iterator<Item = String> {
    let date = jiff::Timestamp::from_second(second).expect("a second of four-digit years");
    let of_second = SPELLINGS.into_iter().filter(move |(_, end)| second < *end);
    of_second.map(move |(form, _)| date.strftime(form).to_string())
}

/// Returns the wait of digits, and of a date in one of its spellings; `None` for all others.
fn expected(text: &str, at: Timestamp) -> Option<i64> {
    let text = text.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let millis = text
            .parse::<u128>()
            .unwrap_or(u128::MAX)
            .saturating_mul(1000);
        return Some(i64::try_from(millis).unwrap_or(i64::MAX));
    }
    // From the beginning of 1970 the wait is the date that was read. Another library tells whether it is that of the text.
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
