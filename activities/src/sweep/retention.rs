//! Retention: in limited time, each sweep removes old bodies and attempts, a limited number of the stored responses to
//! bulk redelivery requests, and the heartbeats of processes that crashed.

use super::parts::repeat;
use crate::dependencies::Context;
use crate::failure::Failed;
use domain::time::millis;
use std::time::Duration;
use storage::{Error, Store};
use tokio::time::Instant;
use workflows::activities::Swept;

/// Maximum number of rows of each table from which one call removes bodies or attempts; for events, the maximum number
/// of rows that it checks.
const MAX_ROWS: i64 = 1000;
/// How long counts for charts are stored.
const COUNTS: Duration = Duration::from_secs(8 * 24 * 3600);
/// How long counts are stored by minute; afterwards, by hour.
const MINUTES: Duration = Duration::from_secs(24 * 3600);

/// Removes bodies, attempts and device events that are older than the retention, if there is one. Continues while some
/// are left and there is time, so that it keeps up with any number of notifications per day.
pub async fn prune(context: &Context, until: Instant) -> Result<Swept, Failed> {
    if let Some(retention) = context.retention {
        repeat(until, || remove(&context.store, retention)).await?;
    }
    Ok(Swept::default())
}

async fn remove(store: &Store, retention: Duration) -> Result<usize, Error> {
    let before = store.now().await?.plus_millis(-millis(retention));
    let pruned =
        store.prune(before, MAX_ROWS).await? + store.forget_reports(before, MAX_ROWS).await?;
    metrics::counter!("settle_pruned_total").increment(u64::try_from(pruned).unwrap_or(0));
    Ok(pruned)
}

/// Removes the responses to bulk redelivery requests after a week, and heartbeats that are no longer renewed.
pub async fn forget_pages(context: &Context) -> Result<Swept, Failed> {
    context.store.forget_processes().await?;
    context.store.forget_pages(MAX_ROWS).await?;
    Ok(Swept::default())
}

/// Removes old counts, and adds up those older than a day by hour, in short transactions.
pub async fn tidy_counts(context: &Context, until: Instant) -> Result<Swept, Failed> {
    let store = &context.store;
    let now = store.now().await?;
    let tidy = || async move {
        Ok(store.forget_minutes(now.minus(COUNTS)).await?
            + store.roll_up_minutes(now.minus(MINUTES)).await?)
    };
    repeat(until, tidy).await?;
    Ok(Swept::default())
}
