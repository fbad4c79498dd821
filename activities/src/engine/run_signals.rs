//! Calls runs because there is something for them to do: those of destinations with pending events, and of platforms
//! with claims that are due. The first call is made at once, further ones at most once in an interval per run, for any
//! number of events. After the last event at least one call follows. When this process dies, nothing is lost: the sweep
//! finds late lanes, streams and claims.

use super::TemporalError;
use domain::time::millis;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Minimum time between two signals to the same destination.
pub const SIGNAL_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum time between two signals to the same stream. An open run finds by itself what is pending, and ends a minute
/// after the last event: then the next one is signalled at once.
pub const STREAM_INTERVAL: Duration = Duration::from_secs(30);
/// Minimum time between two signals to the claims of the same platform.
pub const CLAIMS_INTERVAL: Duration = Duration::from_secs(10);

/// The next step of the task that sends the signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalStep<K> {
    Signal(K),
    /// Wait until this time, in milliseconds since the start.
    Sleep(i64),
    Idle,
}

/// Those for which a call is pending, and when each may be signalled. Pure: the time is an argument, in
/// milliseconds since the start.
#[derive(Debug)]
struct Plan<K> {
    entries: BTreeMap<K, PendingSignal>,
    interval_ms: i64,
}

#[derive(Debug)]
struct PendingSignal {
    is_pending: bool,
    not_before: i64,
}

impl<K: Copy + Ord> Plan<K> {
    fn new(interval: Duration) -> Self {
        Self { entries: BTreeMap::new(), interval_ms: millis(interval) }
    }

    fn mark_pending(&mut self, id: K, now: i64) {
        self.entries.entry(id).or_insert(PendingSignal { is_pending: true, not_before: now }).is_pending = true;
    }

    /// Returns the next step. A destination in [`SignalStep::Signal`] counts as signalled: the caller must signal it, or call
    /// [`Self::mark_failed`].
    fn next(&mut self, now: i64) -> SignalStep<K> {
        self.entries.retain(|_, entry| entry.is_pending || entry.not_before > now);
        let pending = self.entries.iter_mut().filter(|(_, entry)| entry.is_pending);
        match pending.min_by_key(|(_, entry)| entry.not_before) {
            Some((id, entry)) if entry.not_before <= now => {
                *entry = PendingSignal { is_pending: false, not_before: now + self.interval_ms };
                SignalStep::Signal(*id)
            }
            Some((_, entry)) => SignalStep::Sleep(entry.not_before),
            None => SignalStep::Idle,
        }
    }

    /// Marks the signal to a destination as still pending, since Temporal did not accept it; it is repeated after
    /// the interval.
    fn mark_failed(&mut self, id: K, now: i64) {
        self.entries.insert(id, PendingSignal { is_pending: true, not_before: now + self.interval_ms });
    }
}

/// The plan, shared by the activities and the task that sends the signals.
pub struct RunSignals<K> {
    plan: Mutex<Plan<K>>,
    changed: Notify,
    began: Instant,
}

impl<K: Copy + Ord> RunSignals<K> {
    pub fn new(interval: Duration) -> Self {
        Self { plan: Mutex::new(Plan::new(interval)), changed: Notify::new(), began: Instant::now() }
    }

    /// Marks a call as pending for a destination or a platform, so that its run is signalled.
    pub fn mark_pending(&self, id: K) {
        self.plan().mark_pending(id, self.now_ms());
        self.changed.notify_one();
    }

    fn plan(&self) -> MutexGuard<'_, Plan<K>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        millis(self.began.elapsed())
    }
}

/// Makes the pending calls, for as long as the process lives.
pub async fn run<K, C>(signals: Arc<RunSignals<K>>, call: impl Fn(K) -> C)
where
    K: Copy + Ord + Display,
    C: Future<Output = Result<(), TemporalError>>,
{
    loop {
        let step = signals.plan().next(signals.now_ms());
        match step {
            SignalStep::Signal(id) => match call(id).await {
                Ok(()) => {}
                Err(TemporalError::Unavailable(reason) | TemporalError::Exhausted(reason)) => {
                    tracing::debug!(%id, reason, "a run was not called; tried again soon");
                    signals.plan().mark_failed(id, signals.now_ms());
                }
                Err(TemporalError::Rejected(reason)) => {
                    tracing::error!(%id, reason, "Temporal rejected a call; the sweep will repeat it");
                }
            },
            SignalStep::Sleep(until) => {
                let until = signals.began + Duration::from_millis(until.unsigned_abs());
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = signals.changed.notified() => {}
                }
            }
            SignalStep::Idle => signals.changed.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::DestinationId;

    fn id(number: u8) -> DestinationId {
        DestinationId::new(uuid::Uuid::from_bytes([number; 16]))
    }

    #[test]
    fn the_first_signal_is_immediate_and_later_ones_once_a_second() {
        let mut plan = Plan::new(SIGNAL_INTERVAL);
        plan.mark_pending(id(1), 0);
        assert_eq!(plan.next(0), SignalStep::Signal(id(1)));
        assert_eq!(plan.next(0), SignalStep::Idle);
        for now in 1..1000 {
            plan.mark_pending(id(1), now);
            assert_eq!(plan.next(now), SignalStep::Sleep(1000));
        }
        assert_eq!(plan.next(1000), SignalStep::Signal(id(1)), "a last signal follows the last lane");
        assert_eq!(plan.next(5000), SignalStep::Idle);
    }

    #[test]
    fn destinations_do_not_wait_for_each_other() {
        let mut plan = Plan::new(SIGNAL_INTERVAL);
        for now in [0, 500] {
            plan.mark_pending(id(1), now);
            plan.mark_pending(id(2), now);
        }
        assert_eq!(plan.next(500), SignalStep::Signal(id(1)));
        assert_eq!(plan.next(500), SignalStep::Signal(id(2)));
        assert_eq!(plan.next(500), SignalStep::Idle);
    }

    #[test]
    fn a_failed_signal_is_repeated_and_delays_no_other() {
        let mut plan = Plan::new(SIGNAL_INTERVAL);
        plan.mark_pending(id(1), 0);
        assert_eq!(plan.next(0), SignalStep::Signal(id(1)));
        plan.mark_failed(id(1), 10);
        plan.mark_pending(id(2), 20);
        assert_eq!(plan.next(20), SignalStep::Signal(id(2)));
        assert_eq!(plan.next(20), SignalStep::Sleep(1010));
        assert_eq!(plan.next(1010), SignalStep::Signal(id(1)));
    }

    #[test]
    fn destinations_that_have_nothing_pending_are_forgotten() {
        let mut plan = Plan::new(SIGNAL_INTERVAL);
        for number in 0..100 {
            plan.mark_pending(id(number), 0);
            assert!(matches!(plan.next(0), SignalStep::Signal(_)));
        }
        assert_eq!(plan.next(1000), SignalStep::Idle);
        assert!(plan.entries.is_empty());
    }
}
