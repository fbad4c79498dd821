//! Checks that a request has the form required of its events.

use super::super::released;
use super::{Received, type_of};
use jsonschema::Validator;
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields that settle adds to `attributes`. They are optional in the schemas, because the documented examples lack
/// them, but every request must have them.
const ADDED: [&str; 6] = [
    "coalesced",
    "occurred_at",
    "previous_acked_revision",
    "revision",
    "state_digest",
    "verified",
];
/// Fields that settle adds to `user.*` events.
const ADDED_FOR_USERS: [&str; 3] = ["active_skus", "occurred_at", "user_revision"];
/// Purchase fields that settle adds to `data` and to `user.*` events.
const ADDED_OF_PURCHASE: [&str; 8] = [
    "environment",
    "expiration_reason",
    "offer_type",
    "pending_at",
    "pending_sku_ref_id",
    "previous_sku_ref_id",
    "price_source",
    "product_type",
];

/// Checks the events of a request against their current schemas and those of each release, and checks that they have
/// the added fields. A connection test (`webhook-test`) contains no event.
pub fn check(schemas: &BTreeMap<String, Validator>, request: &Received) -> Result<(), String> {
    if request.headers.contains_key("webhook-test") {
        return Ok(());
    }
    request
        .bodies()
        .into_iter()
        .try_for_each(|body| check_body(schemas, body, request))
}

fn check_body(
    schemas: &BTreeMap<String, Validator>,
    body: &Value,
    request: &Received,
) -> Result<(), String> {
    let name = type_of(body);
    let Some(schema) = schemas.get(name) else {
        return if schemas.is_empty() {
            Ok(())
        } else {
            Err(format!("no schema is served of `{name}`: {request:?}"))
        };
    };
    let validate = |schema: &Validator| {
        schema
            .validate(body)
            .map_err(|error| format!("{name} is not of its schema: {error}: {request:?}"))
    };
    validate(schema)?;
    released::validators(name).try_for_each(validate)?;
    let parts: &[(&Value, &[&str])] = match body.get("attributes") {
        Some(_) if name.starts_with("device.") => &[],
        Some(attributes) => &[(attributes, &ADDED), (&body["data"], &ADDED_OF_PURCHASE)],
        None if name == "user.erased" => &[],
        None if name.starts_with("user.") => {
            &[(body, &ADDED_FOR_USERS), (body, &ADDED_OF_PURCHASE)]
        }
        None => &[],
    };
    let missing: Vec<&str> = parts
        .iter()
        .flat_map(|(part, added)| {
            added
                .iter()
                .copied()
                .filter(|name| part.get(name).is_none())
        })
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("{name} lacks {missing:?}: {request:?}"))
    }
}
