//! Signals the runs that have work to do: those of destinations with pending events, and of platforms with due claims.
//! The first signal is sent at once, further ones at most once per interval and run, for any number of events. At least
//! one signal follows the last event. If this process dies, nothing is lost, because the sweep finds late lanes,
//! streams and claims.

use super::TemporalError;
use domain::time::millis;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Minimum time between two signals to the same destination.
pub const SIGNAL_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum time between two signals to the same stream. An open run finds pending events by itself. It ends a minute
/// after the last event, so the next event is signalled at once.
pub const STREAM_INTERVAL: Duration = Duration::from_secs(30);
/// Minimum time between two signals to the claims of the same platform.
pub const CLAIMS_INTERVAL: Duration = Duration::from_secs(10);

/// Time until a failed call is repeated, regardless of the interval, because Temporal may recover within moments.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of concurrent calls, so that a slow one does not delay the others.
const MAX_CONCURRENT: usize = 16;

/// The next step of the task that sends the signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalStep<K> {
    Signal(K),
    /// Wait until this time, in milliseconds since the start.
    Sleep(i64),
    Idle,
}

/// Runs with a pending call, and when each of them may be signalled. Pure: the time is an argument, in milliseconds
/// since the start.
#[derive(Debug)]
struct Plan<K> {
    entries: BTreeMap<K, PendingSignal>,
    /// The pending entries in order of their times; `resting` has those that only wait for their interval.
    pending: BTreeSet<(i64, K)>,
    resting: BTreeSet<(i64, K)>,
    interval_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct PendingSignal {
    is_pending: bool,
    not_before: i64,
}

impl<K: Copy + Ord> Plan<K> {
    fn new(interval: Duration) -> Self {
        let (entries, pending, resting) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self {
            entries,
            pending,
            resting,
            interval_ms: millis(interval),
        }
    }

    fn mark_pending(&mut self, id: K, now: i64) {
        let not_before = self.entries.get(&id).map_or(now, |entry| entry.not_before);
        self.set(
            id,
            PendingSignal {
                is_pending: true,
                not_before,
            },
        );
    }

    /// Returns the next step. The destination in a [`SignalStep::Signal`] counts as signalled, so the caller must
    /// signal it or call [`Self::mark_failed`].
    fn next(&mut self, now: i64) -> SignalStep<K> {
        while let Some((_, id)) = self
            .resting
            .first()
            .copied()
            .filter(|(not_before, _)| *not_before <= now)
        {
            self.remove(id);
        }
        match self.pending.first().copied() {
            Some((not_before, id)) if not_before <= now => {
                self.set(
                    id,
                    PendingSignal {
                        is_pending: false,
                        not_before: now + self.interval_ms,
                    },
                );
                SignalStep::Signal(id)
            }
            Some((not_before, _)) => SignalStep::Sleep(not_before),
            None => SignalStep::Idle,
        }
    }

    /// Marks the signal to a destination as still pending, since Temporal did not accept it. It is repeated soon.
    fn mark_failed(&mut self, id: K, now: i64) {
        self.set(
            id,
            PendingSignal {
                is_pending: true,
                not_before: now + millis(RETRY_INTERVAL),
            },
        );
    }

    fn set(&mut self, id: K, entry: PendingSignal) {
        self.remove(id);
        self.entries.insert(id, entry);
        self.ordered(entry).insert((entry.not_before, id));
    }

    fn remove(&mut self, id: K) {
        if let Some(entry) = self.entries.remove(&id) {
            self.ordered(entry).remove(&(entry.not_before, id));
        }
    }

    const fn ordered(&mut self, entry: PendingSignal) -> &mut BTreeSet<(i64, K)> {
        if entry.is_pending {
            &mut self.pending
        } else {
            &mut self.resting
        }
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
        Self {
            plan: Mutex::new(Plan::new(interval)),
            changed: Notify::new(),
            began: Instant::now(),
        }
    }

    /// Marks a call for a destination or a platform as pending, so that its run is signalled.
    pub fn mark_pending(&self, id: K) {
        self.plan().mark_pending(id, self.now_ms());
        self.changed.notify_one();
    }

    /// Waits until a call may be due.
    async fn wait(&self, step: SignalStep<K>) {
        match step {
            SignalStep::Sleep(until) => {
                let until = self.began + Duration::from_millis(until.unsigned_abs());
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = self.changed.notified() => {}
                }
            }
            SignalStep::Signal(_) | SignalStep::Idle => self.changed.notified().await,
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan<K>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        millis(self.began.elapsed())
    }
}

/// Makes the pending calls, several of them concurrently, for as long as the process lives.
pub async fn run<K, C>(signals: Arc<RunSignals<K>>, call: impl Fn(K) -> C)
where
    K: Copy + Ord + Display,
    C: Future<Output = Result<(), TemporalError>>,
{
    let mut calls = FuturesUnordered::new();
    loop {
        let step = if calls.len() < MAX_CONCURRENT {
            signals.plan().next(signals.now_ms())
        } else {
            SignalStep::Idle
        };
        if let SignalStep::Signal(id) = step {
            calls.push(call(id).map(move |result| (id, result)));
            continue;
        }
        tokio::select! {
            Some((id, result)) = calls.next() => note(&signals, id, result),
            () = signals.wait(step) => {}
        }
    }
}

fn note<K: Copy + Ord + Display>(
    signals: &RunSignals<K>,
    id: K,
    result: Result<(), TemporalError>,
) {
    match result {
        Ok(()) => {}
        Err(TemporalError::Unavailable(reason) | TemporalError::Exhausted(reason)) => {
            tracing::debug!(%id, reason, "a run was not called; tried again soon");
            signals.plan().mark_failed(id, signals.now_ms());
        }
        Err(TemporalError::Rejected(reason)) => {
            tracing::error!(%id, reason, "Temporal rejected a call; the sweep will repeat it");
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
        assert_eq!(
            plan.next(1000),
            SignalStep::Signal(id(1)),
            "a last signal follows the last lane"
        );
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
    fn a_failed_signal_is_repeated_soon_and_delays_no_other() {
        for interval in [SIGNAL_INTERVAL, CLAIMS_INTERVAL, STREAM_INTERVAL] {
            let mut plan = Plan::new(interval);
            plan.mark_pending(id(1), 0);
            assert_eq!(plan.next(0), SignalStep::Signal(id(1)));
            plan.mark_failed(id(1), 10);
            plan.mark_pending(id(2), 20);
            assert_eq!(plan.next(20), SignalStep::Signal(id(2)));
            assert_eq!(plan.next(20), SignalStep::Sleep(1010));
            plan.mark_pending(id(1), 30);
            assert_eq!(plan.next(1010), SignalStep::Signal(id(1)), "{interval:?}");
            plan.mark_pending(id(1), 1010);
            let rest = 1010 + millis(interval);
            let step = plan.next(1010);
            assert_eq!(
                step,
                SignalStep::Sleep(rest),
                "the interval counts from a call that Temporal took"
            );
        }
    }

    #[test]
    fn destinations_that_have_nothing_pending_are_forgotten() {
        let mut plan = Plan::new(SIGNAL_INTERVAL);
        for number in 0..100 {
            plan.mark_pending(id(number), 0);
            assert!(matches!(plan.next(0), SignalStep::Signal(_)));
        }
        assert_eq!(plan.next(1000), SignalStep::Idle);
        assert!(plan.entries.is_empty() && plan.resting.is_empty() && plan.pending.is_empty());
    }

    #[test]
    fn calls_follow_the_order_in_which_they_became_due() {
        let mut plan = Plan::new(SIGNAL_INTERVAL);
        for (now, number) in (0..).zip([3, 1, 2]) {
            plan.mark_pending(id(number), now);
            plan.mark_pending(id(3), now);
        }
        for number in [3, 1, 2] {
            assert_eq!(plan.next(10), SignalStep::Signal(id(number)));
        }
        assert_eq!(plan.next(10), SignalStep::Idle);
    }

    /// A call that never returns occupies one place, but does not delay the others.
    #[tokio::test]
    async fn a_call_that_takes_long_delays_no_other() {
        let signals = Arc::new(RunSignals::new(STREAM_INTERVAL));
        for number in 0..200 {
            signals.mark_pending(id(number));
        }
        let (called, all) = (Mutex::new(BTreeSet::new()), Notify::new());
        let call = |destination: DestinationId| {
            let (called, all) = (&called, &all);
            async move {
                if destination == id(0) {
                    std::future::pending::<()>().await;
                }
                let mut called = called.lock().unwrap();
                called.insert(destination);
                if called.len() == 199 {
                    all.notify_one();
                }
                Ok(())
            }
        };
        let calling = async {
            tokio::select! {
                () = run(signals, call) => {}
                () = all.notified() => {}
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(30), calling)
                .await
                .is_ok()
        );
    }
}
