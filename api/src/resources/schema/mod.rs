//! `/api/v1/events/schema/`: what every event looks like, as JSON Schema.

use crate::edge::Shared;
use crate::error::Error;
use crate::resources::Id;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Type, version and schema of each event that is sent.
static SCHEMAS: LazyLock<Vec<(&str, &str, Value)>> = LazyLock::new(domain::event::schemas);

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
        Some((_, _, schema)) => Ok(([(header::CONTENT_TYPE, "application/schema+json")], schema.to_string())),
        None => Err(Error::missing("event type", name)),
    }
}
