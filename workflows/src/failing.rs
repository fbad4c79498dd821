//! Activities that keep failing and for which an open run waits, as known to the engine.

use domain::Timestamp;

/// A failed activity of an open run that will be retried, as known to the engine. Activities whose failure only reports
/// when the next attempt at a destination is due are not included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingActivity {
    /// Name of the activity in the contract.
    pub activity: String,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Error of the last attempt.
    pub why: String,
    /// When the next attempt begins; `None` while one is running.
    pub next_at: Option<Timestamp>,
}
