//! `sweep`: wakes what is overdue, so that storage alone can rebuild every workflow.

use crate::engine::Engine;
use domain::CollapseKey;
use futures::StreamExt;
use std::time::Duration;
use storage::{Due, Error, Overdue, Store};
use tokio::time::Instant;
use workflows::asks::Swept;
use workflows::signal::Signal;

/// How many purchases one sweep wakes at most: this bounds its rate.
const AT_MOST: i64 = 200;
/// How many it wakes at once.
const AT_ONCE: usize = 8;
/// After this long the rest is left to the next sweep, before the activity's time is over.
const ENOUGH: Duration = Duration::from_secs(4);

/// Expires what waited too long for approval and wakes what is overdue.
pub async fn sweep(store: &Store, engine: &Engine) -> Result<Swept, Error> {
    if let Err(error) = expire(store).await {
        tracing::warn!(error = %error, "topics were not expired; the next sweep tries again");
    }
    let began = Instant::now();
    let Overdue { found: due, more, at } = store.overdue(AT_MOST).await?;
    let found = due.len();
    let tried: Vec<Option<CollapseKey>> = futures::stream::iter(due)
        .take_while(|_| std::future::ready(began.elapsed() < ENOUGH))
        .map(|due| wake(engine, due))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let is_full = i64::try_from(found).unwrap_or(i64::MAX) >= AT_MOST;
    let more = more || is_full || tried.len() < found;
    let keys: Vec<CollapseKey> = tried.into_iter().flatten().collect();
    let woken = keys.len();
    if let Err(error) = store.wakes_tried(keys, at).await {
        tracing::warn!(error = %error, "what was woken was not noted; the next sweep wakes it again");
    }
    Ok(Swept { woken, more: more && woken > 0 })
}

async fn expire(store: &Store) -> Result<(), Error> {
    store.expire_topics(store.now().await?).await.map(drop)
}

/// The purchase, when it was woken.
async fn wake(engine: &Engine, due: Due) -> Option<CollapseKey> {
    metrics::counter!("settle_sweep_findings_total", "why" => due.why).increment(1);
    match engine.signal(due.collapse_key, Signal::Wake).await {
        Ok(()) => Some(due.collapse_key),
        Err(error) => {
            tracing::warn!(collapse_key = %due.collapse_key, error = %error, "not woken; the next sweep tries again");
            None
        }
    }
}
