//! State that the threads of a server and its test share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Returns the state, also after a panic of another thread: a failed test shows what was seen before.
pub fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
