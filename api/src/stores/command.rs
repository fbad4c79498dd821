//! A store's commands that need no running service.

use serde_json::Value;

/// Result of a store's command.
#[derive(Debug)]
pub struct Verdict {
    /// Result for display, as one line.
    pub line: String,
    /// Result as JSON, if requested.
    pub json: Option<Value>,
    /// Whether the exit code is 0.
    pub is_positive: bool,
}
