//! Extracts the body of a request.

use super::check;
use super::fields::{Draft, Fields, drafted_by, schema};
use super::listed::{Listed, MAX_BESIDE_BYTES, listed};
use crate::error::Error;
use crate::listener::Crowded;
use crate::operation::{Input, Operation, Schemas};
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde_json::{Map, Value, json};
use std::marker::PhantomData;

/// A JSON object. An empty body counts as an empty object.
pub struct Body<T>(pub T);

/// A complete JSON object that is not parsed yet, so that the handler decides where to parse it.
pub struct Unread<T> {
    bytes: Bytes,
    of: PhantomData<fn() -> T>,
}

pub struct Csv(pub Bytes);

/// Media type for bytes, which all client generators support.
const BYTES_MEDIA: &str = "application/octet-stream";
/// Media types of a CSV file.
const CSV_MEDIA: [&str; 2] = ["text/csv", BYTES_MEDIA];

/// A store's message, as raw bytes.
pub struct Message(pub Bytes);

/// Maximum body size of a route, in bytes. The error about a larger body names it.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

impl<T: Fields, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        Draft::from_request(request, state)
            .await?
            .finish()
            .map(Self)
    }
}

impl<T: Fields, S: Send + Sync> FromRequest<S> for Draft<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        read(&whole(request, state).await?, schema::<T>())
    }
}

impl<T: Fields, S: Send + Sync> FromRequest<S> for Unread<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        Ok(Self {
            bytes: whole(request, state).await?,
            of: PhantomData,
        })
    }
}

impl<T: Fields> Unread<T> {
    /// Returns the size of the body in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Parses the body and checks it against the schema of its type.
    ///
    /// # Errors
    /// The body is not a JSON object, exceeds the limit for bodies without a list, or cannot be deserialized.
    pub fn read(&self) -> Result<Draft<T>, Error> {
        if self.bytes.len() > MAX_BESIDE_BYTES {
            return Err(Error::too_large(MAX_BESIDE_BYTES));
        }
        self.read_by(schema::<T>())
    }

    /// Parses the body and checks it against a schema that may be stricter than that of its type.
    ///
    /// # Errors
    /// The body is not a JSON object, or cannot be deserialized.
    pub fn read_by(&self, schema: &Value) -> Result<Draft<T>, Error> {
        read(&self.bytes, schema)
    }

    /// Parses the body and checks it, except for the items of a list, which the caller checks one by one.
    ///
    /// # Errors
    /// The body is not a JSON object, is too large without its list, or cannot be deserialized.
    pub fn read_beside(&self, list: &str) -> Result<Listed<'_, T>, Error> {
        listed(
            if is_blank(&self.bytes) {
                b"{}"
            } else {
                &self.bytes
            },
            list,
        )
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

/// Parses a body and checks it against a schema. An empty body counts as an empty object.
fn read<T: Fields>(bytes: &[u8], schema: &Value) -> Result<Draft<T>, Error> {
    if is_blank(bytes) {
        return drafted_by(Map::new(), schema);
    }
    // The parser limits nesting to 128 levels.
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => drafted_by(fields, schema),
        Ok(other) => Err(Error::invalid(
            "body",
            format!("a JSON object, but it is {}", check::name_of(&other)),
        )),
        Err(error) => Err(Error::invalid("body", format!("a JSON object ({error})"))),
    }
}

impl<S: Send + Sync> FromRequest<S> for Csv {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let lower = kind.to_ascii_lowercase();
        if !CSV_MEDIA.iter().any(|media| lower.starts_with(media)) {
            return Err(Error::invalid(
                "content-type",
                format!("`text/csv`, but it is `{kind}`"),
            ));
        }
        whole(request, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Message {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        whole(request, state).await.map(Self)
    }
}

/// Reads a request's complete body. The router sets the limit.
async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Error> {
    let limit = request
        .extensions()
        .get::<BodyLimit>()
        .map_or(0, |limit| limit.0);
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| match rejection.status() {
            // The type of the rejection is opaque, so only its status shows that the body is too large.
            StatusCode::PAYLOAD_TOO_LARGE => Error::too_large(limit),
            _ if is_crowded(&rejection) => Error::Unavailable(Crowded.to_string()),
            _ => Error::invalid("body", "a complete body"),
        })
}

/// Returns whether a body was not read because other bodies take up the memory.
fn is_crowded(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|cause| cause.is::<Crowded>())
}

impl<T: Fields> Input for Body<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let is_required = schema::<T>()["required"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        let schema = schemas.requests.subschema_for::<T>();
        let content = json!({ "application/json": { "schema": schema } });
        operation.body = Some(json!({ "required": is_required, "content": content }));
    }
}

impl<T: Fields> Input for Draft<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Body::<T>::describe(operation, schemas);
    }
}

impl<T: Fields> Input for Unread<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Body::<T>::describe(operation, schemas);
    }
}

/// Describes a body with these media types for which there is no schema.
fn bytes(media: [&str; 2], rule: &str) -> Value {
    let schema = json!({ "type": "string", "format": "binary", "x-rule": rule });
    let content = media
        .into_iter()
        .map(|media| (media.to_owned(), json!({ "schema": schema })));
    json!({ "required": true, "content": content.collect::<Map<String, Value>>() })
}

impl Input for Csv {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.body = Some(bytes(
            CSV_MEDIA,
            "A report of the store as CSV, with its header line.",
        ));
    }
}

impl Input for Message {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.body = Some(bytes(
            ["text/plain", BYTES_MEDIA],
            "A message that the store signed.",
        ));
    }
}
