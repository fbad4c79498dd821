//! State shared by a server's threads and its test.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Returns the state even after another thread's panic, so that a failed test shows what was recorded before.
pub fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
