//! Waits for a condition with a deadline. Only this file sleeps; the load generator paces its requests itself.

use std::time::Duration;
use tokio::time::Instant;

/// Minimum and maximum time between two checks of a condition.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(200);

/// Returns the time before the next check: a tenth of the elapsed time, between [`SHORTEST`] and [`LONGEST`], so that a
/// long wait costs little CPU and a short one ends soon after its condition holds.
fn pause_after(elapsed: Duration) -> Duration {
    (elapsed / 10).clamp(SHORTEST, LONGEST)
}

/// Repeats `check` until it returns `Ok`, and returns that value. The `Err` of `check` describes what was seen instead.
///
/// # Panics
/// When the deadline passes; the message contains `what` and what was seen last.
pub async fn until<T>(
    deadline: Duration,
    what: &str,
    check: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    within(deadline, what, check)
        .await
        .unwrap_or_else(|late| panic!("{late}"))
}

/// Like [`until`], but returns an error at the deadline, for a condition that may never hold.
///
/// # Errors
/// When the deadline passes; the error contains `what` and what was seen last.
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

/// Like [`within`], outside an async runtime.
///
/// # Errors
/// When the deadline passes; the error contains `what` and what was seen last.
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

/// Checks that a condition holds for the whole time, for an event that must *not* happen.
///
/// # Panics
/// When `check` returns `Err`; the message contains it.
pub async fn throughout(
    time: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<(), String>,
) {
    let started = Instant::now();
    while started.elapsed() < time {
        if let Err(seen) = check().await {
            panic!("{what} did not hold after {:?}: {seen}", started.elapsed());
        }
        pass(2 * SHORTEST).await;
    }
}

/// Sleeps, for a fake that answers late. A test that waits for a condition uses [`until`].
pub async fn pass(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that lets time pass"
    )]
    tokio::time::sleep(time).await;
}
