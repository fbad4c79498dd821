//! The fields of each kind of destination as JSON Schemas, for documentation. The kind's `config` checks them.

pub use domain::destination::KindSchemas as Schemas;

use serde_json::{Map, Value};

/// The entries of a JSON object.
pub(super) fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The fields with null as a value of the named ones, which restores their defaults.
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
