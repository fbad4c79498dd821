//! `supervise`: probes a destination's open breaker or drains its backlog, and returns the time of the next check.
//! Storage decides what the destination needs next.
//!
//! At most [`MAX_LANES`] lanes are in memory, besides those that this process skips; while the breaker is open, only
//! the probed one.

pub mod run;

use crate::delivery::attempt::{AttemptResult, LEASE, Turn, attempt, lease};
use crate::delivery::drain::{DrainResult, MAX_LANES, drain, sooner};
use crate::delivery::refused;
use crate::delivery::supervise::run::SuperviseRun;
use crate::dependencies::Context;
use crate::engine::TemporalError;
use domain::CollapseKey;
use futures::StreamExt;
use std::ops::RangeInclusive;
use std::time::Duration;
use storage::{DestinationNeed as Needs, Error, HealthView, Idle, LanesInBackoff, Mode};
use tokio::time::Instant;
use workflows::activities::{Supervise, Supervised, Supervision};
use workflows::signal::{CancelBackoff, Signal};

/// Maximum time between two checks during a pause, since a request that was in flight may have ended the pause early.
const PAUSE_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// Maximum number of concurrent signals that cancel back-offs.
const MAX_CONCURRENT: usize = 8;
/// Number of back-offs in a page. Storage records the progress after each page.
const CANCELS_PER_PAGE: i64 = 50;
/// Time after which a check begins no further page of back-offs, so that the backlog is drained first.
const CANCEL_BUDGET: Duration = Duration::from_secs(5);
/// Time after which a page in progress is abandoned: half of the time of a run.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);
/// Time until the next attempt to cancel the remaining back-offs.
const CANCEL_RETRY: Duration = Duration::from_secs(5);
/// Bounds of the time until the next check if no lane could be leased, or an event was not sent.
const IDLE_CHECK: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

/// Limits the time that a check spends on cancelling back-offs, so that time remains for the backlog.
struct CancelBudget<'r> {
    run: &'r SuperviseRun,
    began: Instant,
}

impl CancelBudget<'_> {
    /// Whether a new page may begin.
    fn has_time(&self) -> bool {
        self.began.elapsed() < CANCEL_BUDGET && !self.is_finished()
    }

    /// Whether no further back-off may be cancelled, even of a page in progress.
    fn is_finished(&self) -> bool {
        self.run.is_finished() || self.began.elapsed() > CANCEL_LIMIT
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CancelProgress {
    All,
    /// More back-offs remain; the backlog is drained first.
    More,
    /// Temporal accepts no signal now, or the time for signals is exhausted.
    Unavailable,
}

/// Supervises a destination until it must wait, needs nothing, or the run is finished.
pub async fn supervise(
    context: &Context,
    run: &SuperviseRun,
    input: &Supervise,
) -> Result<Supervised, Error> {
    let mut is_probe_due = input.is_probe;
    let mut due = run
        .follows_a_lost_run
        .then(|| Instant::now() + LEASE + *IDLE_CHECK.start());
    let mut progress = CancelProgress::More;
    loop {
        run.resume();
        if progress != CancelProgress::Unavailable {
            progress = cancel_backoffs(
                context,
                &CancelBudget {
                    run,
                    began: Instant::now(),
                },
            )
            .await?;
            let again = (progress != CancelProgress::All).then(|| Instant::now() + CANCEL_RETRY);
            due = due.into_iter().chain(again).min();
        }
        let goes_on = progress == CancelProgress::More && !run.is_finished();
        let limit =
            MAX_LANES.saturating_add(context.refused.count(run.destination, Instant::now()));
        let needs = match context
            .store
            .destination_need(run.destination, limit)
            .await?
        {
            Needs::Probe { key, .. } if is_probe_due => Needs::Probe {
                key,
                wait: Duration::ZERO,
            },
            needs => needs,
        };
        let (state, next_check_in) = match needs {
            needs if goes_on && has_to_wait(&needs) => continue,
            // Nothing can be sent now, but this run must check again, because of a lane that belongs to no purchase, a
            // lease that a lost run left, or back-offs that are not cancelled yet.
            Needs::Rest => match due {
                Some(due) => (
                    Supervision::Drain,
                    Some(due.saturating_duration_since(Instant::now())),
                ),
                None => (Supervision::Rest, None),
            },
            Needs::Pause { wait } => (Supervision::Pause, Some(wait.min(PAUSE_CHECK_INTERVAL))),
            Needs::Probe { wait, .. } if !wait.is_zero() => (Supervision::Probe, Some(wait)),
            Needs::Probe { key, .. } => {
                is_probe_due = false;
                match probe(context, run, key).await? {
                    None if !run.is_finished() => continue,
                    busy_for => (Supervision::Probe, Some(busy_for.unwrap_or_default())),
                }
            }
            Needs::Drain { keys, concurrency } => {
                let result = drain(context, run, keys, concurrency).await?;
                due = due
                    .into_iter()
                    .chain(result.due_in.map(|wait| Instant::now() + wait))
                    .min();
                match idle_for(&result) {
                    busy_for if !run.is_finished() && (goes_on || busy_for.is_none()) => continue,
                    _ if run.is_finished() => (Supervision::Drain, Some(Duration::ZERO)),
                    busy_for => (Supervision::Drain, busy_for),
                }
            }
        };
        return report(context, run, state, next_check_in).await;
    }
}

/// Whether no lane can be attempted now.
fn has_to_wait(needs: &Needs) -> bool {
    match needs {
        Needs::Rest | Needs::Pause { .. } => true,
        Needs::Probe { wait, .. } => !wait.is_zero(),
        Needs::Drain { .. } => false,
    }
}

/// Cancels the back-offs of purchases' runs, page by page within the budget, so that these runs stop waiting for their
/// next attempts. A page is recorded as cancelled only after Temporal has accepted all its signals.
async fn cancel_backoffs(
    context: &Context,
    budget: &CancelBudget<'_>,
) -> Result<CancelProgress, Error> {
    let destination = budget.run.destination;
    while let Some(LanesInBackoff { keys, through }) = context
        .store
        .lanes_in_backoff(destination, CANCELS_PER_PAGE)
        .await?
    {
        if budget.run.is_finished() {
            return Ok(CancelProgress::Unavailable);
        }
        if !budget.has_time() {
            return Ok(CancelProgress::More);
        }
        let results = futures::stream::iter(keys).map(|key| cancel_backoff(context, budget, key));
        let mut results = std::pin::pin!(results.buffer_unordered(MAX_CONCURRENT));
        while let Some(is_accepted) = results.next().await {
            if !is_accepted {
                return Ok(CancelProgress::Unavailable);
            }
        }
        context
            .store
            .backoff_cancelled(destination, through)
            .await?;
    }
    Ok(CancelProgress::All)
}

/// Signals one purchase's run to cancel its back-off. Returns false if the signal must be repeated; a signal that
/// Temporal permanently rejects is not repeated.
async fn cancel_backoff(context: &Context, budget: &CancelBudget<'_>, key: CollapseKey) -> bool {
    if budget.is_finished() {
        return false;
    }
    let signal = Signal::CancelBackoff(CancelBackoff {
        destination_id: Some(budget.run.destination),
    });
    match context.engine.signal_open(key, signal).await {
        Ok(()) => true,
        Err(error @ (TemporalError::Unavailable(_) | TemporalError::Exhausted(_))) => {
            tracing::debug!(collapse_key = %key, error = %error, "a back-off is not cancelled yet; tried again soon");
            false
        }
        Err(error @ TemporalError::Rejected(_)) => {
            tracing::error!(collapse_key = %key, error = %error, "a back-off was not cancelled: the purchase's run waits for its next attempt");
            true
        }
    }
}

/// Probes an open breaker with one request. Returns the time until the next check if no request was completed.
async fn probe(
    context: &Context,
    run: &SuperviseRun,
    key: CollapseKey,
) -> Result<Option<Duration>, Error> {
    let lease = lease(key, run.destination, run.token(), Mode::Probe);
    let token = lease.token.clone();
    let result = match attempt(context, Turn::new(lease), None).await {
        // The next probe uses another lane, if there is one.
        Err(error) if error.is_permanent() => {
            let wait = refused::set_back(context, run.destination, key, &token, &error).await;
            let is_set_back = context
                .refused
                .wait(run.destination, key, Instant::now())
                .is_none();
            return if is_set_back {
                Ok(Some(clamp_busy(wait)))
            } else {
                Err(error)
            };
        }
        result => result?,
    };
    fail::fail_point!("supervise.after_probe", |_| std::process::abort());
    Ok(match result {
        AttemptResult::Completed(_) => None,
        AttemptResult::Idle(
            Idle::Leased { wait }
            | Idle::UserBusy { wait, .. }
            | Idle::Wait { wait, .. }
            | Idle::Pending { wait, .. },
        ) => Some(clamp_busy(wait)),
        AttemptResult::Idle(Idle::Closed { .. }) | AttemptResult::LeaseExpired => {
            Some(*IDLE_CHECK.start())
        }
    })
}

/// Returns the time until the next check after a drain that completed no attempt, since repeating it at once would be a
/// busy loop; `None` after any other drain.
fn idle_for(result: &DrainResult) -> Option<Duration> {
    let soonest = sooner(result.busy_for, result.due_in).unwrap_or(*IDLE_CHECK.start());
    (result.attempts == 0).then(|| clamp_busy(soonest))
}

fn clamp_busy(wait: Duration) -> Duration {
    wait.clamp(*IDLE_CHECK.start(), *IDLE_CHECK.end())
}

/// Returns the activity's result. Unless the destination is at rest, it includes the backlog and the last error for the
/// Temporal UI.
async fn report(
    context: &Context,
    run: &SuperviseRun,
    state: Supervision,
    next_check_in: Option<Duration>,
) -> Result<Supervised, Error> {
    if state == Supervision::Rest {
        return Ok(Supervised {
            next_check_in,
            state,
            ..Supervised::default()
        });
    }
    let HealthView { health, pending } = context.store.health(run.destination).await?;
    Ok(Supervised {
        next_check_in,
        state,
        pending,
        message: health.last_error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::DestinationId;
    use std::sync::Arc;

    #[tokio::test]
    async fn cancelling_backoffs_takes_a_bounded_part_of_a_round() {
        let run = SuperviseRun::new(
            DestinationId::new(uuid::Uuid::nil()),
            "run/1/1".to_owned(),
            1,
            Arc::default(),
        );
        let budget = |seconds: u64| CancelBudget {
            run: &run,
            began: Instant::now() - Duration::from_secs(seconds),
        };
        let at = |seconds| (budget(seconds).has_time(), budget(seconds).is_finished());
        assert_eq!(at(0), (true, false));
        assert_eq!(
            at(CANCEL_BUDGET.as_secs()),
            (false, false),
            "a started page is finished"
        );
        assert_eq!(
            at(CANCEL_LIMIT.as_secs()),
            (false, true),
            "not with a slow engine"
        );
        assert!(CANCEL_LIMIT * 2 <= workflows::options::SUPERVISE_BUDGET && !run.is_drain_over());
        run.halt();
        assert_eq!(at(0), (false, true));
    }

    #[test]
    fn cancelling_continues_while_the_destination_has_to_wait() {
        let key = CollapseKey::new(uuid::Uuid::nil());
        let probe = |ms| Needs::Probe {
            key,
            wait: Duration::from_millis(ms),
        };
        for needs in [
            Needs::Rest,
            Needs::Pause {
                wait: Duration::from_millis(1),
            },
            probe(1),
        ] {
            assert!(has_to_wait(&needs), "{needs:?}");
        }
        for needs in [
            probe(0),
            Needs::Drain {
                keys: vec![key],
                concurrency: 1,
            },
        ] {
            assert!(!has_to_wait(&needs), "{needs:?}");
        }
    }

    #[test]
    fn an_idle_drain_is_not_repeated_at_once() {
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let idle = |attempts, busy, due| {
            idle_for(&DrainResult {
                attempts,
                busy_for: seconds(busy),
                due_in: seconds(due),
            })
        };
        assert_eq!(idle(1, Some(3), None), None);
        assert_eq!(idle(0, None, None), seconds(Some(1)));
        assert_eq!(idle(0, Some(0), None), seconds(Some(1)));
        assert_eq!(idle(0, Some(9), Some(7)), seconds(Some(7)));
        assert_eq!(idle(0, Some(600), None), seconds(Some(30)));
    }
}
