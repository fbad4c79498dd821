//! Commands of a store that need no service.

use serde_json::Value;

/// Result of a store's command.
#[derive(Debug)]
pub struct Verdict {
    /// The result for people, as one line.
    pub line: String,
    /// The result as JSON, if it was requested.
    pub json: Option<Value>,
    /// Whether the exit code is 0.
    pub is_positive: bool,
}
