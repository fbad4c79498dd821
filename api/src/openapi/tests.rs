//! Checks that the document describes every route, and that its references resolve.

use super::{document, limits};
use crate::route::Access;
use crate::routes::{DOCUMENTS, routes};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn whole() -> Value {
    document(routes())
}

#[test]
fn the_document_lists_exactly_the_routes_that_exist() {
    let document = whole();
    let mut listed = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods
            .as_object()
            .expect("methods")
            .keys()
            .filter(|key| *key != "parameters")
        {
            listed.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let served: BTreeSet<String> = routes()
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(listed, served);
}

#[test]
fn the_document_marks_the_routes_that_need_the_token() {
    let document = whole();
    for route in routes() {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        let open = operation["security"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(
            open,
            route.access == Access::Open,
            "{} {}",
            route.method,
            route.path
        );
    }
}

/// The references of a document, without `#`.
fn references(document: &Value) -> BTreeSet<String> {
    let text = document.to_string();
    text.split("\"$ref\":\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_reference_leads_somewhere() {
    for document in [&*DOCUMENTS.whole, &*DOCUMENTS.device] {
        for reference in references(document) {
            assert!(document.pointer(&reference).is_some(), "{reference}");
        }
    }
}

#[test]
fn the_part_for_devices_has_their_routes_and_what_these_need() {
    let part = &*DOCUMENTS.device;
    for route in routes() {
        let (shown, whole) = (
            &part["paths"][route.path],
            &DOCUMENTS.whole["paths"][route.path],
        );
        let method = route.method.to_lowercase();
        let expected = if route.access == Access::Device {
            &whole[&method]
        } else {
            &Value::Null
        };
        assert_eq!(&shown[&method], expected, "{} {}", route.method, route.path);
    }
    assert_eq!(part["security"], json!([{ "device": [] }]));
    let components = part["components"].as_object().expect("components");
    let schemes = components["securitySchemes"].as_object().expect("schemes");
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["device"]);
    let names = |kind: &str| {
        components[kind]
            .as_object()
            .expect("components")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let unused = ["schemas", "responses"].into_iter().flat_map(|kind| {
        let paths = names(kind)
            .into_iter()
            .map(move |name| format!("/components/{kind}/{name}"));
        paths.filter(|path| !references(part).contains(path))
    });
    assert_eq!(unused.collect::<Vec<_>>(), Vec::<String>::new());
}

/// The operations of a document.
fn operations(document: &Value) -> Vec<&Value> {
    let paths = document["paths"].as_object().expect("paths").values();
    paths
        .flat_map(|methods| methods.as_object().expect("methods").values())
        .collect()
}

/// A value and all values inside it.
fn within(value: &Value) -> Vec<&Value> {
    let (mut found, mut next) = (Vec::new(), vec![value]);
    while let Some(value) = next.pop() {
        found.push(value);
        match value {
            Value::Object(fields) => next.extend(fields.values()),
            Value::Array(items) => next.extend(items),
            _ => {}
        }
    }
    found
}

#[test]
fn a_choice_is_an_enum_and_never_an_alternative_of_constants() {
    let document = whole();
    let alternatives = within(&document)
        .into_iter()
        .filter_map(|value| value["oneOf"].as_array())
        .flatten();
    let constants: Vec<&Value> = alternatives.filter(|one| !one["const"].is_null()).collect();
    assert!(constants.is_empty(), "{constants:?}");
    let environment = &document["components"]["schemas"]["Environment"];
    assert_eq!(
        (&environment["type"], &environment["enum"]),
        (&json!("string"), &json!(["production", "sandbox"]))
    );
    let of_query = &document["paths"]["/v1/series"]["get"]["parameters"];
    let what = of_query
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == "what"))
        .expect("what");
    assert!(
        what["schema"]["enum"]
            .as_array()
            .is_some_and(|all| all.len() > 3),
        "{what}"
    );
}

#[test]
fn every_operation_has_an_id_and_a_tag_that_the_document_lists() {
    for document in [&*DOCUMENTS.whole, &*DOCUMENTS.device] {
        let mut used = BTreeSet::new();
        for operation in operations(document) {
            assert!(operation["operationId"].is_string(), "{operation}");
            used.insert(operation["tags"][0].as_str().expect("a tag"));
        }
        let listed = document["tags"]
            .as_array()
            .expect("tags")
            .iter()
            .filter_map(|one| one["name"].as_str());
        assert_eq!(listed.collect::<BTreeSet<_>>(), used);
    }
    let state = &DOCUMENTS.whole["paths"]["/v1/apps/{app_id}/customers/state"]["get"];
    assert_eq!(
        (&state["operationId"], &state["tags"]),
        (&json!("getCustomerState"), &json!(["customers"]))
    );
}

#[test]
fn every_body_has_a_schema_and_bytes_a_known_media_type() {
    let document = whole();
    for operation in operations(&document) {
        let Some(content) = operation["requestBody"]["content"].as_object() else {
            continue;
        };
        let is_known =
            |media: &str| ["application/json", "application/octet-stream"].contains(&media);
        assert!(content.keys().any(|media| is_known(media)), "{operation}");
        let is_described =
            |schema: &Value| schema.as_object().is_some_and(|fields| !fields.is_empty());
        assert!(
            content.values().all(|one| is_described(&one["schema"])),
            "{operation}"
        );
    }
}

#[test]
fn a_query_has_no_null_and_a_header_the_limits_of_its_own_check() {
    let document = whole();
    let parameters = operations(&document)
        .into_iter()
        .filter_map(|operation| operation["parameters"].as_array());
    for parameter in parameters
        .flatten()
        .filter(|parameter| parameter["in"] != "path")
    {
        let schema = &parameter["schema"];
        assert!(
            !within(schema).into_iter().any(|value| value == "null"),
            "{parameter}"
        );
        let is_limited = !schema["minLength"].is_null() || schema["pattern"] == limits::PRINTABLE;
        assert!(parameter["in"] != "header" || !is_limited, "{parameter}");
    }
}

#[test]
fn a_text_of_a_request_states_the_limits_that_are_checked() {
    let document = whole();
    let of = |place: &str| {
        document
            .pointer(place)
            .unwrap_or_else(|| panic!("no {place}"))
    };
    let rate = of("/components/schemas/NewWebhook/properties/concurrency");
    assert_eq!(
        (&rate["default"], &rate["anyOf"][1]),
        (&Value::Null, &json!({ "type": "null" })),
        "optional: {rate}"
    );
    assert!(
        rate["description"]
            .as_str()
            .is_some_and(|text| text.ends_with("Default: `32`.")),
        "{rate}"
    );
    let name = of("/components/schemas/NewApp/properties/name");
    assert_eq!(
        (&name["minLength"], &name["maxLength"]),
        (&json!(1), &json!(200)),
        "{name}"
    );
    assert!(
        name["pattern"]
            .as_str()
            .is_some_and(|pattern| pattern.contains("u001f")),
        "{name}"
    );
    let key = of("/components/schemas/DestinationPatch/properties/prefix");
    assert_eq!(
        (&key["maxLength"], &key["anyOf"][0]["maxLength"]),
        (&Value::Null, &json!(32)),
        "its own: {key}"
    );
    let price = of("/components/schemas/Price/properties/currency");
    assert_eq!(
        price["pattern"], "^[A-Z]{3}$",
        "a format that only settle knows: {price}"
    );
    let id = of("/components/schemas/Resend/properties/event_id");
    assert_eq!(id["pattern"], Value::Null, "its format says it: {id}");
    let shown = of("/components/schemas/App/properties/name");
    assert_eq!(
        shown["maxLength"],
        Value::Null,
        "an answer has no limits: {shown}"
    );
    assert_eq!(
        of("/paths/~1openapi.json/get/responses/200/content/application~1json/schema")["type"],
        "object"
    );
}
