//! Retention: each sweep removes old bodies and attempts for a bounded time, and a bounded number of the stored
//! responses to bulk redelivery requests.

use domain::time::millis;
use std::time::Duration;
use storage::{Error, Store};
use tokio::time::{Instant, timeout};

/// Maximum number of rows of each table that one call removes bodies or attempts of, or of events checks.
const MAX_ROWS: i64 = 1000;
/// Time limit for removing them in one sweep, and for one call: the next sweep goes on, and the activity does not time
/// out.
const BUDGET: Duration = Duration::from_secs(3);

/// How long counts are stored: they are for charts.
const COUNTS: Duration = Duration::from_secs(8 * 24 * 3600);
/// How long they are stored by minute; then by hour.
const MINUTES: Duration = Duration::from_secs(24 * 3600);
/// Time limit for old counts in one sweep.
const COUNTS_BUDGET: Duration = Duration::from_secs(2);

/// Removes bodies and attempts, and events of devices, older than `retention` (none when it is `None`), and the
/// responses to bulk redelivery requests of more than a week ago. It goes on while there are some and time is left, so
/// that it keeps up with any number of notifications a day.
pub async fn prune(store: &Store, retention: Option<Duration>) {
    if let Err(error) = store.forget_pages(MAX_ROWS).await {
        tracing::warn!(error = %error, "old responses to resends were not removed; the next sweep tries again");
    }
    if let Ok(Err(error)) = timeout(COUNTS_BUDGET, tidy_counts(store)).await {
        tracing::warn!(error = %error, "old counts were not removed; the next sweep tries again");
    }
    let Some(retention) = retention else { return };
    let began = Instant::now();
    while began.elapsed() < BUDGET {
        match timeout(BUDGET, remove(store, retention)).await {
            Ok(Ok(0)) => return,
            Ok(Ok(pruned)) => {
                metrics::counter!("settle_pruned_total").increment(u64::try_from(pruned).unwrap_or(0));
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "old bodies were not removed; the next sweep tries again");
                return;
            }
            Err(_) => {
                tracing::debug!("not all old bodies were scanned; the next sweep goes on");
                return;
            }
        }
    }
}

/// Removes old counts and rolls up those of a day ago, until there are none. Each transaction is short, so whoever ends
/// this early loses nothing of what was done.
async fn tidy_counts(store: &Store) -> Result<(), Error> {
    let now = store.now().await?;
    while store.forget_minutes(now.minus(COUNTS)).await? + store.roll_up_minutes(now.minus(MINUTES)).await? > 0 {}
    Ok(())
}

async fn remove(store: &Store, retention: Duration) -> Result<usize, Error> {
    let before = store.now().await?.plus_millis(-millis(retention));
    Ok(store.prune(before, MAX_ROWS).await? + store.forget_reports(before, MAX_ROWS).await?)
}
