//! `/api/v1/events/schema/`: the JSON Schema of every event. The schemas are public, so the public listener serves them
//! too.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Id;
use crate::openapi::example::Examples;
use crate::operation::{Operation, Output, Schemas};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::LazyLock;

const MEDIA: &str = "application/schema+json";

/// Type, version and schema of each event that is sent.
static SCHEMAS: LazyLock<Vec<(&str, &str, Value)>> = LazyLock::new(domain::schemas::all);

/// The schemas as text, in the same order. They are serialized only once.
static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    SCHEMAS
        .iter()
        .map(|(.., schema)| schema.to_string())
        .collect()
});

/// Events that settle sends, with their schemas.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EventSchemas {
    /// All event types.
    events: Vec<EventSchema>,
}

/// An event that settle sends.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EventSchema {
    /// Type of the event.
    #[serde(rename = "type")]
    event_type: &'static str,
    /// Group of the event: `purchase`, `journey`, `subscription`, `revenue`, `user`, `device`, `destination` or
    /// `alarm`.
    group: &'static str,
    /// Announcement of the event, in one sentence.
    summary: &'static str,
    /// Version of the schema.
    version: &'static str,
    /// URL of the schema.
    #[schemars(extend("format" = "uri"))]
    url: String,
}

pub struct Schema(&'static str);

impl IntoResponse for Schema {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, MEDIA)], self.0).into_response()
    }
}

impl Output for Schema {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.answer(StatusCode::OK, MEDIA, &json_schema!({ "type": "object" }));
    }
}

/// Returns a sample event of a type, made of the examples in its schema; `None` for an unknown type.
pub fn sample(event_type: &str) -> Option<Value> {
    let (.., schema) = SCHEMAS.iter().find(|(known, ..)| *known == event_type)?;
    let none = Map::new();
    let definitions = schema["$defs"].as_object().unwrap_or(&none);
    Some(Examples::new(definitions).of(schema, ""))
}

/// Returns the event types that have a schema, and so a sample.
pub fn names() -> Vec<&'static str> {
    SCHEMAS.iter().map(|(name, ..)| *name).collect()
}

/// Returns the event types as an error lists them.
pub fn types() -> String {
    names().join(", ")
}

/// `GET /api/v1/events/schema/`
pub async fn index(State(edge): State<Shared>) -> Json<EventSchemas> {
    let events = SCHEMAS.iter().map(|(event_type, version, _)| EventSchema {
        event_type,
        group: domain::event::group(event_type),
        summary: domain::event::summary(event_type),
        version,
        url: edge.url(&format!("/api/v1/events/schema/{event_type}")),
    });
    Json(EventSchemas {
        events: events.collect(),
    })
}

/// `GET /api/v1/events/schema/{type}`
pub async fn show(Id(name): Id<String>) -> Result<Schema, Error> {
    let found = SCHEMAS
        .iter()
        .zip(TEXTS.iter())
        .find(|((known, ..), _)| *known == name);
    found
        .map(|(_, text)| Schema(text))
        .ok_or_else(|| Error::missing("event type", name))
}
