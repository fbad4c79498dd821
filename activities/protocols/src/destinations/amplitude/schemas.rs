//! The fields of an Amplitude destination as JSON Schemas, for the API's documentation.

use super::settings::Settings;
use crate::destinations::schemas::{KindSchemas, requested};
use crate::destinations::settings::properties;
use serde_json::json;

/// The rules of a new integration that its schema does not state.
const RULES: &[(&str, &str)] = &[
    (
        "endpoint",
        "`standard`, `eu`, or a URL that the settings allow.",
    ),
    (
        "api_key",
        "At most 128 letters, digits, `-`, `_` and `.`. One of the two API keys is required.",
    ),
    (
        "secret_key",
        "At most 128 letters, digits, `-`, `_` and `.`.",
    ),
    (
        "sandbox_api_key",
        "In the format of `api_key`, from another project.",
    ),
];

/// Returns the fields that an Amplitude destination accepts and shows.
pub fn schemas() -> KindSchemas {
    let shown = properties::<Settings>();
    let further = json!({
        "api_key": {
            "type": "string", "writeOnly": true, "description": "API key for production events. One of the two API keys \
                is required.",
        },
        "secret_key": {
            "type": "string", "writeOnly": true, "description": "Secret key, needed to test the connection and to delete \
                users.",
        },
        "sandbox_api_key": {
            "type": "string", "writeOnly": true, "description": "API key for sandbox events, which are skipped without \
                it.",
        },
        "rate": {
            "type": ["integer", "null"], "minimum": 1, "maximum": super::config::RATE,
            "description": "Maximum number of requests per second over all processes; null for 90. Amplitude allows 100, but \
                requests may arrive closer together than they were sent. Integrations of the same project share its \
                limit: divide it among them.",
        },
    });
    KindSchemas {
        kind: super::KIND,
        created: requested(&shown, further),
        required: &["endpoint"],
        on_creation: &[],
        rules: RULES,
        change_rules: &[],
        shown,
        example: json!({ "kind": super::KIND, "name": "analytics", "endpoint": "standard", "api_key": "c0ffee" }),
    }
}
