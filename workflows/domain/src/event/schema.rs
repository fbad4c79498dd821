//! Which fields of a body a schema requires: all documented ones, but none of settle's additions.

use crate::time::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

/// settle's additions to the documented shapes.
pub(crate) const ADDITIONS: [&str; 16] = [
    "active_skus",
    "coalesced",
    "environment",
    "expiration_reason",
    "occurred_at",
    "offer_type",
    "pending_at",
    "pending_sku_ref_id",
    "previous_acked_revision",
    "previous_sku_ref_id",
    "price_source",
    "product_type",
    "revision",
    "state_digest",
    "user_revision",
    "verified",
];

/// Removes settle's additions from the required fields of an object.
pub(crate) fn additions_are_optional(schema: &mut Schema) {
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|field| {
            field
                .as_str()
                .is_none_or(|field| !ADDITIONS.contains(&field))
        });
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}
