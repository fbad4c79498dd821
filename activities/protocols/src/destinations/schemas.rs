//! The fields of each kind of destination as JSON Schemas, for the API's documentation. The kind's `config` validates
//! them.

use serde_json::{Map, Value};

/// The fields that only one kind of destination has, as JSON Schemas by name.
#[derive(Debug, Clone, PartialEq)]
pub struct KindSchemas {
    pub kind: &'static str,
    /// The fields of a request that creates a destination.
    pub created: Map<String, Value>,
    /// The required ones among `created`.
    pub required: &'static [&'static str],
    /// The fields of a request that changes a destination.
    pub changed: Map<String, Value>,
    /// The fields that the API returns.
    pub shown: Map<String, Value>,
    pub example: Value,
}

/// The entries of a JSON object.
pub(super) fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Allows null for the named fields; null restores a field's default.
pub(super) fn nullable(mut fields: Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    for name in names {
        let Some(schema) = fields.get_mut(*name).and_then(Value::as_object_mut) else { continue };
        if let Some(one) = schema.get("type").cloned() {
            schema.insert("type".to_owned(), Value::from(vec![one, Value::from("null")]));
        }
        if let Some(Value::Array(choices)) = schema.get_mut("enum") {
            choices.push(Value::Null);
        }
        schema.remove("default");
    }
    fields
}
