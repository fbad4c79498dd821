//! The document describes every route, and its references resolve.

use super::document;
use crate::route::{Access, Route};
use crate::routes::{self, DOCUMENTS};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The routes that the document describes: all but the pages for people.
fn routes() -> Vec<Route> {
    routes::routes().into_iter().filter(|route| !route.is_page).collect()
}

fn whole() -> Value {
    document(routes::routes())
}

#[test]
fn the_document_lists_exactly_the_routes_that_exist() {
    let document = whole();
    let mut listed = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys().filter(|key| *key != "parameters") {
            listed.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let served: BTreeSet<String> = routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(listed, served);
}

#[test]
fn the_document_marks_the_routes_that_need_the_token() {
    let document = whole();
    for route in routes() {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        let open = operation["security"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(open, route.access == Access::Open, "{} {}", route.method, route.path);
    }
}

/// The references of a document, without `#`.
fn references(document: &Value) -> BTreeSet<String> {
    let text = document.to_string();
    text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
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
        let (shown, whole) = (&part["paths"][route.path], &DOCUMENTS.whole["paths"][route.path]);
        let method = route.method.to_lowercase();
        let expected = if route.access == Access::Device { &whole[&method] } else { &Value::Null };
        assert_eq!(&shown[&method], expected, "{} {}", route.method, route.path);
    }
    assert_eq!(part["security"], json!([{ "device": [] }]));
    let components = part["components"].as_object().expect("components");
    let schemes = components["securitySchemes"].as_object().expect("schemes");
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["device"]);
    let names = |kind: &str| components[kind].as_object().expect("components").keys().cloned().collect::<Vec<_>>();
    let unused = ["schemas", "responses"].into_iter().flat_map(|kind| {
        let paths = names(kind).into_iter().map(move |name| format!("/components/{kind}/{name}"));
        paths.filter(|path| !references(part).contains(path))
    });
    assert_eq!(unused.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_text_of_a_request_states_the_limits_that_are_checked() {
    let document = whole();
    let of = |place: &str| document.pointer(place).unwrap_or_else(|| panic!("no {place}"));
    let name = of("/components/schemas/NewApp/properties/name");
    assert_eq!((&name["minLength"], &name["maxLength"]), (&json!(1), &json!(200)), "{name}");
    assert!(name["pattern"].as_str().is_some_and(|pattern| pattern.contains("u001f")), "{name}");
    let id = of("/components/schemas/Resend/properties/event_id");
    assert_eq!(id["pattern"], Value::Null, "its format says it: {id}");
    let shown = of("/components/schemas/App/properties/name");
    assert_eq!(shown["maxLength"], Value::Null, "an answer has no limits: {shown}");
    assert_eq!(of("/paths/~1openapi.json/get/responses/200/content/application~1json/schema")["type"], "object");
}
