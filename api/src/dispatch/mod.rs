//! Signals Temporal that a purchase has new notifications. Per purchase, at most one signal is pending: further
//! notifications are merged into it. Memory is bounded, and ingress never waits for Temporal.
//!
//! The inbox holds the notifications, so a lost signal loses nothing: `refill` reads back from the inbox what does not
//! fit in memory, and at the start what the process before may not have signalled. `plan`, which is pure, decides when
//! to signal; `send` sends the signals, as many at once as `limit` finds that Temporal takes.

mod limit;
mod plan;
mod refill;
mod send;
#[cfg(test)]
mod tests;

use domain::{CollapseKey, DestinationId, PlatformId};
use futures::future::BoxFuture;
use plan::{Plan, UnsentSignal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::Store;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use workflows::failing::FailingActivity;
use workflows::signal::{DestinationSignal, Signal};

/// Maximum number of purchases in memory that have an unsent signal; beyond that the inbox is the queue.
pub const DEFAULT_CAPACITY: usize = 10_000;

/// The calls that the HTTP edge makes to Temporal. Tests implement it without a server.
pub trait Engine: Send + Sync + 'static {
    /// Sends one signal to a purchase's workflow, and starts a run when none is open.
    fn signal(&self, key: CollapseKey, signal: Signal) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Returns the status of the open run; `None` when no run is open.
    fn status(
        &self,
        key: CollapseKey,
    ) -> BoxFuture<'_, Result<Option<serde_json::Value>, EngineError>>;
    /// Returns the activities of an open run that fail and are tried again, by its workflow id; none when no run is
    /// open.
    fn failing(
        &self,
        workflow_id: String,
    ) -> BoxFuture<'_, Result<Vec<FailingActivity>, EngineError>>;
    /// Sends one signal to a destination's workflow, and starts a run when none is open.
    fn signal_destination(
        &self,
        id: DestinationId,
        signal: DestinationSignal,
    ) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Starts the workflow that supervises a destination, or signals its open run, because deliveries are pending.
    fn supervise(&self, id: DestinationId) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Starts a destination's stream of device events, or signals its open run, because events are pending. Returns at
    /// once.
    fn stream(&self, id: DestinationId);
    /// Starts the verification of a platform's claims, or signals its open run, because claims are new. Returns at once.
    fn verify_claims(&self, id: PlatformId);
    /// Returns whether Temporal answered the last periodic check, some seconds ago at most.
    fn is_connected(&self) -> bool;
}

/// Why Temporal did not take a call.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Temporal does not answer; a later attempt may succeed.
    #[error("the workflow engine does not answer: {0}")]
    Unavailable(String),
    /// A limit of Temporal's own is reached; a later attempt, with fewer calls at once, may succeed.
    #[error("the workflow engine takes no more calls at the moment: {0}")]
    Exhausted(String),
    /// Temporal rejects the call; a repetition would be rejected too.
    #[error("the workflow engine refuses: {0}")]
    Rejected(String),
}

/// The dispatcher. Its tasks end when the last clone is dropped.
#[derive(Clone)]
pub struct Dispatch {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

impl Dispatch {
    /// Starts the dispatcher. Besides new notifications, it signals purchases whose notifications in the inbox have no
    /// outcome: the newest ones, up to a limit, and only while no other signal is due.
    pub fn start(engine: Arc<dyn Engine>, store: Store) -> Self {
        Self::with_capacity(engine, store, DEFAULT_CAPACITY)
    }

    /// Starts the dispatcher with another maximum number of purchases in memory.
    pub fn with_capacity(engine: Arc<dyn Engine>, store: Store, capacity: usize) -> Self {
        let shared = Arc::new(Shared {
            plan: Mutex::new(Plan::new(capacity)),
            plan_changed: Notify::new(),
            room_freed: Notify::new(),
            engine,
            began: Instant::now(),
        });
        let tasks = Tasks([
            tokio::spawn(send::run(shared.clone())),
            tokio::spawn(refill::run(shared.clone(), store)),
        ]);
        Self {
            shared,
            _tasks: Arc::new(tasks),
        }
    }

    /// Adds a new row of the inbox to the plan, in the trace of the running task. Takes a short lock and never waits for
    /// Temporal.
    pub fn notify(&self, key: CollapseKey, seq: i64, quiet_ms: i64, cap_ms: Option<i64>) {
        self.shared.notify(UnsentSignal {
            key,
            seq,
            quiet_ms,
            cap_ms,
            trace: traces::current(),
        });
    }

    /// Adds a row of the inbox that may be in the plan already.
    pub fn notify_again(&self, key: CollapseKey, seq: i64, quiet_ms: i64, cap_ms: Option<i64>) {
        self.shared.notify_again(UnsentSignal {
            key,
            seq,
            quiet_ms,
            cap_ms,
            trace: traces::current(),
        });
    }

    /// Adds a new row of the inbox that is settled without a window: sends a flush, which a hold stops.
    pub fn flush(&self, key: CollapseKey, seq: i64) {
        let now = self.shared.now_ms();
        self.shared.plan().flush(
            now,
            UnsentSignal {
                key,
                seq,
                quiet_ms: 0,
                cap_ms: None,
                trace: traces::current(),
            },
        );
        self.shared.plan_changed.notify_one();
        self.shared.room_freed.notify_one();
    }

    /// Reads the rows without an outcome from the inbox, from this sequence number on, each with the rest of its
    /// window. Used for rows that the approval of their topic released.
    pub fn read_again_from(&self, seq: i64) {
        self.shared.plan().mark_missed_from(seq);
        self.shared.room_freed.notify_one();
    }

    /// Returns the calls to Temporal, for signals and queries of admins.
    pub fn engine(&self) -> &dyn Engine {
        &*self.shared.engine
    }

    /// Returns the number of purchases in memory that have an unsent signal.
    pub fn unsignalled_purchases(&self) -> usize {
        self.shared.plan().unsignalled_purchases()
    }
}

/// The state that tasks and handles share.
struct Shared {
    plan: Mutex<Plan>,
    /// Wakes `send`: the plan has a new step.
    plan_changed: Notify,
    /// Wakes `refill`: a signal was sent, so that memory may have room, or rows were missed.
    room_freed: Notify,
    engine: Arc<dyn Engine>,
    began: Instant,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn add_to_backlog(&self, unsent: UnsentSignal) {
        self.plan().add_to_backlog(self.now_ms(), unsent);
        self.plan_changed.notify_one();
    }

    fn notify(&self, unsent: UnsentSignal) {
        self.add(|plan, now| plan.notify(now, unsent));
    }

    fn notify_again(&self, unsent: UnsentSignal) {
        self.add(|plan, now| plan.notify_again(now, unsent));
    }

    fn add(&self, add: impl FnOnce(&mut Plan, i64)) {
        let missed = {
            let mut plan = self.plan();
            add(&mut plan, self.now_ms());
            plan.missed_from().is_some()
        };
        self.plan_changed.notify_one();
        if missed {
            self.room_freed.notify_one();
        }
    }
}

/// The two tasks, which are aborted when this is dropped.
struct Tasks([JoinHandle<()>; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
