//! `sweep`: signals the runs of overdue purchases, starting those that do not exist. So every workflow can be rebuilt
//! from the database alone. For late lanes it signals the run of their destination.
//!
//! Purchases are woken in steps of a second. In each step come those that a person waits for, then those whose window
//! was missed, then changes of settings and the calendar, which may use four fifths of the rate at which a store may be
//! queried by all workers: the rest is left to windows that end. A sweep that finds many missed windows raises an alarm.
//!
//! A run sends heartbeats, and ends when it is cancelled or takes too long; what is in progress then is abandoned. If
//! Temporal takes a run that goes on for lost, two sweep at once for that time at most. That is harmless: signals that
//! wake a run may be repeated, and every write of a sweep is conditional on what it changes.

pub mod emptied;
pub mod erasure;
pub mod retention;
pub mod stuck;

use crate::dependencies::Context;
use crate::engine::Engine;
use crate::failure::Failed;
use crate::heartbeat::Heartbeats;
use domain::{DestinationId, Timestamp};
use futures::StreamExt;
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage::{Due, Error, Overdue, Quota, Store, fault};
use temporalio_sdk::activities::ActivityContext;
use tokio::time::{Instant, sleep_until, timeout};
use workflows::activities::Swept;
use workflows::options::SWEEP_BUDGET;
use workflows::signal::Signal;

const STEP: Duration = Duration::from_secs(1);
/// The times that a step may count as, whatever it took.
const STEP_BOUNDS: std::ops::RangeInclusive<Duration> = STEP..=Duration::from_secs(3);
/// The part of the rate of queries that changes of settings and the calendar may use.
const SHARE: f64 = 0.8;
/// Maximum number of purchases in each category of a step that has no other limit, which limits the rate of signals.
const OTHERS: i64 = 50;
/// Number of missed windows in one sweep that is worth an alarm.
const MANY_MISSED: usize = 50;
/// The alarm. It names no number, so that there is one such alarm, which is counted.
const MISSED: &str = "many windows ended, but their purchases were not settled: Temporal lost runs, or Temporal or \
     the workers are too slow; the sweep wakes these purchases, at most 50 per second. If this continues, check \
     Temporal and the workers";
/// The number of a platform's purchases that were woken, or whose query that was put off is due, and that did not settle
/// yet, as the time in which so many are woken.
const IN_PROGRESS: Duration = Duration::from_secs(10);
const MAX_CONCURRENT: usize = 8;
/// Approximate maximum number of deliveries to deleted destinations that one sweep ends.
const MAX_CLOSED: i64 = 2000;
/// Approximate maximum number of waiting deliveries that one sweep reconsiders after a destination's settings changed.
const MAX_RECONSIDERED: i64 = 2000;
/// Maximum number of deliveries that one transaction gives up because their customer has no external id, and the time for
/// all of them in a sweep.
const ABANDONED_AT_ONCE: i64 = 500;
const GIVE_UP_BUDGET: Duration = Duration::from_secs(2);
/// Approximate maximum number of purchases that one sweep scans after a change of settings.
const MAX_SCANNED: i64 = 10_000;
/// Number of sessions that one transaction ends, and the time for all of them in a sweep.
const SESSIONS_AT_ONCE: i64 = 200;
const SESSION_BUDGET: Duration = Duration::from_secs(2);
/// Maximum number of alarms about which one sweep records events.
const ALARMS_AT_ONCE: i64 = 100;
/// Number of refused claims that one sweep removes.
const CLAIMS_AT_ONCE: i64 = 1000;
const SCAN_BUDGET: Duration = Duration::from_secs(2);
/// Time after which no further run is examined that may make no progress: the next sweep goes on.
const EXAMINE_BUDGET: Duration = Duration::from_secs(2);
/// Time after which no further step begins, and no further signal is sent: the next sweep goes on.
const BUDGET: Duration = Duration::from_secs(12);

/// Time between two heartbeats to Temporal.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Time until Temporal runs a sweep again that did not finish.
const RETRY: Duration = Duration::from_secs(1);

/// Sweeps for this run of the workflow within [`SWEEP_BUDGET`], and stores the time of the end.
///
/// # Errors
/// Storage failed, or the time is over: Temporal runs the activity again.
pub async fn sweep_in_time(context: &Context, run_id: &str) -> Result<Swept, Failed> {
    let sweeping = async {
        if fault::is_planted("sweep.hang") {
            std::future::pending::<()>().await;
        }
        emptied::check(context, run_id).await;
        if let Err(error) = context.store.make_stored_ahead_due().await {
            tracing::warn!(error = %error, "what was stored before the clock was set back is due later");
        }
        let swept = sweep(context).await?;
        context.store.sweep_finished().await?;
        Ok(swept)
    };
    let late = |_| Err(Failed::Later { wait: RETRY, why: "the sweep took too long".to_owned() });
    timeout(SWEEP_BUDGET, sweeping).await.unwrap_or_else(late)
}

/// Sends heartbeats to Temporal until the activity is cancelled: Temporal takes it for lost, or the worker stops.
pub async fn send_heartbeats(ctx: &ActivityContext, mut heartbeats: Heartbeats<'_>) -> Failed {
    loop {
        heartbeats.send().await;
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {}
            () = ctx.cancelled() => return Failed::Later { wait: RETRY, why: "the sweep was cancelled".to_owned() },
        }
    }
}

/// In this order: records events about alarms, expires topics that waited too long for approval, schedules rechecks of
/// purchases after a change of settings, signals the runs of overdue purchases and of late destinations, reconsiders
/// waiting deliveries after a change of their destination's settings, gives up those that waited too long, ends the
/// deliveries to deleted destinations, and removes old bodies. Between these it ends sessions of devices, starts
/// streams of their events and the verification of their claims, and goes on to erase customers.
async fn sweep(context: &Context) -> Result<Swept, Error> {
    let store = &context.store;
    announce_alarms(context).await;
    if let Err(error) = expire_topics(store).await {
        tracing::warn!(error = %error, "topics were not expired; the next sweep tries again");
    }
    let has_more_purchases = schedule_rechecks(store).await;
    let purchases = wake_overdue(context).await?;
    let late = store.late_destinations().await?;
    start_destinations(&context.engine, &late.destinations, "lane", late.at);
    start_destinations(&context.engine, &late.in_backoff, "cancel_backoff", late.at);
    let has_more_sessions = end_idle_sessions(store).await;
    start_streams(context).await;
    start_claims(context).await;
    let has_more_erased = erasure::carry_on(context).await;
    reconsider_deliveries(store).await;
    give_up_unnamed(store).await;
    end_deleted(store).await;
    retention::prune(store, context.retention).await;
    let woken = purchases.woken + late.destinations.len() + late.in_backoff.len();
    Ok(Swept { woken, more: has_more_purchases || purchases.more || has_more_sessions || has_more_erased })
}

/// Wakes what is overdue, step by step.
async fn wake_overdue(context: &Context) -> Result<Swept, Error> {
    let (began, mut swept) = (Instant::now(), Swept::default());
    let per_second = f64::from(context.verifier.rate.per_second()) * workers(&context.engine).await;
    let (mut step, mut took, mut missed) = (began, STEP, 0);
    loop {
        let overdue = context.store.overdue(quota(per_second, took)).await?;
        let (found, more, postponed) = (overdue.found.len(), overdue.more, overdue.postponed.len());
        let before = missed;
        missed += overdue.missed();
        if before < MANY_MISSED && missed >= MANY_MISSED {
            raise_alarm(&context.store).await;
        }
        context.store.note_waking(overdue.clone()).await?;
        let woken = wake_all(context, &overdue, began).await;
        swept.woken += woken.len();
        let has_progressed = !woken.is_empty() || (found == 0 && postponed > 0);
        if let Err(error) = context.store.note_woken(overdue, woken).await {
            tracing::warn!(error = %error, "wakes were not noted; the next sweep repeats them");
            return Ok(swept);
        }
        swept.more = more && (has_progressed || found == 0);
        if !swept.more || began.elapsed() > BUDGET || context.stopping.load(Ordering::Relaxed) {
            return Ok(swept);
        }
        sleep_until(step + STEP).await;
        took = step.elapsed();
        step = Instant::now();
    }
}

async fn raise_alarm(store: &Store) {
    if let Err(error) = store.alarm(None, "windows", MISSED).await {
        tracing::warn!(error = %error, "the alarm about missed windows was not stored");
    }
}

/// Number of workers, whose rates add up; one while Temporal does not answer.
async fn workers(engine: &Engine) -> f64 {
    let workers = engine.workers().await.unwrap_or(1).max(1);
    let workers = f64::from(u32::try_from(workers).unwrap_or(u32::MAX));
    metrics::gauge!("settle_workers").set(workers);
    workers
}

/// The quota of a step after one that took this time, where the stores may be queried so often in a second.
fn quota(per_second: f64, took: Duration) -> Quota {
    let rate = per_second * SHARE;
    let wakes = |time: Duration| {
        #[expect(clippy::cast_possible_truncation, reason = "some thousands a second for some seconds")]
        let wakes = (rate * time.as_secs_f64()) as i64;
        wakes.max(1)
    };
    Quota {
        per_store: wakes(took.clamp(*STEP_BOUNDS.start(), *STEP_BOUNDS.end())),
        unfollowed: wakes(IN_PROGRESS),
        others: OTHERS,
    }
}

/// Ends the runs that did not follow their wakes, and wakes all found purchases; returns those whose signal Temporal
/// accepted.
async fn wake_all(context: &Context, overdue: &Overdue, began: Instant) -> Vec<Due> {
    let Overdue { found, unfollowed, at, .. } = overdue;
    stuck::end(&context.store, &context.engine, unfollowed.clone(), EXAMINE_BUDGET).await;
    let woken: Vec<Option<Due>> = futures::stream::iter(found.clone())
        .take_while(|_| std::future::ready(began.elapsed() < BUDGET + STEP))
        .map(|due| wake(&context.engine, due, *at))
        .buffer_unordered(MAX_CONCURRENT)
        .collect()
        .await;
    woken.into_iter().flatten().collect()
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

/// Ends the sessions of devices that had no event for half an hour, for a bounded time; returns whether more may remain.
async fn end_idle_sessions(store: &Store) -> bool {
    let began = Instant::now();
    while began.elapsed() < SESSION_BUDGET {
        match timeout(SESSION_BUDGET, store.end_idle_sessions(SESSIONS_AT_ONCE)).await {
            Ok(Ok(0)) => return false,
            Ok(Ok(number)) => tracing::debug!(number, "sessions of devices timed out"),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "sessions of devices were not ended; the next sweep tries again");
                return false;
            }
            Err(_) => return true,
        }
    }
    true
}

/// Starts the streams of destinations with pending events of devices, where none is open.
async fn start_streams(context: &Context) {
    let found = match context.store.streams_pending().await {
        Ok(found) => found,
        Err(error) => {
            return tracing::warn!(error = %error, "streams of device events were not looked for; the next sweep does");
        }
    };
    found.into_iter().for_each(|id| context.engine.stream(id));
}

/// Starts the verification of the claims of platforms where some are due, and removes refused ones.
async fn start_claims(context: &Context) {
    let found = async {
        context.store.forget_refused_claims(CLAIMS_AT_ONCE).await?;
        context.store.platforms_with_due_claims().await
    };
    match found.await {
        Ok(found) => found.into_iter().for_each(|id| context.engine.verify_claims(id)),
        Err(error) => tracing::warn!(error = %error, "claims of devices were not swept; the next sweep does"),
    }
}

/// Records events about the alarms that were opened or closed, and starts their deliveries.
async fn announce_alarms(context: &Context) {
    match context.store.announce_alarms(ALARMS_AT_ONCE).await {
        Ok(queued_for) => queued_for.into_iter().for_each(|id| context.engine.supervise(id)),
        Err(error) => {
            tracing::warn!(error = %error, "events about alarms were not recorded; the next sweep tries again")
        }
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

/// Gives up the deliveries that waited too long for the external id of their customer, for a bounded time.
async fn give_up_unnamed(store: &Store) {
    let began = Instant::now();
    while began.elapsed() < GIVE_UP_BUDGET {
        match timeout(GIVE_UP_BUDGET, store.give_up_unnamed(ABANDONED_AT_ONCE)).await {
            Ok(Ok(0)) => return,
            Ok(Ok(number)) => {
                let count = u64::try_from(number).unwrap_or(0);
                metrics::counter!("settle_deliveries_given_up_total", "why" => "no_login").increment(count);
                tracing::info!(number, "gave up deliveries whose customer has no external id after 30 days");
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "waiting deliveries were not given up; the next sweep tries again");
                return;
            }
            Err(_) => return,
        }
    }
}

/// Ends the deliveries that are pending for deleted destinations.
async fn end_deleted(store: &Store) {
    match store.end_deleted_pending(MAX_CLOSED).await {
        Ok(0) => {}
        Ok(closed) => tracing::info!(closed, "closed deliveries to deleted destinations"),
        Err(error) => {
            tracing::warn!(error = %error, "deliveries to deleted destinations were not closed; the next sweep tries again");
        }
    }
}

/// Signals a purchase's run; returns the purchase if Temporal accepted the signal.
async fn wake(engine: &Engine, due: Due, read_at: Timestamp) -> Option<Due> {
    metrics::counter!("settle_sweep_findings_total", "why" => due.why).increment(1);
    tracing::debug!(collapse_key = %due.collapse_key, why = due.why, %read_at, "signals an overdue purchase");
    match engine.signal(due.collapse_key, Signal::Wake).await {
        Ok(()) => Some(due),
        Err(error) => {
            tracing::warn!(collapse_key = %due.collapse_key, error = %error, "a purchase was not woken; the next sweep tries again");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_uses_four_fifths_of_the_rate() {
        let seconds = |number| Duration::from_secs(number);
        assert_eq!(quota(10.0, seconds(1)).per_store, 8);
        assert_eq!(quota(100.0, seconds(2)).per_store, 160, "a long step counts");
        assert_eq!(quota(100.0, seconds(60)).per_store, 240, "but not as a burst");
        assert_eq!(quota(1.0, Duration::ZERO).per_store, 1);
        assert_eq!(quota(10.0, seconds(1)).unfollowed, 80);
    }
}
