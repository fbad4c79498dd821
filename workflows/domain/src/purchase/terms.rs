//! The row of a purchase's terms, as it is stored. Only the policy of a store that counts terms reads it.

use crate::time::Timestamp;
use crate::verification::Term;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A row: consecutive terms of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Terms {
    /// The date from which the row's terms are counted.
    pub anchor: Timestamp,
    pub term: Term,
    /// The number of terms before the anchor.
    pub before: u64,
    /// How the anchor is known.
    #[serde(default)]
    pub origin: Origin,
}

/// How the anchor of a row is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The beginning, the end of the trial or a change of the length was seen.
    #[default]
    Seen,
    /// The date of the purchase. A trial that no snapshot showed may have followed, so the day of the month may differ.
    Purchase,
    /// A renewal date that the store showed. Terms are counted from it forwards and backwards.
    Renewal,
}
