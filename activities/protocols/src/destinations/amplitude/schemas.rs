//! The fields of an Amplitude destination as JSON Schemas, for the API's documentation.

use crate::destinations::schemas::{KindSchemas, fields, nullable};
use crate::destinations::unnamed;
use serde_json::json;

/// The fields that an Amplitude destination takes and shows.
pub fn schemas() -> KindSchemas {
    let mut settings = fields(json!({
        "endpoint": {
            "type": "string", "examples": ["standard"],
            "description": "The region of the project: `standard`, `eu`, or a URL whose origin the setting \
                `amplitude.allowed_urls` names.",
        },
        "user_id": {
            "type": "string", "enum": ["external_id", "user_id"], "default": "external_id",
            "description": "Which id identifies a customer: the app's own (`external_id`) or settle's (`user_id`).",
        },
        "min_id_length": {
            "type": "integer", "minimum": 1, "maximum": 36, "default": 5,
            "description": "The project's minimum length of an id.",
        },
        "prefix": {
            "type": "string", "minLength": 1, "maxLength": 32, "pattern": "^[A-Za-z0-9_]+$", "default": "namiml_",
            "description": "The prefix of the names of user properties.",
        },
        "user_properties": {
            "type": "string", "enum": ["documented", "extended"], "default": "documented",
            "description": "Which user properties are kept up to date: the documented eight, or six more.",
        },
        "partner_id": {
            "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9._-]+$", "examples": ["settle"],
            "description": "The Amplitude partner that sends the events; part of each of them.",
        },
    }));
    settings.extend(unnamed::schema());
    let mut created = settings.clone();
    created.extend(fields(json!({
        "api_key": {
            "type": "string", "writeOnly": true, "description": "The project of production events. One of the two API \
                keys is required.",
        },
        "secret_key": { "type": "string", "writeOnly": true, "description": "A test needs it, and the deletion of a user." },
        "sandbox_api_key": {
            "type": "string", "writeOnly": true, "description": "The project of sandbox events; without it they are \
                skipped.",
        },
    })));
    let mut shown = settings;
    shown.extend(fields(json!({
        "has_api_key": { "type": "boolean", "description": "Whether `api_key` is stored." },
        "has_secret_key": { "type": "boolean", "description": "Whether `secret_key` is stored." },
        "has_sandbox_api_key": { "type": "boolean", "description": "Whether `sandbox_api_key` is stored." },
    })));
    let names: Vec<&str> = created.keys().map(String::as_str).filter(|name| *name != "endpoint").collect();
    let changed = nullable(created.clone(), &names);
    created.insert("rate".to_owned(), json!({
        "type": ["integer", "null"], "minimum": 1, "maximum": super::config::RATE,
        "description": "Maximum number of requests a second over all processes; null for 90, a tenth below Amplitude's \
            100, since requests may arrive closer together than they were sent. Integrations of one project share what it \
            takes: give each a part.",
    }));
    let example = json!({ "kind": super::KIND, "name": "analytics", "endpoint": "standard", "api_key": "c0ffee" });
    KindSchemas { kind: super::KIND, created, required: &["endpoint"], changed, shown, example }
}
