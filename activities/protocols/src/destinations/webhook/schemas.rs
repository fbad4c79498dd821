//! The fields of a webhook as JSON Schemas, for the API's documentation.

use crate::destinations::schemas::{KindSchemas, fields, nullable};
use crate::destinations::unnamed;
use serde_json::json;

/// The fields that a webhook takes and shows.
pub fn schemas() -> KindSchemas {
    let mut changeable = fields(json!({
        "url": { "type": "string", "format": "uri", "description": "The endpoint.", "examples": ["https://example.com/hook"] },
        "headers": {
            "type": "object", "additionalProperties": { "type": ["string", "null"] }, "maxProperties": 20,
            "description": "Headers of every request: values are stored as secrets, names are shown. In a PATCH, null removes \
                that header; null for `headers` removes all.",
        },
        "signature": {
            "type": "string", "enum": ["v1", "v1a", "v1,v1a"], "default": "v1",
            "description": "Standard Webhooks: `v1` by the shared secret, `v1a` by a key whose public half the receiver has.",
        },
        "device_batch": {
            "type": "integer", "minimum": 1, "maximum": 100, "default": 1,
            "description": "Maximum number of events of devices in a request. If above 1, the body is always an array, even \
                for one event.",
        },
        "device_receipts": {
            "type": "boolean", "default": false,
            "description": "Whether events of devices carry the receipts that apps report, with the store's customers: whoever \
                has both may claim the purchase on a device.",
        },
    }));
    changeable.extend(unnamed::schema());
    let mut created = changeable.clone();
    created.extend(fields(json!({
        "secret": {
            "type": "string", "writeOnly": true, "description": "`whsec_…`; a new one when absent.",
        },
        "private_key": {
            "type": "string", "writeOnly": true, "description": "`whsk_…`; a new one when absent.",
        },
    })));
    let mut shown = fields(json!({
        "url": { "type": "string", "format": "uri", "description": "The endpoint.", "examples": ["https://example.com/hook"] },
        "headers": { "type": "array", "items": { "type": "string" }, "description": "The names of its headers." },
        "signature": { "type": "string", "enum": ["v1", "v1a", "v1,v1a"], "description": "The versions of its signatures." },
        "device_batch": {
            "type": "integer", "description": "Maximum number of events of devices in a request; absent where each comes alone.",
        },
        "device_receipts": {
            "type": "boolean", "description": "Whether events of devices carry receipts; absent where they do not.",
        },
        "public_key": { "type": "string", "description": "`whpk_…`, where signatures need one." },
        "old_secret_signs_until": {
            "type": "string", "format": "date-time", "description": "Until when replaced secrets sign too.",
        },
    }));
    shown.extend(unnamed::schema());
    let changed = nullable(changeable, &["headers", "signature", unnamed::FIELD, "device_batch", "device_receipts"]);
    let example = json!({ "kind": super::KIND, "name": "hook", "url": "https://example.com/hook" });
    KindSchemas { kind: super::KIND, created, required: &["url"], changed, shown, example }
}
