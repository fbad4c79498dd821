//! Tells the engine that a purchase has news: conflated per key, bounded in memory, never blocking ingress.
//!
//! The bodies are in the inbox, so nothing is lost when a signal is: what does not fit in memory is read
//! back from there. *When* to signal is decided in `plan`, which is pure; this file does it.

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

/// Purchases with news that are held in memory; beyond that the inbox is the queue.
pub const DEFAULT_CAPACITY: usize = 10_000;

/// The engine that runs the workflows, as the edge sees it.
pub trait Engine: Send + Sync + 'static {
    /// Sends one signal, starting the purchase's workflow when it sleeps.
    fn signal(&self, key: CollapseKey, signal: Signal) -> BoxFuture<'_, Result<(), EngineError>>;
    /// What the open run says of itself; `None` when no run is open.
    fn status(&self, key: CollapseKey) -> BoxFuture<'_, Result<Option<serde_json::Value>, EngineError>>;
    /// Sends one signal to a destination's workflow, starting it when none is open.
    fn destination(&self, id: DestinationId, signal: DestinationSignal) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Says that a destination is owed something that could be sent.
    fn supervise(&self, id: DestinationId) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Whether the last call reached the engine.
    fn connected(&self) -> bool;
}

/// Why the engine did not do it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Try again: it does not answer, or not now.
    #[error("the workflow engine does not answer: {0}")]
    Unavailable(String),
    /// It will never do this.
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
    /// Starts it, beginning with everything that the inbox holds open.
    #[must_use]
    pub fn start(engine: Arc<dyn Engine>, store: Store) -> Self {
        Self::with_capacity(engine, store, DEFAULT_CAPACITY)
    }

    /// The same, with another bound on the keys in memory.
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

    /// There is a new row in the inbox. Costs a short lock and never waits for the engine.
    #[expect(clippy::too_many_arguments, reason = "one row's four facts, told at one place")]
    pub fn notify(&self, key: CollapseKey, seq: i64, quiet_ms: i64, cap_ms: Option<i64>) {
        self.shared.notify(News { key, seq, quiet_ms, cap_ms });
    }

    /// There is a new row that is to be settled at once: a flush, which a hold stops.
    pub fn flush(&self, key: CollapseKey, seq: i64) {
        let now = self.shared.now_ms();
        self.shared.plan().flush(now, News { key, seq, quiet_ms: 0, cap_ms: None });
        self.shared.news.notify_one();
        self.shared.room.notify_one();
    }

    /// Rows from this sequence number on were released: they are read from the inbox, with what is left of their windows.
    pub fn read_again_from(&self, seq: i64) {
        self.shared.plan().missed(seq);
        self.shared.room.notify_one();
    }

    /// The engine, for admin signals and queries.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        &*self.shared.engine
    }

    /// How many purchases have news that the engine does not know yet, as far as memory tells.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.plan().waiting()
    }
}

/// What the tasks and the handles share.
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
