//! Attempts within a workflow task: which destinations respond quickly enough for them, and the attempts that did not
//! finish in time and are finished by a regular activity.

use crate::failure::Failed;
use domain::DestinationId;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::EndpointSignal;
use tokio::task::JoinHandle;
use workflows::activities::{Deliver, Delivered};

/// Maximum latency of a prompt response.
const PROMPT: Duration = Duration::from_secs(1);

type LaneId = (domain::CollapseKey, DestinationId);
type Attempting = JoinHandle<Result<Delivered, Failed>>;

/// What this process knows from its own attempts. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LocalAttempts(Arc<Mutex<LocalAttemptsState>>);

#[derive(Debug, Default)]
struct LocalAttemptsState {
    /// The destinations whose last response was a prompt success.
    destinations: BTreeSet<DestinationId>,
    /// The attempts that took longer than their workflow task could wait.
    unfinished: HashMap<LaneId, Attempting>,
}

impl LocalAttempts {
    /// Records whether a destination responded promptly to an attempt.
    pub fn note(&self, destination: DestinationId, signal: &EndpointSignal, latency: Duration) {
        let mut known = self.known();
        if matches!(signal, EndpointSignal::Success) && latency <= PROMPT {
            known.destinations.insert(destination);
        } else {
            known.destinations.remove(&destination);
        }
    }

    /// Returns which of these destinations recently responded promptly to an attempt of this process.
    pub fn among(
        &self,
        destinations: impl Iterator<Item = DestinationId>,
    ) -> BTreeSet<DestinationId> {
        let known = self.known();
        destinations
            .filter(|id| known.destinations.contains(id))
            .collect()
    }

    /// Leaves an unfinished attempt to the regular activity of its lane. Its destination no longer counts as prompt.
    pub fn leave(&self, lane: &Deliver, attempting: Attempting) {
        let mut known = self.known();
        known.destinations.remove(&lane.destination_id);
        // Another worker may have run the regular activity, and found the lane leased and the result in storage.
        known
            .unfinished
            .retain(|_, attempting| !attempting.is_finished());
        known
            .unfinished
            .insert((lane.collapse_key, lane.destination_id), attempting);
    }

    /// Takes the unfinished attempt of a lane, if there is one.
    pub fn take(&self, lane: &Deliver) -> Option<Attempting> {
        self.known()
            .unfinished
            .remove(&(lane.collapse_key, lane.destination_id))
    }

    /// Waits for all unfinished attempts that no activity took, when the process stops.
    pub async fn finish(&self) {
        let left: Vec<Attempting> = self
            .known()
            .unfinished
            .drain()
            .map(|(_, attempting)| attempting)
            .collect();
        futures::future::join_all(left).await;
    }

    fn known(&self) -> MutexGuard<'_, LocalAttemptsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{CollapseKey, PlatformId};
    use uuid::Uuid;

    fn lane() -> Deliver {
        let platform = PlatformId::new(Uuid::nil());
        Deliver {
            collapse_key: CollapseKey::of(platform, "receipt"),
            destination_id: DestinationId::new(Uuid::nil()),
        }
    }

    fn is_prompt(local_attempts: &LocalAttempts) -> bool {
        !local_attempts
            .among([lane().destination_id].into_iter())
            .is_empty()
    }

    #[test]
    fn only_the_last_answer_counts_and_only_a_quick_success() {
        let local_attempts = LocalAttempts::default();
        assert!(!is_prompt(&local_attempts), "nothing is known yet");
        let note = |signal: EndpointSignal, millis| {
            local_attempts.note(
                lane().destination_id,
                &signal,
                Duration::from_millis(millis),
            );
            is_prompt(&local_attempts)
        };
        assert!(note(EndpointSignal::Success, 1000));
        assert!(!note(EndpointSignal::Success, 1001));
        assert!(note(EndpointSignal::Success, 1));
        assert!(!note(EndpointSignal::Failure { pause: None }, 1));
    }

    #[tokio::test]
    async fn an_attempt_that_was_left_is_taken_once() {
        let local_attempts = LocalAttempts::default();
        local_attempts.note(
            lane().destination_id,
            &EndpointSignal::Success,
            Duration::ZERO,
        );
        local_attempts.leave(
            &lane(),
            tokio::spawn(async {
                Ok(Delivered {
                    last_seq: 7,
                    more: false,
                })
            }),
        );
        assert!(!is_prompt(&local_attempts));
        let attempting = local_attempts.take(&lane()).expect("the attempt");
        assert_eq!(attempting.await.unwrap().unwrap().last_seq, 7);
        assert!(local_attempts.take(&lane()).is_none());
    }
}
