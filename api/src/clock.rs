//! The only place that reads the clock and generates random values. Everything else receives both as arguments.

use domain::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Returns the current time by this machine's clock. Tests can shift it: the fail point `clock.moved` names a file with
/// the offset in milliseconds.
pub fn now() -> Timestamp {
    fail::fail_point!("clock.moved", |file| {
        let ahead = file
            .and_then(|file| std::fs::read_to_string(file).ok())
            .and_then(|text| text.trim().parse().ok());
        unmoved().plus_millis(ahead.unwrap_or(0))
    });
    unmoved()
}

fn unmoved() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Returns `N` bytes from the operating system's random generator, suitable for keys.
///
/// # Panics
/// If the generator fails: continuing with guessable keys would be worse.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the random generator works");
    bytes
}

/// Returns the operating system's random generator, for functions that take one.
pub fn random() -> impl SecureRandom {
    SystemRandom::new()
}

pub fn random_uuid() -> Uuid {
    uuid::Builder::from_random_bytes(random_bytes()).into_uuid()
}
