//! Number of workers that poll Temporal, as last observed by this process; `commands/polls.rs` updates it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Value while the number is not known.
const UNKNOWN: i64 = -1;

/// Number of workers in Temporal's last response.
#[derive(Debug, Clone)]
pub struct Workers(Arc<AtomicI64>);

impl Default for Workers {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }
}

impl Workers {
    /// Returns the number of workers; `None` if not known.
    pub fn number(&self) -> Option<u64> {
        u64::try_from(self.0.load(Ordering::Relaxed)).ok()
    }

    /// Returns whether no worker polls Temporal.
    pub fn are_missing(&self) -> bool {
        self.number() == Some(0)
    }

    /// Sets the number of workers; `None` if not known.
    pub fn set(&self, number: Option<usize>) {
        let number = number.map_or(UNKNOWN, |number| i64::try_from(number).unwrap_or(i64::MAX));
        self.0.store(number, Ordering::Relaxed);
    }
}
