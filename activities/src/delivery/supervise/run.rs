//! One run of `supervise`: how long it starts new requests, and the tokens of its leases.

use domain::DestinationId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::time::Instant;
use workflows::options::SUPERVISE_BUDGET;

pub struct SuperviseRun {
    pub destination: DestinationId,
    token: String,
    /// Whether Temporal lost the previous run, so that its lanes may still be leased.
    pub follows_a_lost_run: bool,
    leases: AtomicU64,
    began: Instant,
    stopping: Arc<AtomicBool>,
    /// Whether the run was cancelled or storage failed.
    pub is_halted: AtomicBool,
    /// Whether the destination accepts no more requests now.
    is_held_back: AtomicBool,
}

impl SuperviseRun {
    /// Creates a run that starts now. `attempt` is Temporal's number of the attempt, from 1.
    pub fn new(
        destination: DestinationId,
        token: String,
        attempt: u32,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        Self {
            destination,
            token,
            follows_a_lost_run: attempt > 1,
            leases: AtomicU64::default(),
            began: Instant::now(),
            stopping,
            is_halted: AtomicBool::default(),
            is_held_back: AtomicBool::default(),
        }
    }

    /// Returns the token of a new lease. Each lease has its own; otherwise, two lanes of one user would count as one
    /// holder.
    pub fn token(&self) -> String {
        format!(
            "{}/{}",
            self.token,
            self.leases.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Whether the current drain starts no further request: the destination accepts none now, or the run is finished.
    pub fn is_drain_over(&self) -> bool {
        self.is_held_back.load(Ordering::Relaxed) || self.is_finished()
    }

    /// Ends the current drain; [`Self::resume`] allows the next one.
    pub fn hold_back(&self) {
        self.is_held_back.store(true, Ordering::Relaxed);
    }

    /// Allows the next drain. A finished run stays finished.
    pub fn resume(&self) {
        self.is_held_back.store(false, Ordering::Relaxed);
    }

    /// Finishes the run before its time.
    pub fn halt(&self) {
        self.is_halted.store(true, Ordering::Relaxed);
    }

    /// Whether the run starts no further request: it was halted, the worker stops, or [`SUPERVISE_BUDGET`] is
    /// exhausted.
    pub fn is_finished(&self) -> bool {
        self.is_halted.load(Ordering::Relaxed)
            || self.stopping.load(Ordering::Relaxed)
            || self.began.elapsed() > SUPERVISE_BUDGET
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn run() -> SuperviseRun {
        SuperviseRun::new(
            DestinationId::new(uuid::Uuid::nil()),
            "run/1/1".to_owned(),
            1,
            Arc::default(),
        )
    }

    #[tokio::test]
    async fn a_stopped_halted_or_long_round_begins_nothing_new() {
        for end in [
            |run: &SuperviseRun| run.halt(),
            |run: &SuperviseRun| run.stopping.store(true, Ordering::Relaxed),
        ] {
            let run = run();
            assert!(!run.is_drain_over());
            end(&run);
            assert!(run.is_drain_over() && run.is_finished());
        }
        let mut long = run();
        long.began -= SUPERVISE_BUDGET + Duration::from_secs(1);
        assert!(long.is_drain_over());
    }

    #[tokio::test]
    async fn holding_back_ends_a_drain_and_not_the_round() {
        let run = run();
        run.hold_back();
        assert!(run.is_drain_over() && !run.is_finished());
    }

    #[tokio::test]
    async fn each_lease_has_its_own_token() {
        let run = run();
        assert_eq!([run.token(), run.token()], ["run/1/1/0", "run/1/1/1"]);
    }
}
