//! `settle event`: what the table of its verbs cannot express.

use super::drawn::Hook;
use api::resources::events::chosen;
use serde_json::Value;

pub const HOOKS: &[(&str, Hook)] = &[("list", Hook::Parse("type", types))];

/// Checks a list of types and groups.
fn types(text: &str) -> Result<Value, String> {
    chosen(text)
        .map(|_| text.into())
        .map_err(|expected| format!("expected {expected}"))
}
