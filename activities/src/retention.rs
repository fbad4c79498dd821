//! Retention: each sweep removes a bounded number of old bodies, and of the stored responses to bulk redelivery
//! requests.

use domain::time::millis;
use std::time::Duration;
use storage::{Error, Store};

/// Maximum number of bodies of each table that one sweep removes, or of events checks: one to two million a day.
const MAX_ROWS: i64 = 1000;
/// Time limit for removing bodies: the next sweep goes on, and the activity does not time out.
const BUDGET: Duration = Duration::from_secs(3);

/// Removes bodies older than `retention` (none when it is `None`), and the responses to bulk redelivery requests of
/// more than a week ago.
pub async fn prune(store: &Store, retention: Option<Duration>) {
    if let Err(error) = store.forget_pages(MAX_ROWS).await {
        tracing::warn!(error = %error, "old responses to bulk redelivery requests were not removed; the next sweep tries again");
    }
    let Some(retention) = retention else { return };
    match tokio::time::timeout(BUDGET, remove(store, retention)).await {
        Ok(Ok(0)) => {}
        Ok(Ok(pruned)) => metrics::counter!("settle_pruned_total").increment(u64::try_from(pruned).unwrap_or(0)),
        Ok(Err(error)) => tracing::warn!(error = %error, "old bodies were not removed; the next sweep tries again"),
        Err(_) => tracing::debug!("not all old bodies were scanned; the next sweep goes on"),
    }
}

async fn remove(store: &Store, retention: Duration) -> Result<usize, Error> {
    let before = store.now().await?.plus_millis(-millis(retention));
    store.prune(before, MAX_ROWS).await
}
