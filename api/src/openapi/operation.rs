//! The request and the answers of a route, from the types of its handler.

use crate::error::Error;
use crate::extract::{Body, Csv, Draft, Fields, Id, Ids, Message, Named, Query, Stored};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};
use std::future::Future;

/// The description of one route.
#[derive(Debug, Default)]
pub struct Operation {
    /// Schemas of the ids in its path, in their order.
    pub path: Vec<Value>,
    /// The parameters of its query.
    pub query: Vec<Value>,
    /// Its body.
    pub body: Option<Value>,
    /// Its answers other than problems, by status.
    pub answers: Map<String, Value>,
}

/// The schemas that routes have in common.
pub struct Schemas {
    /// Schemas of requests.
    pub requests: SchemaGenerator,
    /// Schemas of answers.
    pub responses: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = || SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = PATH.into());
        Self {
            requests: settings().for_deserialize().into_generator(),
            responses: settings().for_serialize().into_generator(),
        }
    }
}

/// Where the schemas are in the document.
const PATH: &str = "/components/schemas";

/// A part of a request.
pub trait Input {
    /// Adds it to the description of a route.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

/// An answer.
pub trait Output {
    /// Adds it to the description of a route.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

/// A handler that is described by its own types.
pub trait Described<Parts> {
    /// Adds its parts to the description of a route.
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
    /// Adds an answer that has a body.
    pub fn answer(&mut self, status: StatusCode, media: &str, schema: &Schema) {
        let content = json!({ media: { "schema": schema } });
        self.answers.insert(status.as_str().to_owned(), json!({ "content": content }));
    }
}

impl<T> Input for State<T> {
    fn describe(_: &mut Operation, _: &mut Schemas) {}
}

impl<T: JsonSchema> Input for Id<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.path.push(json!(schemas.requests.subschema_for::<T>()));
    }
}

impl<A: JsonSchema, B: JsonSchema> Input for Ids<A, B> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Id::<A>::describe(operation, schemas);
        Id::<B>::describe(operation, schemas);
    }
}

impl<T: Named> Input for Stored<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Id::<T::Id>::describe(operation, schemas);
    }
}

impl<T: Fields> Input for Query<T> {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        let schema = crate::extract::schema::<T>();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
            let mut parameter = json!({ "name": name, "in": "query", "required": is_required, "schema": property });
            if let Some(description) = parameter["schema"].as_object_mut().and_then(|one| one.remove("description")) {
                parameter["description"] = description;
            }
            operation.query.push(parameter);
        }
    }
}

impl<T: Fields> Input for Body<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let is_required = crate::extract::schema::<T>()["required"].as_array().is_some_and(|all| !all.is_empty());
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

impl Input for Csv {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.body = Some(text_of(&["text/csv"]));
    }
}

impl Input for Message {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.body = Some(text_of(&["text/plain", "application/json"]));
    }
}

/// A body that is read as text, of any of these media types.
fn text_of(media: &[&str]) -> Value {
    let content: Map<String, Value> = media.iter().map(|name| ((*name).to_owned(), json!({ "schema": {} }))).collect();
    json!({ "required": true, "content": content })
}

impl<T: Output> Output for Result<T, Error> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        T::describe(operation, schemas);
    }
}
