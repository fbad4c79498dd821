//! Responses other than a plain 200 with JSON, including responses that depend on what the client already has.

use crate::error::Error;
use crate::operation::{Input, Operation, Output, Schemas};
use axum::Json;
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};
use schemars::{JsonSchema, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

pub struct Created<T>(pub T);

/// 202: a workflow accepted the request as a signal and handles it later.
pub struct Accepted<T>(pub T);

pub struct NoContent;

pub struct Text {
    pub media: &'static str,
    pub text: String,
}

/// 200 with JSON and an `ETag`, or 304 if the client already has this response. The tag consists of the revision, if
/// there is one, and a digest of the response: equal responses have equal tags.
pub struct Tagged<T> {
    /// Revision of the resource in the response.
    pub revision: Option<i64>,
    pub body: T,
    pub known: IfNoneMatch,
}

/// A JSON document that never changes while the process runs, with its `ETag`. It is serialized only once.
#[derive(Debug, Clone)]
pub struct Prepared {
    bytes: Bytes,
    tag: String,
}

/// 200 with a prepared document, or 304 if the client already has it.
pub struct Document {
    pub prepared: Prepared,
    pub known: IfNoneMatch,
}

/// Tags in a request's `If-None-Match` header.
pub struct IfNoneMatch(Vec<String>);

/// Number of bytes of the digest in a tag.
const TAG_BYTES: usize = 12;

impl IfNoneMatch {
    /// Returns whether the client has the response with this tag (RFC 9110, 13.1.2: weak comparison).
    fn has(&self, tag: &str) -> bool {
        self.0
            .iter()
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let shown = parts
            .headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok());
        Ok(Self(
            shown
                .flat_map(|list| list.split(','))
                .map(|tag| tag.trim().to_owned())
                .collect(),
        ))
    }
}

impl Input for IfNoneMatch {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.query.push(json!({
            "name": "If-None-Match", "in": "header", "required": false,
            "description": "The `ETag` of an earlier response. 304 if the response has not changed.",
            "schema": { "type": "string" },
        }));
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let Ok(body) = serde_json::to_vec(&self.body) else {
            return Error::Internal.into_response();
        };
        let revision = self
            .revision
            .map(|revision| format!("{revision}-"))
            .unwrap_or_default();
        let tag = format!("\"{revision}{}\"", short_digest(&body));
        unless_known(&self.known, &tag, "private, no-cache", body.into())
    }
}

impl Prepared {
    pub fn new(document: &Value) -> Self {
        let bytes = Bytes::from(document.to_string());
        let tag = format!("\"{}\"", short_digest(&bytes));
        Self { bytes, tag }
    }
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        unless_known(
            &self.known,
            &self.prepared.tag,
            "public, no-cache",
            self.prepared.bytes,
        )
    }
}

impl Output for Document {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.json::<Value>(StatusCode::OK, schemas);
        operation
            .answers
            .insert(StatusCode::NOT_MODIFIED.as_str().to_owned(), json!({}));
    }
}

/// Returns the first 12 bytes of the SHA-256, in hex.
pub fn short_digest(bytes: &[u8]) -> String {
    storage::hex(
        digest(&SHA256, bytes)
            .as_ref()
            .get(..TAG_BYTES)
            .unwrap_or_default(),
    )
}

/// Responds with 200 and the JSON, or with 304 if the client has the response with this tag.
fn unless_known(known: &IfNoneMatch, tag: &str, caching: &'static str, body: Bytes) -> Response {
    let mut headers = HeaderMap::new();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if known.has(tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    (headers, body).into_response()
}

impl<T: JsonSchema> Output for Tagged<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.json::<T>(StatusCode::OK, schemas);
        operation
            .answers
            .insert(StatusCode::NOT_MODIFIED.as_str().to_owned(), json!({}));
    }
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
        operation
            .answers
            .insert(StatusCode::NO_CONTENT.as_str().to_owned(), json!({}));
    }
}

impl Output for (StatusCode, Text) {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Text::describe(operation, schemas);
    }
}

impl Output for Text {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.answer(
            StatusCode::OK,
            "text/plain",
            &json_schema!({ "type": "string" }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::IfNoneMatch;

    #[test]
    fn a_tag_is_compared_weakly() {
        let known =
            |text: &str| IfNoneMatch(text.split(',').map(|tag| tag.trim().to_owned()).collect());
        for has in ["\"1-ab\"", "W/\"1-ab\"", "\"0-x\", \"1-ab\"", "*"] {
            assert!(known(has).has("\"1-ab\""), "{has}");
        }
        for lacks in ["", "1-ab", "\"1-ac\"", "w/\"1-ab\""] {
            assert!(!known(lacks).has("\"1-ab\""), "{lacks}");
        }
    }
}
