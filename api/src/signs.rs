//! The sign of life of this process: a database row with its version and the stores that it knows. It is stored before
//! the process begins its work, renewed while it runs, and removed when it stops.

use std::sync::Arc;
use std::time::Duration;
use storage::{Error, Process, Store, chain};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Maximum duration of the first and last write, so that they delay neither the start nor the end of the process for
/// longer.
const LONGEST: Duration = Duration::from_secs(2);

/// The process's sign of life. Clones share it.
#[derive(Debug, Clone)]
pub struct SignOfLife {
    store: Store,
    process: Process,
    state: Arc<Mutex<SignState>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignState {
    /// Not stored, or not certain to be stored.
    Missing,
    Stored,
    /// Removed permanently.
    Over,
}

impl SignOfLife {
    /// Stores the sign of life of a starting process. If that fails, the process starts without it, and a later
    /// [`Self::renew`] stores it.
    pub async fn begin(store: Store, process: Process) -> Self {
        let state = Arc::new(Mutex::new(SignState::Missing));
        let sign = Self {
            store,
            process,
            state,
        };
        if timeout(LONGEST, sign.renew()).await.is_err() {
            tracing::debug!("the sign of life takes long to be stored; it is tried again soon");
        }
        sign
    }

    /// Returns whether the sign of life is not stored although the process is running.
    pub async fn is_missing(&self) -> bool {
        *self.state.lock().await == SignState::Missing
    }

    /// Stores the sign of life again, unless it was already removed.
    pub async fn renew(&self) {
        let mut state = self.state.lock().await;
        if *state == SignState::Over {
            return;
        }
        let stored = self.store.sign_of_life(self.process.clone()).await;
        *state = match stored {
            Ok(()) => SignState::Stored,
            Err(error) => {
                tracing::debug!(
                    error = chain(&error),
                    "the sign of life was not stored; it is tried again soon"
                );
                SignState::Missing
            }
        };
    }

    /// Removes the sign of life, after waiting for a running write.
    pub async fn end(&self) {
        let removed = async {
            let mut state = self.state.lock().await;
            *state = SignState::Over;
            self.store.remove_process(self.process.id).await
        };
        let removed: Result<Result<(), Error>, _> = timeout(LONGEST, removed).await;
        if !matches!(removed, Ok(Ok(()))) {
            tracing::debug!("the sign of life was not removed; it is forgotten after a minute");
        }
    }
}
