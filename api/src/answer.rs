//! Answers other than 200 with JSON.

use crate::operation::{Operation, Output, Schemas};
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, json_schema};
use serde::Serialize;
use serde_json::json;

/// 201 with the created resource.
pub struct Created<T>(pub T);

/// 202: the request became a signal to a workflow, which carries it out later.
pub struct Accepted<T>(pub T);

/// 204: the resource was deleted.
pub struct NoContent;

/// 200 with text.
pub struct Text {
    /// Its media type.
    pub media: &'static str,
    /// The text.
    pub text: String,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, self.media)], self.text).into_response()
    }
}

impl<T: JsonSchema> Output for Created<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.json::<T>(StatusCode::CREATED, schemas);
    }
}

impl<T: JsonSchema> Output for Accepted<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.json::<T>(StatusCode::ACCEPTED, schemas);
    }
}

impl Output for NoContent {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.answers.insert(StatusCode::NO_CONTENT.as_str().to_owned(), json!({}));
    }
}

impl Output for Text {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.answer(StatusCode::OK, "text/plain", &json_schema!({ "type": "string" }));
    }
}
