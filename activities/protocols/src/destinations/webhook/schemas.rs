//! The fields of a webhook as JSON Schemas, for the API's documentation.

use super::settings::Settings;
use crate::destinations::schemas::{KindSchemas, requested};
use crate::destinations::settings::properties;
use serde_json::{Value, json};

/// The rules of a new webhook that its schema does not state.
const RULES: &[(&str, &str)] = &[
    (
        "url",
        "With `https`, and a host that is public or allowed by the settings.",
    ),
    (
        "headers",
        "Tokens of RFC 9110 that settle and the connection do not set; visible ASCII values.",
    ),
    (
        "secret",
        "`whsec_` and base64 of 24 to 64 bytes, where `signature` has `v1`.",
    ),
    (
        "private_key",
        "`whsk_` and base64 of an Ed25519 key, where `signature` has `v1a`.",
    ),
];
/// The rules of a change that differ.
const CHANGE_RULES: &[(&str, &str)] = &[(
    "secret_url",
    "True, unless there is another `url`: the present one is a secret.",
)];

/// The fields that a webhook takes and shows.
pub fn schemas() -> KindSchemas {
    let settings = properties::<Settings>();
    let secrets = json!({
        "headers": {
            "type": "object", "additionalProperties": { "type": ["string", "null"] }, "maxProperties": 20,
            "description": "Headers of every request: values are stored as secrets, names are shown. In a PATCH, null removes \
                that header; null for `headers` removes all.",
        },
        "secret": { "type": "string", "writeOnly": true, "description": "`whsec_…`; a new one when absent." },
        "private_key": { "type": "string", "writeOnly": true, "description": "`whsk_…`; a new one when absent." },
    });
    let created = requested(&settings, secrets);
    let mut shown = settings;
    // A secret path is shown as `…`, which no URL has.
    if let Some(url) = shown.get_mut("url").and_then(Value::as_object_mut) {
        url.remove("format");
    }
    KindSchemas {
        kind: super::KIND,
        created,
        required: &["url"],
        on_creation: &["secret", "private_key"],
        rules: RULES,
        change_rules: CHANGE_RULES,
        shown,
        example: json!({ "kind": super::KIND, "name": "hook", "url": "https://example.com/hook" }),
    }
}
