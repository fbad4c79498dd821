//! The texts of keys, the limit on guesses, and that on concurrent reads: what the edge remembers about callers.

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

/// Time between two notes that a key was used.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// The part of the edge that knows callers.
#[derive(Debug)]
pub struct Keys {
    pub refusals: Refusals,
    pub reads: Reads,
    /// When the use of a key was noted last, so that a busy key writes once a minute.
    noted: Mutex<HashMap<KeyId, Timestamp>>,
}

impl Keys {
    /// Keys whose guesses are bounded so.
    pub fn new(refusals: Refusals) -> Self {
        Self {
            refusals,
            reads: Reads::default(),
            noted: Mutex::default(),
        }
    }

    /// Returns whether the use of a key is to be noted now.
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
