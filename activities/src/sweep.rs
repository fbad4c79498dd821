//! `sweep`: wakes what is overdue, so that storage alone can rebuild every workflow. For late lanes it starts their
//! destination's run.

use crate::engine::Engine;
use crate::retention;
use domain::{CollapseKey, DestinationId};
use futures::StreamExt;
use std::time::Duration;
use storage::{Due, Error, Overdue, Store};
use tokio::time::Instant;
use workflows::activities::Swept;
use workflows::signal::Signal;

/// Maximum number of purchases that one sweep wakes, which bounds its rate.
const AT_MOST: i64 = 200;
/// Maximum number of concurrent signals.
const AT_ONCE: usize = 8;
/// Approximate number of deliveries to deleted destinations that one sweep closes.
const CLOSED_AT_MOST: i64 = 2000;
/// Approximate number of waiting deliveries that one sweep reconsiders after a destination's settings changed.
const RECONSIDERED_AT_MOST: i64 = 2000;
/// Approximate number of purchases that one sweep scans after a change of settings.
const PURCHASES_AT_MOST: i64 = 10_000;
/// Time limit of that scan.
const PURCHASES_TIME: Duration = Duration::from_secs(2);
/// After this time the rest is left to the next sweep, so that the activity does not time out.
const ENOUGH: Duration = Duration::from_secs(4);

/// Expires topics that waited too long for approval, schedules rechecks of purchases after a change of settings, wakes what
/// is overdue, reconsiders waiting deliveries, closes those to deleted destinations, and removes old bodies.
pub async fn sweep(store: &Store, engine: &Engine, retention: Option<Duration>) -> Result<Swept, Error> {
    if let Err(error) = expire(store).await {
        tracing::warn!(error = %error, "topics were not expired; the next sweep tries again");
    }
    let has_more_purchases = reconsider_purchases(store).await;
    let began = Instant::now();
    let Overdue { found: due, destinations, in_backoff, more, at } = store.overdue(AT_MOST).await?;
    let found = due.len();
    start_destinations(engine, &destinations, "lane");
    start_destinations(engine, &in_backoff, "cancel_backoff");
    let woken_keys: Vec<Option<CollapseKey>> = futures::stream::iter(due)
        .take_while(|_| std::future::ready(began.elapsed() < ENOUGH))
        .map(|due| wake(engine, due))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let is_full = i64::try_from(found).unwrap_or(i64::MAX) >= AT_MOST;
    let more = more || is_full || woken_keys.len() < found;
    let keys: Vec<CollapseKey> = woken_keys.into_iter().flatten().collect();
    let woken = keys.len() + destinations.len() + in_backoff.len();
    if let Err(error) = store.wakes_tried(keys, at).await {
        tracing::warn!(error = %error, "wakes were not recorded; the next sweep repeats them");
    }
    reconsider_deliveries(store).await;
    end_deleted(store).await;
    retention::prune(store, retention).await;
    Ok(Swept { woken, more: has_more_purchases || (more && woken > 0) })
}

/// Schedules rechecks of the purchases that a change of settings concerns; returns whether there may be more. The same
/// sweep finds the first of them due.
async fn reconsider_purchases(store: &Store) -> bool {
    match tokio::time::timeout(PURCHASES_TIME, store.continue_rechecks(PURCHASES_AT_MOST)).await {
        Ok(Ok(0)) => false,
        Ok(Ok(scanned)) => {
            tracing::info!(scanned, "scheduled rechecks of purchases after a change of settings");
            scanned >= PURCHASES_AT_MOST
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "purchases were not scheduled for rechecks; the next sweep tries again");
            false
        }
        // The current batch is finished anyway.
        Err(_) => true,
    }
}

/// Starts the runs of destinations.
fn start_destinations(engine: &Engine, found: &[DestinationId], why: &'static str) {
    for id in found {
        metrics::counter!("settle_sweep_findings_total", "why" => why).increment(1);
        engine.supervise(*id);
    }
}

async fn expire(store: &Store) -> Result<(), Error> {
    store.expire_topics(store.now().await?).await.map(drop)
}

/// Reconsiders waiting deliveries after a change of their destination's settings. The next sweep finds them late and has
/// them delivered.
async fn reconsider_deliveries(store: &Store) {
    match store.reconsider_left(RECONSIDERED_AT_MOST).await {
        Ok(0) => {}
        Ok(reconsidered) => tracing::info!(reconsidered, "reconsidered waiting deliveries after a change of settings"),
        Err(error) => {
            tracing::warn!(error = %error, "waiting deliveries were not reconsidered; the next sweep tries again");
        }
    }
}

/// Closes the deliveries that are owed to deleted destinations.
async fn end_deleted(store: &Store) {
    match store.end_deleted_owed(CLOSED_AT_MOST).await {
        Ok(0) => {}
        Ok(closed) => tracing::info!(closed, "closed deliveries to deleted destinations"),
        Err(error) => {
            tracing::warn!(error = %error, "deliveries to deleted destinations were not closed; the next sweep tries again");
        }
    }
}

/// Wakes a purchase; returns it on success.
async fn wake(engine: &Engine, due: Due) -> Option<CollapseKey> {
    metrics::counter!("settle_sweep_findings_total", "why" => due.why).increment(1);
    match engine.signal(due.collapse_key, Signal::Wake).await {
        Ok(()) => Some(due.collapse_key),
        Err(error) => {
            tracing::warn!(collapse_key = %due.collapse_key, error = %error, "a purchase was not woken; the next sweep tries again");
            None
        }
    }
}
