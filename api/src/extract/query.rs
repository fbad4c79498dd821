//! Extracts the query of a URL.

use super::fields::{Fields, checked, schema};
use super::shape::{is_required, of_text, present};
use crate::error::Error;
use crate::operation::{Input, Operation, Schemas};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use storage::Page;

pub struct Query<T>(pub T);

/// `cursor` and `limit` of a list.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PageQuery {
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Maximum number of items; 100 by default.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<i64>,
}

impl PageQuery {
    pub fn page(self) -> Page {
        Page {
            cursor: self.cursor,
            limit: self.limit.unwrap_or(100),
        }
    }
}

impl<T: Fields, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let mut fields = Map::new();
        for (name, value) in
            url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        {
            let value = typed::<T>(&name, value.into_owned());
            if fields.insert(name.clone().into_owned(), value).is_some() {
                return Err(Error::invalid(&name, "a single value"));
            }
        }
        checked(fields).map(Self)
    }
}

/// Converts the text of a field to the JSON type that the query's type expects.
pub fn typed<T: Fields>(name: &str, text: String) -> Value {
    of_text(&schema::<T>()["properties"][name], text)
}

/// Returns a schema without the alternative `null`, which a query cannot express.
fn without_null(schema: &Value) -> Value {
    let (mut outer, mut inner) = (schema.clone(), present(schema).clone());
    if let Some(names) = inner["type"].as_array() {
        inner["type"] = names
            .iter()
            .find(|name| *name != "null")
            .cloned()
            .unwrap_or_default();
    }
    if let (Some(outer), Some(inner)) = (outer.as_object_mut(), inner.as_object()) {
        outer.remove("anyOf");
        outer.extend(inner.clone());
    }
    outer
}

impl<T: Fields> Input for Query<T> {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        let schema = schema::<T>();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let mut parameter =
                json!({ "name": name, "in": "query", "required": is_required(schema, name) });
            let mut property = without_null(property);
            if let Some(description) = property
                .as_object_mut()
                .and_then(|one| one.remove("description"))
            {
                parameter["description"] = description;
            }
            parameter["schema"] = property;
            operation.query.push(parameter);
        }
    }
}
