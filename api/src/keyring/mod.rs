//! State of callers: API key texts, limits on guesses and limits on concurrent reads.

mod reads;
mod refusals;
mod text;

pub use reads::{Reader, Reads, Turns};
pub use refusals::Refusals;
pub use text::KeyText;

use domain::{KeyId, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Minimum time between two records that a key was used.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// State of callers in the edge.
#[derive(Debug)]
pub struct Keys {
    pub refusals: Refusals,
    pub reads: Reads,
    /// When each key's use was last recorded, so that a busy key causes only one write a minute.
    noted: Mutex<HashMap<KeyId, Timestamp>>,
}

impl Keys {
    /// Creates the state, with these limits on guesses.
    pub fn new(refusals: Refusals) -> Self {
        Self {
            refusals,
            reads: Reads::default(),
            noted: Mutex::default(),
        }
    }

    /// Returns whether a key's use must be recorded now, and if so, remembers that it was.
    pub fn is_due(&self, id: KeyId, now: Timestamp) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = noted
            .get(&id)
            .is_none_or(|last| last.plus(NOTED_EVERY) <= now);
        if is_due {
            noted.insert(id, now);
        }
        is_due
    }
}
