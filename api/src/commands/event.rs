//! `settle event`: everything that its table of verbs cannot express.

use super::drawn::Hook;
use api::resources::events::chosen;
use serde_json::Value;

pub const HOOKS: &[(&str, Hook)] = &[("list", Hook::Parse("type", types))];

/// Validates a list of event types and groups.
fn types(text: &str) -> Result<Value, String> {
    chosen(text)
        .map(|_| text.into())
        .map_err(|expected| format!("expected {expected}"))
}
