//! Waiting for a condition with a deadline: the only place of the tests that lets time pass.

use std::time::Duration;
use tokio::time::Instant;

/// The shortest and the longest time between two checks of a condition.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(200);

/// How long to wait before the next check: a tenth of the time that has passed, so that waiting long costs the machine
/// little, and what waits is late by a tenth at most.
fn pause_after(elapsed: Duration) -> Duration {
    (elapsed / 10).clamp(SHORTEST, LONGEST)
}

/// Checks until `check` returns `Ok`, and returns that. Its `Err` is what was seen instead.
///
/// # Panics
/// When the deadline passes, with `what` was waited for and what was seen last.
pub async fn until<T>(deadline: Duration, what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(deadline, what, check).await.unwrap_or_else(|late| panic!("{late}"))
}

/// Waits for what a test expects not to come.
///
/// # Errors
/// When the deadline passes, with `what` was waited for and what was seen last.
pub async fn within<T>(
    deadline: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let started = Instant::now();
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(seen) if started.elapsed() >= deadline => {
                return Err(format!("waited {deadline:?} for {what}; last seen: {seen}"));
            }
            Err(_) => pass(pause_after(started.elapsed())).await,
        }
    }
}

/// Waits outside an async runtime.
///
/// # Errors
/// When the deadline passes, with `what` was waited for and what was seen last.
pub fn until_blocking<T>(
    deadline: Duration,
    what: &str,
    mut check: impl FnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(seen) if started.elapsed() >= deadline => {
                anyhow::bail!("waited {deadline:?} for {what}; last seen: {seen}")
            }
            Err(_) => std::thread::park_timeout(pause_after(started.elapsed())),
        }
    }
}

/// Checks that a condition holds the whole time: for what must *not* happen.
///
/// # Panics
/// When `check` returns `Err`, with what it saw.
pub async fn throughout(time: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<(), String>) {
    let started = Instant::now();
    while started.elapsed() < time {
        if let Err(seen) = check().await {
            panic!("{what} did not hold after {:?}: {seen}", started.elapsed());
        }
        pass(2 * SHORTEST).await;
    }
}

/// Lets so much time pass: for a fake that answers late, never for a test that waits for something.
pub async fn pass(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the one place that lets time pass")]
    tokio::time::sleep(time).await;
}
