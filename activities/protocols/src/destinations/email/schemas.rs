//! The fields of an email destination as JSON Schemas, for the API's documentation.

use super::settings::Settings;
use crate::destinations::schemas::{KindSchemas, requested};
use crate::destinations::settings::properties;
use serde_json::json;

/// The rules of a new email destination that its schema does not state.
const RULES: &[(&str, &str)] = &[
    ("kind", "Requires the settings `mail.url` and `mail.from`."),
    ("subject_prefix", "Contains no link."),
    ("to", "Distinct ASCII addresses that the settings allow."),
];

/// Returns the fields that an email destination accepts and shows.
pub fn schemas() -> KindSchemas {
    let shown = properties::<Settings>();
    let example = json!({
        "kind": super::KIND, "name": "on-call", "to": ["ops@example.com"], "events": ["alarm.*", "destination.*"],
    });
    KindSchemas {
        kind: super::KIND,
        created: requested(&shown, json!({})),
        required: &["to"],
        on_creation: &[],
        rules: RULES,
        change_rules: &[],
        shown,
        example,
    }
}
