//! `sweep`: signals the runs of overdue purchases, starting those that do not exist. So every workflow can be rebuilt
//! from the database alone. For late lanes it signals the run of their destination.
//!
//! A run sends heartbeats, and ends when it is cancelled or takes too long; what is in progress then is abandoned. If
//! Temporal takes a run that goes on for lost, two sweep at once for that time at most. That is harmless: signals that
//! wake a run may be repeated, and every write of a sweep is conditional on what it changes.

use crate::dependencies::Context;
use crate::engine::Engine;
use crate::failure::Failed;
use crate::retention;
use crate::stuck;
use domain::{CollapseKey, DestinationId, Timestamp};
use futures::StreamExt;
use std::time::Duration;
use storage::{Due, Error, Overdue, Store, fault};
use temporalio_sdk::activities::ActivityContext;
use tokio::time::{Instant, timeout};
use workflows::activities::Swept;
use workflows::options::SWEEP_BUDGET;
use workflows::signal::Signal;

/// Maximum number of purchases that one sweep signals, which limits the rate of signals.
const MAX_WOKEN: i64 = 200;
/// Maximum number of concurrent signals.
const MAX_CONCURRENT: usize = 8;
/// Approximate maximum number of deliveries to deleted destinations that one sweep ends.
const MAX_CLOSED: i64 = 2000;
/// Approximate maximum number of waiting deliveries that one sweep reconsiders after a destination's settings changed.
const MAX_RECONSIDERED: i64 = 2000;
/// Approximate maximum number of purchases that one sweep scans after a change of settings.
const MAX_SCANNED: i64 = 10_000;
/// Time limit of that scan.
const SCAN_BUDGET: Duration = Duration::from_secs(2);
/// Time limit for examining runs that may make no progress.
const EXAMINE_BUDGET: Duration = Duration::from_secs(2);
/// Time after which no further signal is sent: the next sweep goes on.
const BUDGET: Duration = Duration::from_secs(4);

/// Time between two heartbeats to Temporal.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Time until Temporal runs a sweep again that did not finish.
const RETRY: Duration = Duration::from_secs(1);

/// Sweeps within [`SWEEP_BUDGET`], and stores the time of the end.
///
/// # Errors
/// Storage failed, or the time is over: Temporal runs the activity again.
pub async fn sweep_in_time(context: &Context) -> Result<Swept, Failed> {
    let sweeping = async {
        if fault::is_planted("sweep.hang") {
            std::future::pending::<()>().await;
        }
        let swept = sweep(&context.store, &context.engine, context.retention).await?;
        context.store.sweep_finished().await?;
        Ok(swept)
    };
    let late = |_| Err(Failed::Later { wait: RETRY, why: "the sweep took too long".to_owned() });
    timeout(SWEEP_BUDGET, sweeping).await.unwrap_or_else(late)
}

/// Sends heartbeats to Temporal until the activity is cancelled: Temporal takes it for lost, or the worker stops.
pub async fn send_heartbeats(ctx: &ActivityContext) -> Failed {
    loop {
        if let Err(error) = ctx.record_heartbeat(()).await {
            tracing::debug!(error = %error, "a heartbeat was not sent");
        }
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {}
            () = ctx.cancelled() => return Failed::Later { wait: RETRY, why: "the sweep was cancelled".to_owned() },
        }
    }
}

/// In this order: expires topics that waited too long for approval, schedules rechecks of purchases after a change of
/// settings, ends runs that make no progress, signals the runs of overdue purchases and destinations, reconsiders waiting deliveries after a change of
/// their destination's settings, ends the deliveries to deleted destinations, and removes old bodies.
async fn sweep(store: &Store, engine: &Engine, retention: Option<Duration>) -> Result<Swept, Error> {
    if let Err(error) = expire_topics(store).await {
        tracing::warn!(error = %error, "topics were not expired; the next sweep tries again");
    }
    let has_more_purchases = schedule_rechecks(store).await;
    let began = Instant::now();
    let Overdue { found: due, may_be_stuck, destinations, in_backoff, more, at } = store.overdue(MAX_WOKEN).await?;
    if timeout(EXAMINE_BUDGET, stuck::end(store, engine, may_be_stuck)).await.is_err() {
        tracing::debug!("not all late runs were examined; the next sweep goes on");
    }
    let found = due.len();
    start_destinations(engine, &destinations, "lane", at);
    start_destinations(engine, &in_backoff, "cancel_backoff", at);
    let woken_keys: Vec<Option<CollapseKey>> = futures::stream::iter(due)
        .take_while(|_| std::future::ready(began.elapsed() < BUDGET))
        .map(|due| wake(engine, due, at))
        .buffer_unordered(MAX_CONCURRENT)
        .collect()
        .await;
    let is_full = i64::try_from(found).unwrap_or(i64::MAX) >= MAX_WOKEN;
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

/// Schedules rechecks of the purchases that a change of settings affects; returns whether more may remain. The same
/// sweep already wakes the first of them.
async fn schedule_rechecks(store: &Store) -> bool {
    match timeout(SCAN_BUDGET, store.continue_rechecks(MAX_SCANNED)).await {
        Ok(Ok(0)) => false,
        Ok(Ok(scanned)) => {
            tracing::info!(scanned, "scheduled rechecks of purchases after a change of settings");
            scanned >= MAX_SCANNED
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "purchases were not scheduled for rechecks; the next sweep tries again");
            false
        }
        // The current batch is finished anyway.
        Err(_) => true,
    }
}

/// Signals the runs of destinations, starting those that do not exist.
fn start_destinations(engine: &Engine, found: &[DestinationId], why: &'static str, read_at: Timestamp) {
    for id in found {
        metrics::counter!("settle_sweep_findings_total", "why" => why).increment(1);
        tracing::debug!(destination.id = %id, why, %read_at, "signals an overdue destination");
        engine.supervise(*id);
    }
}

async fn expire_topics(store: &Store) -> Result<(), Error> {
    store.expire_topics(store.now().await?).await.map(drop)
}

/// Reconsiders waiting deliveries after a change of their destination's settings. The next sweep finds those that are
/// due and signals the runs of their destinations.
async fn reconsider_deliveries(store: &Store) {
    match store.reconsider_left(MAX_RECONSIDERED).await {
        Ok(0) => {}
        Ok(reconsidered) => tracing::info!(reconsidered, "reconsidered waiting deliveries after a change of settings"),
        Err(error) => {
            tracing::warn!(error = %error, "waiting deliveries were not reconsidered; the next sweep tries again");
        }
    }
}

/// Ends the deliveries that are owed to deleted destinations.
async fn end_deleted(store: &Store) {
    match store.end_deleted_owed(MAX_CLOSED).await {
        Ok(0) => {}
        Ok(closed) => tracing::info!(closed, "closed deliveries to deleted destinations"),
        Err(error) => {
            tracing::warn!(error = %error, "deliveries to deleted destinations were not closed; the next sweep tries again");
        }
    }
}

/// Signals a purchase's run; returns the purchase if Temporal accepted the signal.
async fn wake(engine: &Engine, due: Due, read_at: Timestamp) -> Option<CollapseKey> {
    metrics::counter!("settle_sweep_findings_total", "why" => due.why).increment(1);
    tracing::debug!(collapse_key = %due.collapse_key, why = due.why, %read_at, "signals an overdue purchase");
    match engine.signal(due.collapse_key, Signal::Wake).await {
        Ok(()) => Some(due.collapse_key),
        Err(error) => {
            tracing::warn!(collapse_key = %due.collapse_key, error = %error, "a purchase was not woken; the next sweep tries again");
            None
        }
    }
}
