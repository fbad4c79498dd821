//! Describes a route for `/openapi.json` by the types of its handler's arguments and response.
//!
//! Each of these types implements [`Input`] or [`Output`] where it is defined.

use crate::error::Error;
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};
use std::future::Future;

#[derive(Debug, Default)]
pub struct Operation {
    /// Schemas of the ids in the path, in order.
    pub path: Vec<Value>,
    pub query: Vec<Value>,
    /// The `requestBody`.
    pub body: Option<Value>,
    /// Success responses by status.
    pub answers: Map<String, Value>,
    /// Whether the handler takes the caller, and limits itself to the caller's app.
    pub is_limited: bool,
}

/// Generators of the schemas that routes refer to.
pub struct Schemas {
    pub requests: SchemaGenerator,
    pub responses: SchemaGenerator,
}

impl Schemas {
    /// Creates generators of schemas without references.
    pub fn inline() -> Self {
        let settings =
            || SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        Self {
            requests: settings().for_deserialize().into_generator(),
            responses: settings().for_serialize().into_generator(),
        }
    }
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = PATH.into())
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            responses: settings().for_serialize().into_generator(),
        }
    }
}

/// Path of the schemas in the document.
const PATH: &str = "/components/schemas";

pub trait Input {
    /// Adds this argument to a route's description.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

pub trait Output {
    /// Adds this response to a route's description.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

/// A handler whose arguments are all [`Input`] and whose response is [`Output`].
pub trait Described<Parts> {
    /// Adds the arguments and response to a route's description.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

macro_rules! described {
    ($($part:ident)*) => {
        impl<F, Answer, $($part,)*> Described<($($part,)*)> for F
        where
            F: Fn($($part,)*) -> Answer,
            Answer: Future<Output: Output>,
            $($part: Input,)*
        {
            fn describe(operation: &mut Operation, schemas: &mut Schemas) {
                $($part::describe(operation, schemas);)*
                <Answer::Output as Output>::describe(operation, schemas);
            }
        }
    };
}

described!();
described!(A);
described!(A B);
described!(A B C);
described!(A B C D);

impl Operation {
    /// Adds a response that has a body.
    pub fn answer(&mut self, status: StatusCode, media: &str, schema: &Schema) {
        let content = json!({ media: { "schema": schema } });
        self.answers
            .insert(status.as_str().to_owned(), json!({ "content": content }));
    }

    /// Adds a response whose body is this type as JSON.
    pub fn json<T: JsonSchema>(&mut self, status: StatusCode, schemas: &mut Schemas) {
        self.answer(
            status,
            "application/json",
            &schemas.responses.subschema_for::<T>(),
        );
    }
}

impl<T> Input for State<T> {
    fn describe(_: &mut Operation, _: &mut Schemas) {}
}

impl<T> Input for Extension<T> {
    fn describe(_: &mut Operation, _: &mut Schemas) {}
}

impl<T: JsonSchema> Output for Json<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.json::<T>(StatusCode::OK, schemas);
    }
}

impl<T: Output> Output for Result<T, Error> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        T::describe(operation, schemas);
    }
}
