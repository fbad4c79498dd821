//! The sign of life of this process, which names its version and the stores that it knows: stored before it begins to
//! work, renewed while it runs, removed when it stops.

use std::sync::Arc;
use std::time::Duration;
use storage::{Error, Process, Store, chain};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Maximum time of the first and of the last write: neither the start nor the end of a process waits longer for it.
const LONGEST: Duration = Duration::from_secs(2);

/// The sign of life of this process. Clones share it.
#[derive(Debug, Clone)]
pub struct SignOfLife {
    store: Store,
    process: Process,
    state: Arc<Mutex<SignState>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignState {
    /// Not stored, or not known to be.
    Missing,
    Stored,
    /// Removed, and never stored again.
    Over,
}

impl SignOfLife {
    /// Stores the sign of a process. One that could not be stored is stored by a later [`Self::renew`]: the process starts
    /// without it.
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

    /// Returns whether it is not stored although the process runs.
    pub async fn is_missing(&self) -> bool {
        *self.state.lock().await == SignState::Missing
    }

    /// Stores it again, unless it is removed already.
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

    /// Removes it, after a write of it that is in flight.
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
