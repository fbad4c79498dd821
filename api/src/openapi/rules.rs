//! Rules of requests that a schema cannot express, added as [`RULE`] to the field that the error names.
//!
//! `.ci/openapi` sends requests that the schemas allow. Every refusal must have a rule here, or in the type of the
//! body.

use super::kinds::request_of;
use super::limits::RULE;
use crate::extract::shape::present_mut;
use protocols::destinations;
use serde_json::{Map, Value, json};

/// Rule of the parameter `cursor` of every list.
const CURSOR: &str = "`next_cursor` of the previous page.";

/// Each rule with its places: a schema or an operation's id, followed by the field or parameter if the rule concerns
/// one. A field of `NewDestination` stands for that of each kind that has it; the rules for fields of a single kind are
/// in that kind's schemas.
const RULES: [(&str, &[&str]); 33] = [
    (
        "A time in the future.",
        &["Hold.until", "NewKey.expires_at"],
    ),
    ("A random UUID (version 4).", &["Device.id"]),
    (CURSOR, &["Resend.cursor"]),
    (
        "Contains a visible character.",
        &[
            "AppPatch.name",
            "DestinationPatch.name",
            "NewApp.name",
            "NewDestination.name",
            "NewPlatform.name",
            "PlatformPatch.name",
        ],
    ),
    (
        "Contains a letter and neither invisible characters nor parentheses, and is not a name that the audit log reserves.",
        &["NewKey.name", "NewSignInLink.name"],
    ),
    (
        "At most the caller's role, and not `metrics`.",
        &["NewSignInLink.role"],
    ),
    (
        "At least one event type or group such as `user.*` that this kind of destination supports.",
        &["DestinationPatch.events", "NewDestination.events"],
    ),
    (
        "1 to 100 waits of at least 1 second each, at most 691,200 seconds in total.",
        &["DestinationPatch.schedule", "NewDestination.schedule"],
    ),
    (
        "Platforms of the app.",
        &[
            "DestinationPatch.filter.platforms",
            "NewDestination.filter.platforms",
        ],
    ),
    (
        "Only together with `enabled: true`.",
        &["DestinationPatch.newest_only"],
    ),
    (
        "Only together with `newest_only: true`.",
        &["Enable.dry_run"],
    ),
    (
        "At most the maximum of the destination's kind.",
        &["DestinationPatch.rate"],
    ),
    (
        "In the format for a new destination of the kind, and not the current secret.",
        &["RotateSecret.secret"],
    ),
    (
        "An event type that has a schema and is sent to the destination.",
        &["TestRequest.event_type"],
    ),
    (
        "A message type of the platform's store.",
        &["SampleRequest.type"],
    ),
    (
        "The ARN of an SNS topic.",
        &["NewPlatform.topic_arn", "PlatformPatch.topic_arn"],
    ),
    (
        "At least `window_seconds`.",
        &[
            "NewPlatform.max_wait_seconds",
            "PlatformPatch.max_wait_seconds",
        ],
    ),
    ("Not USD, whose rate is 1.", &["NewRate.currency"]),
    ("No later than tomorrow.", &["NewRate.day"]),
    ("No duplicates.", &["ListedEntitlement.ref", "Product.sku"]),
    (
        "New ids contain no hidden characters, and are no placeholders such as `null`.",
        &[
            "Catalogue.entitlements",
            "Catalogue.products",
            "setEntitlement.ref",
            "setProduct.sku",
        ],
    ),
    (
        "At most 300 of the app's entitlements, without duplicates.",
        &["NewProduct.entitlements", "Product.entitlements"],
    ),
    (
        "At most one price for each country and `since`.",
        &["NewProduct.prices", "Product.prices"],
    ),
    (
        "An id, not a placeholder such as `null`. Required if the platform's store confirms pairs of customer and receipt; else absent.",
        &[
            "DeviceReceipt.app_user_id",
            "DeviceTransaction.app_user_id",
            "ImportedPurchase.app_user_id",
        ],
    ),
    (
        "Exactly one of `external_id`, `app_user_id` and `user_id`.",
        &["ErasedCustomer.external_id", "getCustomerState.external_id"],
    ),
    (
        "Exactly one of `external_id`, `app_user_id` and `receipt_id`.",
        &[
            "MovedCustomer.from",
            "WantedMove.from",
            "getCustomer.external_id",
        ],
    ),
    (
        "Exactly one of `app_user_id` and `receipt_id`.",
        &["NamedCustomer.app_user_id", "NamedCustomer.receipt_id"],
    ),
    (
        "Exactly one of `collapse_key` and `user_id`.",
        &["listPayments.collapse_key"],
    ),
    (
        "Event types and groups such as `user.*`.",
        &["listEvents.type"],
    ),
    (
        "Before `until`, by at most 1,500 steps.",
        &["getSeries.from"],
    ),
    (
        "A day such as `2026-10-03`, not in the future.",
        &["getCustomerAccess.on"],
    ),
    (
        "Exactly one selection; other fields only if that selection takes them.",
        &[
            "Resend",
            "Resend.app_id",
            "Resend.destination_id",
            "Resend.now",
        ],
    ),
    (
        "Set both or neither; `from` is before `until`.",
        &["Resend.from", "Resend.until"],
    ),
];

/// Why an operation responds with 422 to a request that its schemas allow.
const UNSUITABLE: [(&str, &str); 3] = [
    (
        "createKey",
        "422 for a key with the role `metrics` for one app.",
    ),
    (
        "createResend",
        "422 for states to a destination that is not subscribed to `purchase.updated`.",
    ),
    (
        "rotateDestinationSecret",
        "422 if the destination's kind signs nothing.",
    ),
];

/// Adds all rules to a document.
pub fn add(document: &mut Value) {
    for (place, rule) in places() {
        for place in each(document, &place) {
            if let Some(found) = at(document, &place) {
                found[RULE] = json!(rule);
            }
        }
    }
    for operation in operations(document) {
        let parameters = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten();
        parameters
            .filter(|one| one["name"] == "cursor")
            .for_each(|one| one["schema"][RULE] = json!(CURSOR));
    }
    for (id, rule) in UNSUITABLE {
        if let Some(operation) = operation(document, id) {
            operation[RULE] = json!(rule);
            operation["responses"]["422"] = json!({ "$ref": "#/components/responses/Problem" });
        }
    }
}

/// Returns all places with their rules: those in [`RULES`], then those of each kind of destination.
fn places() -> Vec<(String, &'static str)> {
    let of_all = RULES.iter().flat_map(|(rule, places)| {
        let place = move |place: &&str| ((*place).to_owned(), *rule);
        places.iter().map(place)
    });
    let of_kinds = destinations::schemas().iter().flat_map(|kind| {
        let created = request_of(kind.kind);
        let place =
            move |(field, rule): &(&str, &'static str)| (format!("{created}.{field}"), *rule);
        let changed =
            |(field, rule): &(&str, &'static str)| (format!("DestinationPatch.{field}"), *rule);
        let changes = kind.change_rules.iter().map(changed);
        kind.rules.iter().map(place).chain(changes)
    });
    of_all.chain(of_kinds).collect()
}

/// Returns the places that a place stands for: one for each alternative if its schema has several, else itself.
fn each(document: &Value, place: &str) -> Vec<String> {
    let (name, field) = place.split_once('.').unwrap_or((place, ""));
    let Some(schemas) = document["components"]["schemas"][name]["oneOf"].as_array() else {
        return vec![place.to_owned()];
    };
    let names = schemas
        .iter()
        .filter_map(|schema| schema["$ref"].as_str()?.rsplit('/').next());
    names.map(|name| format!("{name}.{field}")).collect()
}

/// Returns the part of the document that a place names.
fn at<'a>(document: &'a mut Value, place: &str) -> Option<&'a mut Value> {
    let (name, field) = place.split_once('.').unwrap_or((place, ""));
    if document["components"]["schemas"].get(name).is_some() {
        let path = field.split('.').filter(|part| !part.is_empty());
        return path.fold(
            document["components"]["schemas"].get_mut(name),
            |schema, name| present_mut(schema?).get_mut("properties")?.get_mut(name),
        );
    }
    let parameters = operation(document, name)?
        .get_mut("parameters")?
        .as_array_mut()?;
    parameters
        .iter_mut()
        .find(|one| one["name"] == field)?
        .get_mut("schema")
}

/// Returns the operation with this id.
fn operation<'a>(document: &'a mut Value, id: &str) -> Option<&'a mut Value> {
    operations(document).find(|operation| operation["operationId"] == id)
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document
        .get_mut("paths")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut);
    paths
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
}

#[cfg(test)]
mod tests {
    use super::{RULE, UNSUITABLE, at, each, operation, places};
    use crate::openapi::document;
    use crate::routes::routes;

    #[test]
    fn each_rule_stands_at_its_place() {
        let mut document = document(routes());
        for (place, rule) in places() {
            let each = each(&document, &place);
            let found: Vec<_> = each
                .iter()
                .filter_map(|place| at(&mut document, place).cloned())
                .collect();
            assert!(!found.is_empty(), "there is no {place}");
            for found in found {
                assert_eq!(found[RULE], rule, "{place}");
            }
        }
        for (id, rule) in UNSUITABLE {
            let operation =
                operation(&mut document, id).unwrap_or_else(|| panic!("there is no {id}"));
            assert_eq!(operation[RULE], rule, "{id}");
            assert!(operation["responses"]["422"].is_object(), "{id}");
        }
    }
}
