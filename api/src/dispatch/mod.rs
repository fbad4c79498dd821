//! Signals to Temporal that purchases have new notifications. Each purchase has at most one pending signal, into which
//! further notifications are merged. Memory is bounded, and ingress never waits for Temporal.
//!
//! The inbox holds the notifications, so a lost signal loses nothing. `refill` reads back from the inbox what does not
//! fit in memory and, at startup, what the previous process may not have signalled. `plan`, which is pure, decides when
//! to signal. `send` sends the signals, as many concurrently as `limit` allows.

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

/// Maximum number of purchases in memory that have an unsent signal; beyond it, the inbox is the queue.
pub const DEFAULT_CAPACITY: usize = 10_000;

/// Calls that the HTTP edge makes to Temporal. Tests implement them without a server.
pub trait Engine: Send + Sync + 'static {
    /// Sends one signal to a purchase's workflow, and starts a run if none is open.
    fn signal(&self, key: CollapseKey, signal: Signal) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Returns the status of the open run; `None` if no run is open.
    fn status(
        &self,
        key: CollapseKey,
    ) -> BoxFuture<'_, Result<Option<serde_json::Value>, EngineError>>;
    /// Returns the activities of the open run with this workflow id that fail and are retried; none if no run is open.
    fn failing(
        &self,
        workflow_id: String,
    ) -> BoxFuture<'_, Result<Vec<FailingActivity>, EngineError>>;
    /// Sends one signal to a destination's workflow, and starts a run if none is open.
    fn signal_destination(
        &self,
        id: DestinationId,
        signal: DestinationSignal,
    ) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Starts the workflow that supervises a destination, or signals its open run, because deliveries are pending.
    fn supervise(&self, id: DestinationId) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Starts a destination's stream of device events, or signals its open run, because events are pending. Does not
    /// wait.
    fn stream(&self, id: DestinationId);
    /// Starts the verification of a platform's claims, or signals its open run, because there are new claims or due
    /// duties. Does not wait.
    fn verify_claims(&self, id: PlatformId);
    /// Returns whether Temporal responded to the last periodic check, at most a few seconds ago.
    fn is_connected(&self) -> bool;
}

/// Why Temporal did not accept a call.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Temporal does not respond; a later attempt may succeed.
    #[error("the workflow engine does not answer: {0}")]
    Unavailable(String),
    /// One of Temporal's own limits is reached; a later attempt with fewer concurrent calls may succeed.
    #[error("the workflow engine takes no more calls at the moment: {0}")]
    Exhausted(String),
    /// Temporal rejects the call, and would reject a repetition too.
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

    /// Starts the dispatcher with a different maximum number of purchases in memory.
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

    /// Adds a new inbox row to the plan, in the trace of the current task. Takes a short lock and never waits for
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

    /// Adds an inbox row that may already be in the plan.
    pub fn notify_again(&self, key: CollapseKey, seq: i64, quiet_ms: i64, cap_ms: Option<i64>) {
        self.shared.notify_again(UnsentSignal {
            key,
            seq,
            quiet_ms,
            cap_ms,
            trace: traces::current(),
        });
    }

    /// Adds a new inbox row that is settled without a window: sends a flush, which a hold prevents from taking effect.
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

    /// Reads inbox rows without an outcome again, from this sequence number on, each with the rest of its window. Used
    /// for rows that were released by the approval of their topic.
    pub fn read_again_from(&self, seq: i64) {
        self.shared.plan().mark_missed_from(seq);
        self.shared.room_freed.notify_one();
    }

    /// Returns the engine, for admins' signals and queries.
    pub fn engine(&self) -> &dyn Engine {
        &*self.shared.engine
    }

    /// Returns the number of purchases in memory that have an unsent signal.
    pub fn unsignalled_purchases(&self) -> usize {
        self.shared.plan().unsignalled_purchases()
    }
}

/// State that the tasks and handles share.
struct Shared {
    plan: Mutex<Plan>,
    /// Wakes `send` because the plan has a new step.
    plan_changed: Notify,
    /// Wakes `refill` because a signal was sent, so that memory may have room, or because rows were missed.
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

/// The two tasks, which are aborted on drop.
struct Tasks([JoinHandle<()>; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
