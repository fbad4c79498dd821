//! `/openapi.json`: written by hand, in step with the router's list by a test.

use axum::http::header;
use axum::response::IntoResponse;

const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::DOCUMENT;
    use crate::router::{Access, routes};
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("the document is JSON")
    }

    #[test]
    fn the_document_lists_exactly_the_routes_that_exist() {
        let document = document();
        let mut listed = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for method in methods.as_object().expect("methods").keys().filter(|key| *key != "parameters") {
                listed.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let served: BTreeSet<String> =
            routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        assert_eq!(listed, served);
    }

    #[test]
    fn the_document_says_who_needs_the_token() {
        let document = document();
        for route in routes() {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(open, route.access == Access::Open, "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
