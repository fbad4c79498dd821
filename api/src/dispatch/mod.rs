//! Signals the engine that a purchase has new notifications: conflated per key, bounded in memory, never blocking
//! ingress.
//!
//! The bodies are in the inbox, so a lost signal loses nothing: what does not fit in memory is read back from there.
//! `plan`, which is pure, decides when to signal; `send` does it.

mod plan;
mod refill;
mod send;
#[cfg(test)]
mod tests;

use domain::{CollapseKey, DestinationId};
use futures::future::BoxFuture;
use plan::{News, Plan};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::Store;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use workflows::signal::{DestinationSignal, Signal};

/// Maximum number of purchases with news in memory; beyond that the inbox is the queue.
pub const DEFAULT_CAPACITY: usize = 10_000;

/// The engine that runs the workflows, as the edge sees it.
pub trait Engine: Send + Sync + 'static {
    /// Sends one signal, starting the purchase's workflow when it sleeps.
    fn signal(&self, key: CollapseKey, signal: Signal) -> BoxFuture<'_, Result<(), EngineError>>;
    /// The status of the open run; `None` when no run is open.
    fn status(&self, key: CollapseKey) -> BoxFuture<'_, Result<Option<serde_json::Value>, EngineError>>;
    /// Sends one signal to a destination's workflow, starting it when none is open.
    fn destination(&self, id: DestinationId, signal: DestinationSignal) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Starts or wakes the supervision of a destination that is owed something.
    fn supervise(&self, id: DestinationId) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Whether the last call reached the engine.
    fn connected(&self) -> bool;
}

/// Why the engine did not take a call.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine does not answer; a later attempt may succeed.
    #[error("the workflow engine does not answer: {0}")]
    Unavailable(String),
    /// The engine rejects the call for good.
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
    /// Starts it, beginning with all open notifications of the inbox.
    #[must_use]
    pub fn start(engine: Arc<dyn Engine>, store: Store) -> Self {
        Self::with_capacity(engine, store, DEFAULT_CAPACITY)
    }

    /// Starts it with another bound on the keys in memory.
    #[must_use]
    pub fn with_capacity(engine: Arc<dyn Engine>, store: Store, capacity: usize) -> Self {
        let shared = Arc::new(Shared {
            plan: Mutex::new(Plan::new(capacity)),
            news: Notify::new(),
            room: Notify::new(),
            engine,
            began: Instant::now(),
        });
        let tasks = Tasks([tokio::spawn(send::run(shared.clone())), tokio::spawn(refill::run(shared.clone(), store))]);
        Self { shared, _tasks: Arc::new(tasks) }
    }

    /// Notes a new row of the inbox. Takes a short lock and never waits for the engine.
    #[expect(clippy::too_many_arguments, reason = "the four facts of one row")]
    pub fn notify(&self, key: CollapseKey, seq: i64, quiet_ms: i64, cap_ms: Option<i64>) {
        self.shared.notify(News { key, seq, quiet_ms, cap_ms });
    }

    /// Notes a new row that is to be settled at once: a flush, which a hold stops.
    pub fn flush(&self, key: CollapseKey, seq: i64) {
        let now = self.shared.now_ms();
        self.shared.plan().flush(now, News { key, seq, quiet_ms: 0, cap_ms: None });
        self.shared.news.notify_one();
        self.shared.room.notify_one();
    }

    /// Reads the released rows from this sequence number on from the inbox, with the rest of their windows.
    pub fn read_again_from(&self, seq: i64) {
        self.shared.plan().missed(seq);
        self.shared.room.notify_one();
    }

    /// The engine, for admin signals and queries.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        &*self.shared.engine
    }

    /// Number of purchases in memory with news that the engine does not know yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.plan().waiting()
    }
}

/// The state that tasks and handles share.
struct Shared {
    plan: Mutex<Plan>,
    news: Notify,
    room: Notify,
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

    fn notify(&self, news: News) {
        let missed = {
            let mut plan = self.plan();
            plan.notify(self.now_ms(), news);
            plan.missed_from().is_some()
        };
        self.news.notify_one();
        if missed {
            self.room.notify_one();
        }
    }
}

struct Tasks([JoinHandle<()>; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
