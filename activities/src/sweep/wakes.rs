//! Wakes overdue purchases, step by step. This is the first part of each sweep, before anything else is read.
//!
//! A step takes about a second. Each step first wakes purchases that a person waits for, then those whose window was
//! missed, then those that a change of settings or a scheduled wake concerns. The last group may use four fifths of the
//! rate at which all workers together may query a store; the rest is for windows that end. A sweep that finds many
//! missed windows raises an alarm.

use super::parts::RETRY;
use super::stuck;
use crate::dependencies::Context;
use crate::engine::Engine;
use crate::failure::Failed;
use domain::{CollapseKey, Timestamp};
use futures::StreamExt;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage::{Due, Overdue, Quota, Store};
use tokio::time::{Instant, sleep_until};
use workflows::activities::Swept;
use workflows::signal::Signal;

const STEP: Duration = Duration::from_secs(1);
/// Bounds of the time for which a step counts, whatever time it took.
const STEP_BOUNDS: std::ops::RangeInclusive<Duration> = STEP..=Duration::from_secs(3);
/// The part of the query rate that changes of settings and scheduled wakes may use.
const SHARE: f64 = 0.8;
/// Maximum number of purchases in each category of a step that has no other limit, so that the rate of signals is
/// limited.
const OTHERS: i64 = 50;
/// Number of missed windows in one sweep that raises an alarm.
const MANY_MISSED: usize = 50;
/// If a step leaves this many found purchases without a wake, the sweep must have woken at least a tenth as many.
const MANY_LEFT: usize = 50;
/// The alarm. It names no number, so that there is a single such alarm, which is counted.
const MISSED: &str = "many windows ended, but their purchases were not settled: Temporal lost runs, or Temporal or \
     the workers are too slow; the sweep wakes these purchases, at most 50 per second. If this continues, check \
     Temporal and the workers";
/// Maximum number of a platform's purchases in progress, as the time in which that many are woken. In progress are
/// purchases that were woken, or whose postponed query is due, and that have not settled yet.
const IN_PROGRESS: Duration = Duration::from_secs(10);
const MAX_CONCURRENT: usize = 8;
/// Time after which no further run is checked for progress; the next sweep continues.
const EXAMINE_BUDGET: Duration = Duration::from_secs(2);
/// Minimum time for sending the signals of a step, however long reading took.
const SENDING: Duration = Duration::from_secs(3);

/// Wakes overdue purchases, step by step.
pub async fn wake_overdue(context: &Context, until: Instant) -> Result<Swept, Failed> {
    let (began, mut swept) = (Instant::now(), Swept::default());
    let per_second =
        f64::from(context.verifier.stores.per_second()) * workers(&context.engine).await;
    let (mut step, mut took, mut missed, mut left) = (began, STEP, 0, 0);
    loop {
        let overdue = context.store.overdue(quota(per_second, took)).await?;
        let (found, more, postponed) = (overdue.found.len(), overdue.more, overdue.postponed.len());
        let before = missed;
        missed += overdue.missed();
        if before < MANY_MISSED && missed >= MANY_MISSED {
            raise_alarm(&context.store).await;
        }
        context.store.note_waking(overdue.clone()).await?;
        let woken = wake_all(context, &overdue, until + STEP).await;
        swept.woken += woken.len();
        left = left.max(found.saturating_sub(woken.len()));
        let has_progressed = !woken.is_empty() || (found == 0 && postponed > 0);
        if let Err(error) = context.store.note_woken(overdue, woken).await {
            tracing::warn!(error = %error, "wakes were not noted; the next sweep repeats them");
            return Ok(swept);
        }
        swept.more = more && (has_progressed || found == 0);
        if !swept.more || Instant::now() > until || context.stopping.load(Ordering::Relaxed) {
            return progress(swept, left);
        }
        sleep_until(step + STEP).await;
        took = step.elapsed();
        step = Instant::now();
    }
}

/// Returns `swept`, unless the sweep made too little progress. `left` is the largest number of purchases that one step
/// found and did not wake.
///
/// # Errors
/// The sweep found many purchases and woke few of them: Temporal does not accept the signals, or accepts them too
/// slowly.
fn progress(swept: Swept, left: usize) -> Result<Swept, Failed> {
    if left < MANY_LEFT || swept.woken.saturating_mul(10) >= left {
        return Ok(swept);
    }
    let why = format!(
        "it woke {} purchases and left {left} that it had found",
        swept.woken
    );
    Err(Failed::Later { wait: RETRY, why })
}

async fn raise_alarm(store: &Store) {
    if let Err(error) = store.alarm(None, "windows", MISSED).await {
        tracing::warn!(error = %error, "the alarm about missed windows was not stored");
    }
}

/// Returns the number of workers, whose rates add up; one while Temporal does not respond.
async fn workers(engine: &Engine) -> f64 {
    let workers = engine.workers().await.unwrap_or(1).max(1);
    let workers = f64::from(u32::try_from(workers).unwrap_or(u32::MAX));
    metrics::gauge!("settle_workers").set(workers);
    workers
}

/// Returns the quota of a step that follows one of duration `took`, if the stores may be queried `per_second` times per
/// second.
fn quota(per_second: f64, took: Duration) -> Quota {
    let rate = per_second * SHARE;
    let wakes = |time: Duration| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "some thousands a second for some seconds"
        )]
        let wakes = (rate * time.as_secs_f64()) as i64;
        wakes.max(1)
    };
    Quota {
        per_store: wakes(took.clamp(*STEP_BOUNDS.start(), *STEP_BOUNDS.end())),
        unfollowed: wakes(IN_PROGRESS),
        others: OTHERS,
    }
}

/// Wakes the found purchases. Those whose runs did not follow earlier wakes come last, and their runs are ended first
/// if they are stuck. Returns the purchases whose signal Temporal accepted.
async fn wake_all(context: &Context, overdue: &Overdue, until: Instant) -> Vec<Due> {
    let until = until.max(Instant::now() + SENDING);
    let unfollowed: BTreeSet<CollapseKey> = overdue.unfollowed.iter().copied().collect();
    let (last, first): (Vec<Due>, Vec<Due>) = overdue
        .found
        .iter()
        .partition(|due| unfollowed.contains(&due.collapse_key));
    let mut woken = signal_all(&context.engine, first, overdue.at, until).await;
    stuck::end(
        &context.store,
        &context.engine,
        overdue.unfollowed.clone(),
        EXAMINE_BUDGET,
    )
    .await;
    woken.extend(signal_all(&context.engine, last, overdue.at, until).await);
    woken
}

async fn signal_all(
    engine: &Engine,
    found: Vec<Due>,
    read_at: Timestamp,
    until: Instant,
) -> Vec<Due> {
    let woken: Vec<Option<Due>> = futures::stream::iter(found)
        .take_while(|_| std::future::ready(Instant::now() < until))
        .map(|due| wake(engine, due, read_at))
        .buffer_unordered(MAX_CONCURRENT)
        .collect()
        .await;
    woken.into_iter().flatten().collect()
}

/// Signals a purchase's run. Returns the purchase if Temporal accepted the signal.
async fn wake(engine: &Engine, due: Due, read_at: Timestamp) -> Option<Due> {
    metrics::counter!("settle_sweep_findings_total", "why" => due.why.as_str()).increment(1);
    tracing::debug!(collapse_key = %due.collapse_key, why = due.why.as_str(), %read_at, "signals an overdue purchase");
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
    fn a_sweep_that_finds_much_and_wakes_nearly_nothing_failed() {
        let sweep = |woken, left| progress(Swept { woken, more: true }, left).is_ok();
        assert!(
            sweep(0, 0) && sweep(0, 49),
            "a few may be left to the next sweep"
        );
        assert!(!sweep(0, 50) && !sweep(9, 100));
        assert!(sweep(10, 100) && sweep(2_000, 15_000), "it makes progress");
    }

    #[test]
    fn the_calendar_uses_four_fifths_of_the_rate() {
        let seconds = |number| Duration::from_secs(number);
        assert_eq!(quota(10.0, seconds(1)).per_store, 8);
        assert_eq!(
            quota(100.0, seconds(2)).per_store,
            160,
            "a long step counts"
        );
        assert_eq!(
            quota(100.0, seconds(60)).per_store,
            240,
            "but not as a burst"
        );
        assert_eq!(quota(1.0, Duration::ZERO).per_store, 1);
        assert_eq!(quota(10.0, seconds(1)).unfollowed, 80);
    }
}
