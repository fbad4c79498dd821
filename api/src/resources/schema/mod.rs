//! `/api/v1/events/schema/`: what every event looks like, as JSON Schema.

use crate::edge::Shared;
use crate::error::Error;
use crate::resources::Id;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use domain::event::PURCHASE_UPDATED;
use serde_json::{Value, json};

/// Type, version and schema of each event that is sent.
const SCHEMAS: &[(&str, &str, &str)] = &[(PURCHASE_UPDATED, "2.0", include_str!("purchase_updated.json"))];

/// `GET /api/v1/events/schema/`
pub async fn index(State(edge): State<Shared>) -> Json<Value> {
    let events: Vec<Value> = SCHEMAS
        .iter()
        .map(|(name, version, _)| {
            json!({ "type": name, "version": version, "url": edge.url(&format!("/api/v1/events/schema/{name}")) })
        })
        .collect();
    Json(json!({ "events": events }))
}

/// `GET /api/v1/events/schema/{type}`
pub async fn show(Id(name): Id<String>) -> Result<impl IntoResponse, Error> {
    match SCHEMAS.iter().find(|(known, ..)| *known == name) {
        Some((_, _, schema)) => Ok(([(header::CONTENT_TYPE, "application/schema+json")], *schema)),
        None => Err(Error::missing("event type", name)),
    }
}

#[cfg(test)]
mod tests {
    use super::SCHEMAS;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// The example of the public documentation's page (seed 002) that this schema describes.
    const FIELDS: usize = 26;

    #[test]
    fn every_schema_is_json_and_requires_what_the_documentation_shows() {
        for (name, _, text) in SCHEMAS {
            let schema: Value = serde_json::from_str(text).expect("a schema is JSON");
            let data = &schema["properties"]["data"];
            let required: BTreeSet<&str> =
                data["required"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            let described: BTreeSet<&str> =
                data["properties"].as_object().expect("fields").keys().map(String::as_str).collect();
            assert_eq!(required, described, "{name}");
            assert_eq!(required.len(), FIELDS, "{name}");
        }
    }

    #[test]
    fn our_additions_are_optional() {
        let schema: Value = serde_json::from_str(SCHEMAS[0].2).expect("a schema is JSON");
        let required = schema["properties"]["attributes"]["required"].to_string();
        for ours in ["revision", "previous_acked_revision", "state_digest", "coalesced"] {
            assert!(!required.contains(&format!("\"{ours}\"")), "{ours}");
            assert!(schema["properties"]["attributes"]["properties"].get(ours).is_some(), "{ours}");
        }
    }
}
