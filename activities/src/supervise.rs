//! `supervise`: supervises a destination as a whole. Probes its open breaker, drains its backlog, and returns the time of
//! the next check. Storage decides what the destination needs next.
//!
//! Never more than [`AT_A_TIME`] lanes are in memory, and none while a breaker is open.

use crate::attempt::{AttemptResult, LEASE_MS, attempt, claim};
use crate::dependencies::Context;
use crate::drain::{AT_A_TIME, DrainResult, drain, sooner};
use crate::engine::TemporalError;
use crate::round::Round;
use domain::CollapseKey;
use domain::time::{duration, millis};
use futures::StreamExt;
use std::time::Duration;
use storage::{DestinationNeed as Needs, Error, Idle, LanesInBackoff, Mode};
use tokio::time::Instant;
use workflows::activities::{Supervise, Supervised, Supervision};
use workflows::signal::{CancelBackoff, Signal};

/// How soon a pause is checked again: a request that was in flight may have ended it.
const PAUSE_MS: i64 = 30_000;
/// Maximum number of back-offs that are cancelled at once.
const AT_ONCE: usize = 8;
/// Number of back-offs that are cancelled before that is recorded.
const CANCELS_PER_PAGE: i64 = 50;
/// How long a check cancels back-offs, page after page, before it drains.
const CANCEL_BUDGET: Duration = Duration::from_secs(5);
/// After this time a started page is left: half of a round.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);
/// When to retry back-offs that could not be cancelled.
const CANCEL_RETRY_MS: i64 = 5_000;
/// Bounds of the time to the next check when no lane could be claimed.
const BUSY_MS: std::ops::RangeInclusive<i64> = 1_000..=30_000;

/// The time that a check spends on cancelling back-offs. The rest is for the backlog.
struct CancelBudget<'r> {
    round: &'r Round,
    began: Instant,
}

impl CancelBudget<'_> {
    /// Whether another page may begin.
    fn has_time(&self) -> bool {
        self.began.elapsed() < CANCEL_BUDGET && !self.is_finished()
    }

    /// Whether no more back-offs are cancelled.
    fn is_finished(&self) -> bool {
        self.round.is_finished() || self.began.elapsed() > CANCEL_LIMIT
    }
}

/// How far cancelling back-offs came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CancelProgress {
    /// All back-offs are cancelled.
    All,
    /// There are more; the backlog comes first.
    More,
    /// No purchase can be signalled now.
    Unavailable,
}

/// Supervises a destination until there is nothing to do, or the round is over.
pub async fn supervise(context: &Context, round: &Round, input: &Supervise) -> Result<Supervised, Error> {
    let mut is_probe_due = input.is_probe;
    let mut due = round.follows_a_lost_run.then(|| after(LEASE_MS + *BUSY_MS.start()));
    let mut progress = CancelProgress::More;
    loop {
        round.resume();
        if progress != CancelProgress::Unavailable {
            progress = cancel_backoffs(context, &CancelBudget { round, began: Instant::now() }).await?;
            let again = (progress != CancelProgress::All).then(|| after(CANCEL_RETRY_MS));
            due = due.into_iter().chain(again).min();
        }
        let goes_on = progress == CancelProgress::More && !round.is_finished();
        let needs = match context.store.destination_need(round.destination, AT_A_TIME).await? {
            Needs::Probe { key, .. } if is_probe_due => Needs::Probe { key, in_ms: 0 },
            needs => needs,
        };
        let (state, again_ms) = match needs {
            needs if goes_on && has_to_wait(&needs) => continue,
            // What waits belongs to no purchase, or was left by a lost run.
            Needs::Rest => match due.map(millis_until) {
                Some(ms) => (Supervision::Drain, Some(ms)),
                None => (Supervision::Rest, None),
            },
            Needs::Pause { ms } => (Supervision::Pause, Some(ms.min(PAUSE_MS))),
            Needs::Probe { in_ms, .. } if in_ms > 0 => (Supervision::Probe, Some(in_ms)),
            Needs::Probe { key, .. } => {
                is_probe_due = false;
                match probe(context, round, key).await? {
                    None if !round.is_finished() => continue,
                    busy_ms => (Supervision::Probe, Some(busy_ms.unwrap_or(0))),
                }
            }
            Needs::Drain { keys, concurrency } => {
                let result = drain(context, round, keys, concurrency).await?;
                due = due.into_iter().chain(result.due_ms.map(after)).min();
                match idle_ms(&result) {
                    busy_ms if !round.is_finished() && (goes_on || busy_ms.is_none()) => continue,
                    _ if round.is_finished() => (Supervision::Drain, Some(0)),
                    busy_ms => (Supervision::Drain, busy_ms),
                }
            }
        };
        return report(context, round, state, again_ms.map(duration)).await;
    }
}

/// Whether the backlog has to wait.
fn has_to_wait(needs: &Needs) -> bool {
    match needs {
        Needs::Rest | Needs::Pause { .. } => true,
        Needs::Probe { in_ms, .. } => *in_ms > 0,
        Needs::Drain { .. } => false,
    }
}

/// Cancels the back-offs of purchases' runs, page by page within the budget. A page is recorded only when the engine
/// accepted each of its signals.
async fn cancel_backoffs(context: &Context, budget: &CancelBudget<'_>) -> Result<CancelProgress, Error> {
    let destination = budget.round.destination;
    while let Some(LanesInBackoff { keys, through }) =
        context.store.lanes_in_backoff(destination, CANCELS_PER_PAGE).await?
    {
        if budget.round.is_finished() {
            return Ok(CancelProgress::Unavailable);
        }
        if !budget.has_time() {
            return Ok(CancelProgress::More);
        }
        let results = futures::stream::iter(keys).map(|key| cancel_backoff(context, budget, key));
        let mut results = std::pin::pin!(results.buffer_unordered(AT_ONCE));
        while let Some(is_taken) = results.next().await {
            if !is_taken {
                return Ok(CancelProgress::Unavailable);
            }
        }
        context.store.backoff_cancelled(destination, through).await?;
    }
    Ok(CancelProgress::All)
}

/// Returns whether the engine took the signal, or never will.
async fn cancel_backoff(context: &Context, budget: &CancelBudget<'_>, key: CollapseKey) -> bool {
    if budget.is_finished() {
        return false;
    }
    let signal = Signal::CancelBackoff(CancelBackoff { destination_id: Some(budget.round.destination) });
    match context.engine.signal_open(key, signal).await {
        Ok(()) => true,
        Err(error @ TemporalError::Unavailable(_)) => {
            tracing::debug!(collapse_key = %key, error = %error, "a back-off is not cancelled yet; tried again soon");
            false
        }
        Err(error) => {
            tracing::error!(collapse_key = %key, error = %error, "a back-off is not cancelled: its run waits for its next attempt");
            true
        }
    }
}

/// Probes an open breaker with one request; returns the time to the next check if none was finished.
async fn probe(context: &Context, round: &Round, key: CollapseKey) -> Result<Option<i64>, Error> {
    let claim = claim(key, round.destination, round.token(), Mode::Probe);
    let result = attempt(context, &claim).await?;
    fail::fail_point!("supervise.after_probe", |_| std::process::abort());
    Ok(match result {
        AttemptResult::Completed(_) => None,
        AttemptResult::Idle(
            Idle::Leased { ms } | Idle::UserBusy { ms, .. } | Idle::Wait { ms, .. } | Idle::Owed { ms, .. },
        ) => Some(clamp_busy(ms)),
        AttemptResult::Idle(Idle::Closed { .. }) | AttemptResult::Late => Some(*BUSY_MS.start()),
    })
}

/// Milliseconds to the next check after a drain without attempts, so that it does not spin; `None` after any other.
fn idle_ms(result: &DrainResult) -> Option<i64> {
    let soonest = sooner(result.busy_ms, result.due_ms).unwrap_or(*BUSY_MS.start());
    (result.attempts == 0).then(|| clamp_busy(soonest))
}

fn clamp_busy(ms: i64) -> i64 {
    ms.clamp(*BUSY_MS.start(), *BUSY_MS.end())
}

fn after(ms: i64) -> Instant {
    Instant::now() + duration(ms)
}

fn millis_until(then: Instant) -> i64 {
    millis(then.saturating_duration_since(Instant::now()))
}

/// The activity's result, with the backlog and the last error for people unless the destination is at rest.
async fn report(
    context: &Context,
    round: &Round,
    state: Supervision,
    next_check_in: Option<Duration>,
) -> Result<Supervised, Error> {
    if state == Supervision::Rest {
        return Ok(Supervised { next_check_in, state, ..Supervised::default() });
    }
    let health = context.store.health(round.destination).await?;
    Ok(Supervised { next_check_in, state, owed: health.owed, message: health.last_error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::DestinationId;
    use std::sync::Arc;

    #[tokio::test]
    async fn cancelling_backoffs_takes_a_bounded_part_of_a_round() {
        let round = Round::new(DestinationId::new(uuid::Uuid::nil()), "run/1/1".to_owned(), 1, Arc::default());
        let budget =
            |seconds: u64| CancelBudget { round: &round, began: Instant::now() - Duration::from_secs(seconds) };
        let at = |seconds| (budget(seconds).has_time(), budget(seconds).is_finished());
        assert_eq!(at(0), (true, false));
        assert_eq!(at(CANCEL_BUDGET.as_secs()), (false, false), "a started page is finished");
        assert_eq!(at(CANCEL_LIMIT.as_secs()), (false, true), "not with a slow engine");
        assert!(CANCEL_LIMIT * 2 <= workflows::options::SUPERVISE_BUDGET && !round.is_over());
        round.halt();
        assert_eq!(at(0), (false, true));
    }

    #[test]
    fn cancelling_continues_while_the_destination_has_to_wait() {
        let key = CollapseKey::new(uuid::Uuid::nil());
        let probe = |in_ms| Needs::Probe { key, in_ms };
        for needs in [Needs::Rest, Needs::Pause { ms: 1 }, probe(1)] {
            assert!(has_to_wait(&needs), "{needs:?}");
        }
        for needs in [probe(0), Needs::Drain { keys: vec![key], concurrency: 1 }] {
            assert!(!has_to_wait(&needs), "{needs:?}");
        }
    }

    #[test]
    fn an_idle_drain_is_not_repeated_at_once() {
        let idle = |busy_ms, due_ms| idle_ms(&DrainResult { attempts: 0, busy_ms, due_ms });
        assert_eq!(idle_ms(&DrainResult { attempts: 1, busy_ms: Some(3), due_ms: None }), None);
        assert_eq!(idle(None, None), Some(1_000));
        assert_eq!(idle(Some(3), None), Some(1_000));
        assert_eq!(idle(Some(9_000), Some(7_000)), Some(7_000));
        assert_eq!(idle(Some(600_000), None), Some(30_000));
    }
}
