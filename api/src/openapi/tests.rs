//! The document describes every route, and its references resolve.

use super::document;
use crate::routes::{Access, routes};
use serde_json::Value;
use std::collections::BTreeSet;

fn whole() -> Value {
    document()
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

#[test]
fn every_reference_leads_somewhere() {
    let document = whole();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}
