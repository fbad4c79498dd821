//! Generates `/openapi.json` from the list of routes and the types of their handlers, and the part for devices.

pub mod example;
pub mod kinds;
mod limits;
mod listed;
mod operations;
mod part;
mod rules;
mod served;
#[cfg(test)]
mod tests;

pub use part::of as part;
pub use served::Served;

use example::Examples;
use limits::{limit_texts, refuse_other_fields, relax_optional};
use listed::list_choices;

use crate::error::Problem;
use crate::operation::{Operation, Schemas};
use crate::route::{Access, Route};
use protocols::destinations;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// OpenAPI documents of a list of routes, without the addresses of a process ([`Served`]).
#[derive(Debug)]
pub struct Documents {
    /// Document of all routes.
    pub whole: LazyLock<Value>,
    /// Document of only the routes that apps on devices call.
    pub device: LazyLock<Value>,
}

pub fn document(routes: Vec<Route>) -> Value {
    let mut schemas = Schemas::default();
    let problem = schemas.responses.subschema_for::<Problem>();
    let mut paths = Map::new();
    let mut described: Vec<(Route, Operation)> = Vec::new();
    for route in routes {
        let mut operation = Operation::default();
        (route.describe)(&mut operation, &mut schemas);
        described.push((route, operation));
    }
    let (mut requests, responses) = named(schemas);
    requests.values_mut().for_each(limit_texts);
    let only_sent = requests
        .iter_mut()
        .filter(|(name, _)| !responses.contains_key(*name));
    only_sent.for_each(|(_, schema)| relax_optional(schema));
    let definitions: Map<String, Value> = responses.into_iter().chain(requests).collect();
    for (route, operation) in described {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = shown_operation(&route, operation, &definitions);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "settle",
            "version": "1",
            "description": "Turns store notifications into reliable purchase events. Errors are problem details \
                (RFC 9457); retry after a 503. Texts in requests have 1 to 2,048 bytes and no control characters, \
                unless a field has other limits. Unknown fields are refused, and null is the same as absent unless \
                documented otherwise. Rules that a schema cannot express are in the `x-rule` of the field that the \
                error names.",
        },
        "tags": operations::tags(paths.keys()),
        "security": [{ "key": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "An API key, or SETTLE_ADMIN_TOKEN, which \
                    acts as a key for all apps with the role `admin`. `x-least-role` of an operation is the minimum \
                    role. Each role includes the ones before it: metrics, read, support, operator, admin." },
                "device": { "type": "http", "scheme": "bearer", "description": "The publishable key of a platform." },
            },
            "responses": {
                "Problem": {
                    "description": "What is wrong, and how to fix it.",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "schemas": definitions,
        },
    });
    rules::add(&mut document);
    list_choices(&mut document);
    document
}

/// Returns the schemas of requests and responses by name, with the fields of each kind of destination.
pub fn definitions(schemas: Schemas) -> Map<String, Value> {
    let (requests, responses) = named(schemas);
    responses.into_iter().chain(requests).collect()
}

/// Returns the schemas of requests, and those of responses.
fn named(mut schemas: Schemas) -> (Map<String, Value>, Map<String, Value>) {
    let mut requests = schemas.requests.take_definitions(true);
    let mut responses = schemas.responses.take_definitions(true);
    kinds::add(destinations::schemas(), &mut requests, &mut responses);
    requests.values_mut().for_each(refuse_other_fields);
    (requests, responses)
}

/// Returns a route's operation in the document.
fn shown_operation(route: &Route, operation: Operation, definitions: &Map<String, Value>) -> Value {
    let mut shown = json!({ "summary": route.summary, "tags": [operations::tag(route.path)] });
    if let Some(id) = operations::id(route) {
        shown["operationId"] = json!(id);
    }
    match route.access {
        Access::Open => shown["security"] = json!([]),
        Access::Device => shown["security"] = json!([{ "device": [] }]),
        Access::Admin => shown["x-least-role"] = json!(route.least),
    }
    let names = route.path.split(['{', '}']).skip(1).step_by(2);
    let path = names.zip(operation.path);
    let path = path.map(
        |(name, schema)| json!({ "name": name, "in": "path", "required": true, "schema": schema }),
    );
    let mut parameters: Vec<Value> = path.chain(operation.query).collect();
    // Headers have limits of their own.
    let limited = parameters
        .iter_mut()
        .filter(|parameter| parameter["in"] != "header");
    limited.for_each(|parameter| limit_texts(&mut parameter["schema"]));
    if !parameters.is_empty() {
        shown["parameters"] = json!(parameters);
    }
    if let Some(body) = operation.body {
        shown["requestBody"] = body;
    }
    let mut answers = operation.answers;
    for answer in answers.values_mut() {
        answer["description"] = json!(route.summary);
        if let Some(content) = answer.pointer_mut("/content/application~1json") {
            if content["schema"] == true {
                // Client generators expect an object.
                content["schema"] = json!({ "type": "object" });
            }
            content["example"] = Examples::new(definitions).of(&content["schema"], "");
        }
    }
    let problem = json!({ "$ref": "#/components/responses/Problem" });
    if route.access == Access::Admin {
        // Missing or invalid key; insufficient role; too many invalid keys.
        answers.extend(["401", "403", "429"].map(|status| (status.to_owned(), problem.clone())));
    }
    answers.insert("default".to_owned(), problem);
    shown["responses"] = Value::Object(answers);
    shown
}
