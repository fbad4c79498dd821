//! `supervise`: supervises a destination as a whole. Probes its open breaker, drains its backlog, and returns the time of
//! the next check. Storage decides what the destination needs next.
//!
//! Never more than [`AT_A_TIME`] lanes are in memory, and none while a breaker is open.

use crate::Context;
use crate::attempt::{AttemptResult, LEASE_MS, attempt, claim};
use crate::drain::{AT_A_TIME, DrainResult, drain, sooner};
use crate::engine;
use domain::time::millis;
use domain::{CollapseKey, DestinationId};
use futures::StreamExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use storage::{DestinationNeed as Needs, Error, HealthView, Idle, LanesInBackoff, Mode};
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;
use workflows::activities::{Supervise, Supervised, Supervision};
use workflows::options::SUPERVISE_BUDGET;
use workflows::signal::{self, Signal};

/// Interval of the heartbeats to Temporal.
const BEAT: Duration = Duration::from_secs(4);
/// How soon a pause is checked again: a request that was in flight may have ended it.
const PAUSE: Duration = Duration::from_secs(30);
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

/// One run of the activity: how long it begins anything new, and the tokens of its claims.
pub struct Round {
    token: String,
    /// Whether the previous run was lost, and may have left leased lanes.
    follows_a_lost_run: bool,
    claims: AtomicU64,
    began: Instant,
    /// The worker stops.
    stopping: Arc<AtomicBool>,
    /// The run was cancelled, or storage fails.
    is_halted: AtomicBool,
    /// The destination takes no more requests now.
    is_held_back: AtomicBool,
}

impl Round {
    /// A run that begins now; `attempt` counts Temporal's attempts from 1.
    pub fn new(token: String, attempt: u32, stopping: Arc<AtomicBool>) -> Self {
        let (claims, is_halted, is_held_back) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let follows_a_lost_run = attempt > 1;
        Self { token, follows_a_lost_run, claims, began: Instant::now(), stopping, is_halted, is_held_back }
    }

    /// A new token for each claim: two lanes of one user are claimed separately.
    pub fn token(&self) -> String {
        format!("{}/{}", self.token, self.claims.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a drain begins nothing new.
    pub fn is_over(&self) -> bool {
        self.is_held_back.load(Ordering::Relaxed) || self.is_finished()
    }

    /// Begins nothing new until storage has been queried again.
    pub fn hold_back(&self) {
        self.is_held_back.store(true, Ordering::Relaxed);
    }

    /// Ends the round.
    pub fn halt(&self) {
        self.is_halted.store(true, Ordering::Relaxed);
    }

    fn is_finished(&self) -> bool {
        self.is_halted.load(Ordering::Relaxed)
            || self.stopping.load(Ordering::Relaxed)
            || self.began.elapsed() > SUPERVISE_BUDGET
    }

    /// Sends heartbeats to Temporal, and ends the round when the activity is cancelled.
    pub async fn beat(&self, ctx: &ActivityContext) -> Infallible {
        loop {
            if let Err(error) = ctx.record_heartbeat(()).await {
                tracing::debug!(error = %error, "a heartbeat was not sent");
            }
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {}
                () = ctx.cancelled(), if !self.is_halted.load(Ordering::Relaxed) => self.halt(),
            }
        }
    }
}

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
pub async fn supervise(context: &Context, round: &Round, input: Supervise) -> Result<Supervised, Error> {
    let id = input.destination_id;
    let mut is_probe = input.is_probe;
    let mut due = round.follows_a_lost_run.then(|| after(LEASE_MS + *BUSY_MS.start()));
    let mut progress = CancelProgress::More;
    loop {
        round.is_held_back.store(false, Ordering::Relaxed);
        if progress != CancelProgress::Unavailable {
            progress = cancel_backoffs(context, &CancelBudget { round, began: Instant::now() }, id).await?;
            let again = (progress != CancelProgress::All).then(|| after(CANCEL_RETRY_MS));
            due = due.into_iter().chain(again).min();
        }
        let goes_on = progress == CancelProgress::More && !round.is_finished();
        let (state, again_ms) = match context.store.destination_need(id, AT_A_TIME).await? {
            needs if goes_on && has_to_wait(&needs, is_probe) => continue,
            // What waits belongs to no purchase, or was left by a lost run.
            Needs::Rest => match due.map(millis_until) {
                Some(ms) => (Supervision::Drain, Some(ms)),
                None => (Supervision::Rest, None),
            },
            Needs::Pause { wait } => (Supervision::Pause, Some(millis(wait.min(PAUSE)))),
            Needs::Probe { wait, .. } if !wait.is_zero() && !is_probe => (Supervision::Probe, Some(millis(wait))),
            Needs::Probe { key, .. } => {
                is_probe = false;
                match probe(context, round, key, id).await? {
                    None if !round.is_finished() => continue,
                    busy_ms => (Supervision::Probe, Some(busy_ms.unwrap_or(0))),
                }
            }
            Needs::Drain { keys, concurrency } => {
                let result = drain(context, round, id, (keys, concurrency)).await?;
                due = due.into_iter().chain(result.due_ms.map(after)).min();
                match idle_ms(&result) {
                    busy_ms if !round.is_finished() && (goes_on || busy_ms.is_none()) => continue,
                    _ if round.is_finished() => (Supervision::Drain, Some(0)),
                    busy_ms => (Supervision::Drain, busy_ms),
                }
            }
        };
        return report(context, id, state, again_ms).await;
    }
}

/// Whether the backlog has to wait.
fn has_to_wait(needs: &Needs, is_probe: bool) -> bool {
    match needs {
        Needs::Rest | Needs::Pause { .. } => true,
        Needs::Probe { wait, .. } => !wait.is_zero() && !is_probe,
        Needs::Drain { .. } => false,
    }
}

/// Cancels the back-offs of purchases' runs, page by page within the budget. A page is recorded only when the engine
/// accepted each of its signals.
async fn cancel_backoffs(
    context: &Context,
    budget: &CancelBudget<'_>,
    destination_id: DestinationId,
) -> Result<CancelProgress, Error> {
    while let Some(LanesInBackoff { keys, through }) =
        context.store.lanes_in_backoff(destination_id, CANCELS_PER_PAGE).await?
    {
        if budget.round.is_finished() {
            return Ok(CancelProgress::Unavailable);
        }
        if !budget.has_time() {
            return Ok(CancelProgress::More);
        }
        let results = futures::stream::iter(keys).map(|key| cancel_backoff(context, budget, key, destination_id));
        let mut results = std::pin::pin!(results.buffer_unordered(AT_ONCE));
        while let Some(is_taken) = results.next().await {
            if !is_taken {
                return Ok(CancelProgress::Unavailable);
            }
        }
        context.store.backoff_cancelled(destination_id, through).await?;
    }
    Ok(CancelProgress::All)
}

async fn cancel_backoff(
    context: &Context,
    budget: &CancelBudget<'_>,
    key: CollapseKey,
    destination_id: DestinationId,
) -> bool {
    if budget.is_finished() {
        return false;
    }
    let signal = Signal::CancelBackoff(signal::CancelBackoff { destination_id: Some(destination_id) });
    match context.engine.signal_open(key, signal).await {
        Ok(()) => true,
        Err(error @ engine::Error::Unavailable(_)) => {
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
async fn probe(
    context: &Context,
    round: &Round,
    key: CollapseKey,
    destination: DestinationId,
) -> Result<Option<i64>, Error> {
    let claim = claim(key, destination, round.token(), Mode::Probe);
    let result = attempt(context, &claim).await?;
    fail::fail_point!("supervise.after_probe", |_| std::process::abort());
    Ok(match result {
        AttemptResult::Completed(_) => None,
        AttemptResult::Idle(
            Idle::Leased { wait } | Idle::UserBusy { wait, .. } | Idle::Wait { wait, .. } | Idle::Owed { wait, .. },
        ) => Some(clamp_busy(millis(wait))),
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
    Instant::now() + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn millis_until(then: Instant) -> i64 {
    i64::try_from(then.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(i64::MAX)
}

/// The activity's result, with the backlog and the last error for people unless the destination is at rest.
async fn report(
    context: &Context,
    id: DestinationId,
    state: Supervision,
    again_ms: Option<i64>,
) -> Result<Supervised, Error> {
    if state == Supervision::Rest {
        return Ok(Supervised { next_check_ms: again_ms, state, ..Supervised::default() });
    }
    let HealthView { health, owed } = context.store.health(id).await?;
    Ok(Supervised { next_check_ms: again_ms, state, owed, message: health.last_error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round() -> Round {
        Round::new("run/1/1".to_owned(), 1, Arc::default())
    }

    #[tokio::test]
    async fn a_stopped_halted_or_long_round_begins_nothing_new() {
        for end in [|round: &Round| round.halt(), |round: &Round| round.stopping.store(true, Ordering::Relaxed)] {
            let round = round();
            assert!(!round.is_over());
            end(&round);
            assert!(round.is_over() && round.is_finished());
        }
        let mut long = round();
        long.began -= SUPERVISE_BUDGET + Duration::from_secs(1);
        assert!(long.is_over());
    }

    #[tokio::test]
    async fn cancelling_backoffs_takes_a_bounded_part_of_a_round() {
        let round = round();
        let budget =
            |seconds: u64| CancelBudget { round: &round, began: Instant::now() - Duration::from_secs(seconds) };
        let at = |seconds| (budget(seconds).has_time(), budget(seconds).is_finished());
        assert_eq!(at(0), (true, false));
        assert_eq!(at(CANCEL_BUDGET.as_secs()), (false, false), "a started page is finished");
        assert_eq!(at(CANCEL_LIMIT.as_secs()), (false, true), "not with a slow engine");
        assert!(CANCEL_LIMIT * 2 <= SUPERVISE_BUDGET && !round.is_over());
        round.halt();
        assert_eq!(at(0), (false, true));
    }

    #[test]
    fn cancelling_continues_while_the_destination_has_to_wait() {
        let key = CollapseKey::new(uuid::Uuid::nil());
        let probe = |ms| Needs::Probe { key, wait: Duration::from_millis(ms) };
        for needs in [Needs::Rest, Needs::Pause { wait: Duration::from_millis(1) }, probe(1)] {
            assert!(has_to_wait(&needs, false), "{needs:?}");
        }
        for (needs, is_probe) in
            [(probe(0), false), (probe(1), true), (Needs::Drain { keys: vec![key], concurrency: 1 }, false)]
        {
            assert!(!has_to_wait(&needs, is_probe), "{needs:?}");
        }
    }

    #[tokio::test]
    async fn holding_back_ends_a_drain_and_not_the_round() {
        let round = round();
        round.hold_back();
        assert!(round.is_over() && !round.is_finished());
    }

    #[tokio::test]
    async fn each_claim_has_its_own_token() {
        let round = round();
        assert_eq!([round.token(), round.token()], ["run/1/1/0", "run/1/1/1"]);
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
