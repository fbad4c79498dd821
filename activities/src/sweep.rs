//! `sweep`: wakes what is overdue, so that storage alone can rebuild every workflow. Late lanes are their destination's
//! affair: its run is started.

use crate::engine::Engine;
use crate::retention;
use domain::{CollapseKey, DestinationId};
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
/// How many deliveries to deleted destinations one sweep ends, about.
const ENDED_AT_MOST: i64 = 2000;
/// How many deliveries that wait to destinations that were set anew it looks at again, about.
const RECONSIDERED_AT_MOST: i64 = 2000;
/// How many purchases that changes concern it goes through, about.
const LOOKED_AT_MOST: i64 = 10_000;
/// For how long it does.
const LOOKING: Duration = Duration::from_secs(2);
/// After this long the rest is left to the next sweep, before the activity's time is over.
const ENOUGH: Duration = Duration::from_secs(4);

/// Expires what waited too long for approval, has looked at again what changes concern, wakes what is overdue, looks
/// again at what waits to those who were set anew, ends what the deleted are owed and removes bodies that are too old.
pub async fn sweep(store: &Store, engine: &Engine, retention: Option<Duration>) -> Result<Swept, Error> {
    if let Err(error) = expire(store).await {
        tracing::warn!(error = %error, "topics were not expired; the next sweep tries again");
    }
    let looks_on = look_on(store).await;
    let began = Instant::now();
    let Overdue { found: due, destinations, in_backoff: recalls, more, at } = store.overdue(AT_MOST).await?;
    let found = due.len();
    tend(engine, &destinations, "lane");
    tend(engine, &recalls, "recall");
    let tried: Vec<Option<CollapseKey>> = futures::stream::iter(due)
        .take_while(|_| std::future::ready(began.elapsed() < ENOUGH))
        .map(|due| wake(engine, due))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let is_full = i64::try_from(found).unwrap_or(i64::MAX) >= AT_MOST;
    let more = more || is_full || tried.len() < found;
    let keys: Vec<CollapseKey> = tried.into_iter().flatten().collect();
    let woken = keys.len() + destinations.len() + recalls.len();
    if let Err(error) = store.wakes_tried(keys, at).await {
        tracing::warn!(error = %error, "what was woken was not noted; the next sweep wakes it again");
    }
    reconsider(store).await;
    end_deleted(store).await;
    retention::prune(store, retention).await;
    Ok(Swept { woken, more: looks_on || (more && woken > 0) })
}

/// Has looked at again what is left of the purchases that changes concern; whether there may be more. This very sweep
/// finds the first of them due.
async fn look_on(store: &Store) -> bool {
    match tokio::time::timeout(LOOKING, store.continue_rechecks(LOOKED_AT_MOST)).await {
        Ok(Ok(0)) => false,
        Ok(Ok(gone_through)) => {
            tracing::info!(gone_through, "went through purchases for those that changes concern");
            gone_through >= LOOKED_AT_MOST
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "what changes concern was not looked at; the next sweep tries again");
            false
        }
        // The batch that is under way is finished all the same.
        Err(_) => true,
    }
}

/// Starts the runs of destinations.
fn tend(engine: &Engine, found: &[DestinationId], why: &'static str) {
    for id in found {
        metrics::counter!("settle_sweep_findings_total", "why" => why).increment(1);
        engine.tend(*id);
    }
}

async fn expire(store: &Store) -> Result<(), Error> {
    store.expire_topics(store.now().await?).await.map(drop)
}

/// Looks again at what is left of what waits to destinations that were set anew. The next sweep finds it late and has it
/// delivered.
async fn reconsider(store: &Store) {
    match store.reconsider_left(RECONSIDERED_AT_MOST).await {
        Ok(0) => {}
        Ok(looked_at) => tracing::info!(looked_at, "looked again at what waits by settings that were changed"),
        Err(error) => {
            tracing::warn!(error = %error, "what waits by settings that were changed was not looked at; the next sweep tries again");
        }
    }
}

/// Ends what is still owed to destinations that were deleted.
async fn end_deleted(store: &Store) {
    match store.end_deleted_owed(ENDED_AT_MOST).await {
        Ok(0) => {}
        Ok(ended) => tracing::info!(ended, "ended what deleted destinations were still owed"),
        Err(error) => {
            tracing::warn!(error = %error, "what deleted destinations are owed was not ended; the next sweep tries again");
        }
    }
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
