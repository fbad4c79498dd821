//! Activities that keep failing, as the engine knows them: what an open run waits for.

use domain::Timestamp;

/// An activity of an open run that failed and is tried again, as the engine knows it. Not one whose failure only says when
/// the next attempt at a destination is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingActivity {
    /// Name of the activity in the contract.
    pub activity: String,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Error of the last attempt.
    pub why: String,
    /// When the next attempt begins; `None` while one is under way.
    pub next_at: Option<Timestamp>,
}
