//! What an attempt of a delivery came to, in words that do not depend on the destination.

/// What becomes of a delivery after one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has it.
    Delivered,
    /// Try again after a while.
    Retry {
        /// How long to wait, in milliseconds.
        delay_ms: i64,
        /// A stable word for the kind of failure.
        class: &'static str,
        /// What a person reads.
        message: String,
    },
    /// It failed for the last time.
    Dead {
        /// A stable word for the kind of failure.
        class: &'static str,
        /// What a person reads.
        message: String,
    },
}
