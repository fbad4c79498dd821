//! One run of `supervise`: how long it begins anything new, and the tokens of its claims.

use domain::DestinationId;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;
use workflows::options::SUPERVISE_BUDGET;

/// Interval of the heartbeats to Temporal.
const BEAT: Duration = Duration::from_secs(4);

/// One run of the activity.
pub struct Round {
    /// The destination that it supervises.
    pub destination: DestinationId,
    token: String,
    /// Whether the previous run was lost, and may have left leased lanes.
    pub follows_a_lost_run: bool,
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
    pub fn new(destination: DestinationId, token: String, attempt: u32, stopping: Arc<AtomicBool>) -> Self {
        Self {
            destination,
            token,
            follows_a_lost_run: attempt > 1,
            claims: AtomicU64::default(),
            began: Instant::now(),
            stopping,
            is_halted: AtomicBool::default(),
            is_held_back: AtomicBool::default(),
        }
    }

    /// A new token for each claim: two lanes of one user are claimed separately.
    pub fn token(&self) -> String {
        format!("{}/{}", self.token, self.claims.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a drain begins nothing new.
    pub fn is_over(&self) -> bool {
        self.is_held_back.load(Ordering::Relaxed) || self.is_finished()
    }

    /// Begins nothing new until [`Self::resume`].
    pub fn hold_back(&self) {
        self.is_held_back.store(true, Ordering::Relaxed);
    }

    /// Begins something new again, if the round is not finished.
    pub fn resume(&self) {
        self.is_held_back.store(false, Ordering::Relaxed);
    }

    /// Ends the round.
    pub fn halt(&self) {
        self.is_halted.store(true, Ordering::Relaxed);
    }

    /// Whether nothing at all is begun any more.
    pub fn is_finished(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn round() -> Round {
        Round::new(DestinationId::new(uuid::Uuid::nil()), "run/1/1".to_owned(), 1, Arc::default())
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
}
