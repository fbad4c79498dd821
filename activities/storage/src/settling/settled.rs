//! A decision that is to be recorded, and the result.

use domain::{CollapseKey, Decision, Lane, State};

/// A decision that is to be recorded.
#[derive(Debug, Clone)]
pub struct Record {
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// The settling's number: [`crate::Loaded::settling`] + 1.
    pub settling: i64,
    /// The revision that the decision saw.
    pub revision: i64,
    /// The notifications that the decision saw.
    pub seqs: Vec<i64>,
    /// The decision.
    pub decision: Decision,
    /// Whether the decision saw that it was replaced: [`crate::Loaded::is_replaced`].
    pub is_replaced: bool,
    /// Whether the store was queried before it was decided: [`crate::Loaded::verify`].
    pub is_queried: bool,
    /// Whether the store answered about this receipt.
    pub is_answer: bool,
    /// Whether the purchase may be taken for real.
    pub is_real: bool,
    /// The trace that the event and its deliveries belong to.
    pub traceparent: Option<String>,
}

/// The result of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is recorded, now or by an earlier attempt.
    Done {
        /// The purchase's revision.
        revision: i64,
        /// Its state.
        state: State,
        /// The lanes that are open.
        lanes: Vec<Lane>,
        /// Whether this settling raised the revision.
        changed: bool,
    },
    /// The purchase is not as the decision saw it. Nothing changed; load again.
    Moved,
}
