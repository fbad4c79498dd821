//! `tend`: looks after a destination as a whole. Tries its breaker when that is time, delivers what is owed, and says
//! when to look again. What it needs next is for storage to say.
//!
//! Never more than [`AT_A_TIME`] lanes are in memory, and none while a breaker is open.

use crate::Doing;
use crate::attempt::{Attempted, LEASE_MS, MOST, Turn, attempt};
use crate::drain::{AT_A_TIME, Drained, drain, sooner};
use crate::engine;
use domain::{CollapseKey, DestinationId};
use futures::StreamExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use storage::{DestinationNeed as Needs, Error, LanesInBackoff, Mode};
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;
use workflows::asks::{Tend, Tended, Tending};
use workflows::options::TEND_ENOUGH;
use workflows::signal::{self, Signal};

/// How often Temporal hears that a run lives.
const BEAT: Duration = Duration::from_secs(4);
/// A pause is looked at again after so long: a request that was under way may have ended it.
const PAUSE_MS: i64 = 30_000;
/// So many purchases are called back at once.
const AT_ONCE: usize = 8;
/// So many are called back before that is noted.
const RECALL_AT_A_TIME: i64 = 50;
/// For so long a look calls back, page after page, before it delivers what is owed.
const RECALL_ENOUGH: Duration = Duration::from_secs(5);
/// A page that was begun is left after so long: that is half of a look.
const RECALL_MOST: Duration = Duration::from_secs(10);
/// When to look again for purchases that could not be called back.
const RECALL_AGAIN_MS: i64 = 5_000;
/// How soon to look again when no lane could be had, at least and at most.
const BUSY_MS: std::ops::RangeInclusive<i64> = 1_000..=30_000;

/// One run of the activity: until when it begins anything new, and what tells its attempts apart.
pub struct Round {
    token: String,
    /// Whether the run before it was lost, and may have left lanes that are leased still.
    follows_a_lost_one: bool,
    claims: AtomicU64,
    began: Instant,
    /// The worker was told to end.
    stopping: Arc<AtomicBool>,
    /// The run is to end: it was cancelled, or storage fails.
    is_halted: AtomicBool,
    /// The destination takes nothing more now.
    is_held_back: AtomicBool,
}

impl Round {
    /// A run that begins now, the first or another attempt at it.
    pub fn new((token, attempt): (String, u32), stopping: Arc<AtomicBool>) -> Self {
        let (claims, is_halted, is_held_back) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let follows_a_lost_one = attempt > 1;
        Self { token, follows_a_lost_one, claims, began: Instant::now(), stopping, is_halted, is_held_back }
    }

    /// Another token for each claim: two lanes of one user are two claimers.
    pub fn token(&self) -> String {
        format!("{}/{}", self.token, self.claims.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether nothing new is to be begun in a drain.
    pub fn is_over(&self) -> bool {
        self.is_held_back.load(Ordering::Relaxed) || self.has_ended()
    }

    /// Nothing new is begun until storage was asked again.
    pub fn hold_back(&self) {
        self.is_held_back.store(true, Ordering::Relaxed);
    }

    /// Nothing new is begun any more.
    pub fn halt(&self) {
        self.is_halted.store(true, Ordering::Relaxed);
    }

    fn has_ended(&self) -> bool {
        self.is_halted.load(Ordering::Relaxed)
            || self.stopping.load(Ordering::Relaxed)
            || self.began.elapsed() > TEND_ENOUGH
    }

    /// Tells Temporal that the run lives, and hears whether it was cancelled.
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

/// The part of a look in which purchases are called back. The rest of it is for what is owed.
struct Share<'r> {
    round: &'r Round,
    began: Instant,
}

impl Share<'_> {
    /// Whether another page may be begun.
    fn has_time(&self) -> bool {
        self.began.elapsed() < RECALL_ENOUGH && !self.has_ended()
    }

    /// Whether nobody is called back any more.
    fn has_ended(&self) -> bool {
        self.round.has_ended() || self.began.elapsed() > RECALL_MOST
    }
}

/// What came of calling back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recalled {
    /// All that are to be told were.
    All,
    /// There are more, and what is owed has its turn.
    More,
    /// Nobody can be told now.
    NotNow,
}

/// Looks after a destination for as long as there is something to do, and a run may last.
pub async fn tend(doing: &Doing, round: &Round, input: Tend) -> Result<Tended, Error> {
    let id = input.destination_id;
    let mut is_probe = input.is_probe;
    let mut due = round.follows_a_lost_one.then(|| after(LEASE_MS + *BUSY_MS.start()));
    let mut recalled = Recalled::More;
    loop {
        round.is_held_back.store(false, Ordering::Relaxed);
        if recalled != Recalled::NotNow {
            recalled = recall(doing, &Share { round, began: Instant::now() }, id).await?;
            let again = (recalled != Recalled::All).then(|| after(RECALL_AGAIN_MS));
            due = due.into_iter().chain(again).min();
        }
        let goes_on = recalled == Recalled::More && !round.has_ended();
        let (state, again_ms) = match doing.store.destination_need(id, AT_A_TIME).await? {
            needs if goes_on && has_to_wait(&needs, is_probe) => continue,
            // What waits is no purchase's, or was left by a run that was lost.
            Needs::Rest => match due.map(millis_until) {
                Some(ms) => (Tending::Drain, Some(ms)),
                None => (Tending::Rest, None),
            },
            Needs::Pause { ms } => (Tending::Pause, Some(ms.min(PAUSE_MS))),
            Needs::Probe { in_ms, .. } if in_ms > 0 && !is_probe => (Tending::Probe, Some(in_ms)),
            Needs::Probe { key, .. } => {
                is_probe = false;
                match probe(doing, round, (key, id)).await? {
                    None if !round.has_ended() => continue,
                    busy_ms => (Tending::Probe, Some(busy_ms.unwrap_or(0))),
                }
            }
            Needs::Drain { keys, concurrency } => {
                let drained = drain(doing, round, id, (keys, concurrency)).await?;
                due = due.into_iter().chain(drained.due_ms.map(after)).min();
                match busy(&drained) {
                    busy_ms if !round.has_ended() && (goes_on || busy_ms.is_none()) => continue,
                    _ if round.has_ended() => (Tending::Drain, Some(0)),
                    busy_ms => (Tending::Drain, busy_ms),
                }
            }
        };
        return said(doing, id, (state, again_ms)).await;
    }
}

/// Whether nothing is to be done about what is owed, for now.
fn has_to_wait(needs: &Needs, is_probe: bool) -> bool {
    match needs {
        Needs::Rest | Needs::Pause { .. } => true,
        Needs::Probe { in_ms, .. } => *in_ms > 0 && !is_probe,
        Needs::Drain { .. } => false,
    }
}

/// Tells purchases whose runs wait for another attempt not to wait, page by page for as long as its share lasts. A page
/// is noted only when the engine took each of its words.
async fn recall(doing: &Doing, share: &Share<'_>, destination_id: DestinationId) -> Result<Recalled, Error> {
    while let Some(LanesInBackoff { keys, through }) =
        doing.store.lanes_in_backoff(destination_id, RECALL_AT_A_TIME).await?
    {
        if share.round.has_ended() {
            return Ok(Recalled::NotNow);
        }
        if !share.has_time() {
            return Ok(Recalled::More);
        }
        let told = futures::stream::iter(keys).map(|key| call_back(doing, share, (key, destination_id)));
        let mut told = std::pin::pin!(told.buffer_unordered(AT_ONCE));
        while let Some(is_told) = told.next().await {
            if !is_told {
                return Ok(Recalled::NotNow);
            }
        }
        doing.store.backoff_cancelled(destination_id, through).await?;
    }
    Ok(Recalled::All)
}

async fn call_back(doing: &Doing, share: &Share<'_>, (key, destination_id): (CollapseKey, DestinationId)) -> bool {
    if share.has_ended() {
        return false;
    }
    let signal = Signal::Recall(signal::Recall { destination_id: Some(destination_id) });
    match doing.engine.signal_open(key, signal).await {
        Ok(()) => true,
        Err(error @ engine::Error::Unavailable(_)) => {
            tracing::debug!(collapse_key = %key, error = %error, "not called back yet; tried again soon");
            false
        }
        Err(error) => {
            tracing::error!(collapse_key = %key, error = %error, "not called back: its run waits for its next attempt");
            true
        }
    }
}

/// Tries an open breaker with one request; when to look again if none was made.
async fn probe(
    doing: &Doing,
    round: &Round,
    (key, destination): (CollapseKey, DestinationId),
) -> Result<Option<i64>, Error> {
    let turn = Turn { key, destination, token: round.token(), mode: Mode::Probe, at_most: MOST };
    let attempted = attempt(doing, &turn).await?;
    fail::fail_point!("tend.after_probe", |_| std::process::abort());
    Ok(match attempted {
        Attempted::Made(_) => None,
        Attempted::Leased { ms }
        | Attempted::UserBusy { ms, .. }
        | Attempted::Wait { ms, .. }
        | Attempted::Owed { ms, .. } => Some(clamped(ms)),
        Attempted::Closed { .. } | Attempted::Late => Some(*BUSY_MS.start()),
    })
}

/// When to look again after a drain that could do nothing, so that it does not spin; `None` after one that did.
fn busy(drained: &Drained) -> Option<i64> {
    let soonest = sooner(drained.busy_ms, drained.due_ms).unwrap_or(*BUSY_MS.start());
    (drained.attempts == 0).then(|| clamped(soonest))
}

fn clamped(ms: i64) -> i64 {
    ms.clamp(*BUSY_MS.start(), *BUSY_MS.end())
}

fn after(ms: i64) -> Instant {
    Instant::now() + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn millis_until(then: Instant) -> i64 {
    i64::try_from(then.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(i64::MAX)
}

/// The answer, with what people want to know of a destination that is not at rest.
async fn said(doing: &Doing, id: DestinationId, (state, again_ms): (Tending, Option<i64>)) -> Result<Tended, Error> {
    if state == Tending::Rest {
        return Ok(Tended { again_ms, state, ..Tended::default() });
    }
    let health = doing.store.health(id).await?;
    Ok(Tended { again_ms, state, owed: health.owed, said: health.last_error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round() -> Round {
        Round::new(("run/1/1".to_owned(), 1), Arc::default())
    }

    #[tokio::test]
    async fn nothing_new_is_begun_once_the_worker_ends_or_the_run_is_halted_or_long() {
        for end in [|round: &Round| round.halt(), |round: &Round| round.stopping.store(true, Ordering::Relaxed)] {
            let round = round();
            assert!(!round.is_over());
            end(&round);
            assert!(round.is_over() && round.has_ended());
        }
        let mut long = round();
        long.began -= TEND_ENOUGH + Duration::from_secs(1);
        assert!(long.is_over());
    }

    #[tokio::test]
    async fn purchases_are_called_back_in_a_part_of_a_look_and_what_is_owed_has_the_rest() {
        let round = round();
        let share = |seconds: u64| Share { round: &round, began: Instant::now() - Duration::from_secs(seconds) };
        let at = |seconds| (share(seconds).has_time(), share(seconds).has_ended());
        assert_eq!(at(0), (true, false));
        assert_eq!(at(RECALL_ENOUGH.as_secs()), (false, false), "a page that was begun is ended");
        assert_eq!(at(RECALL_MOST.as_secs()), (false, true), "of a slow engine it is not");
        assert!(RECALL_MOST * 2 <= TEND_ENOUGH && !round.is_over());
        round.halt();
        assert_eq!(at(0), (false, true));
    }

    #[test]
    fn while_nothing_else_can_be_done_a_look_goes_on_calling_back() {
        let key = CollapseKey::new(uuid::Uuid::nil());
        let probe = |in_ms| Needs::Probe { key, in_ms };
        for needs in [Needs::Rest, Needs::Pause { ms: 1 }, probe(1)] {
            assert!(has_to_wait(&needs, false), "{needs:?}");
        }
        for (needs, is_probe) in
            [(probe(0), false), (probe(1), true), (Needs::Drain { keys: vec![key], concurrency: 1 }, false)]
        {
            assert!(!has_to_wait(&needs, is_probe), "{needs:?}");
        }
    }

    #[tokio::test]
    async fn what_is_held_back_ends_a_drain_and_not_the_run() {
        let round = round();
        round.hold_back();
        assert!(round.is_over() && !round.has_ended());
    }

    #[tokio::test]
    async fn each_claim_has_a_token_of_its_own() {
        let round = round();
        assert_eq!([round.token(), round.token()], ["run/1/1/0", "run/1/1/1"]);
    }

    #[test]
    fn a_drain_that_could_do_nothing_is_not_repeated_at_once() {
        let idle = |busy_ms, due_ms| busy(&Drained { attempts: 0, busy_ms, due_ms });
        assert_eq!(busy(&Drained { attempts: 1, busy_ms: Some(3), due_ms: None }), None);
        assert_eq!(idle(None, None), Some(1_000));
        assert_eq!(idle(Some(3), None), Some(1_000));
        assert_eq!(idle(Some(9_000), Some(7_000)), Some(7_000));
        assert_eq!(idle(Some(600_000), None), Some(30_000));
    }
}
