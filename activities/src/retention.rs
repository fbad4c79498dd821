//! Retention: the sweep removes old bodies and the stored answers of bulk pages, a bounded number at a time.

use domain::time::millis;
use std::time::Duration;
use storage::{Error, Store};

/// Maximum number of rows of each table that one sweep scans: a million or two a day.
const ROWS_AT_MOST: i64 = 1000;
/// After this time the rest is left to the next sweep, so that the activity does not time out.
const ENOUGH: Duration = Duration::from_secs(3);

/// Removes bodies older than `retention`, if there is one, and the answers of old pages.
pub async fn prune(store: &Store, retention: Option<Duration>) {
    if let Err(error) = store.forget_pages(ROWS_AT_MOST).await {
        tracing::warn!(error = %error, "old answers of pages were not removed; the next sweep tries again");
    }
    let Some(retention) = retention else { return };
    match tokio::time::timeout(ENOUGH, remove(store, retention)).await {
        Ok(Ok(0)) => {}
        Ok(Ok(pruned)) => metrics::counter!("settle_pruned_total").increment(u64::try_from(pruned).unwrap_or(0)),
        Ok(Err(error)) => tracing::warn!(error = %error, "old bodies were not removed; the next sweep tries again"),
        Err(_) => tracing::debug!("not all old bodies were scanned; the next sweep goes on"),
    }
}

async fn remove(store: &Store, retention: Duration) -> Result<usize, Error> {
    let before = store.now().await?.plus_millis(-millis(retention));
    store.prune(before, ROWS_AT_MOST).await
}
