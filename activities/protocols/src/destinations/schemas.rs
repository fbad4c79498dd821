//! The fields of each kind of destination as JSON Schemas, for documentation. The kind's `config` checks them.

use serde_json::{Map, Value};

/// The fields that only one kind of destination has, as JSON Schemas by name.
#[derive(Debug, Clone, PartialEq)]
pub struct KindSchemas {
    /// The kind.
    pub kind: &'static str,
    /// The fields of a creating request.
    pub created: Map<String, Value>,
    /// Those of them that are required.
    pub required: &'static [&'static str],
    /// The fields of a change.
    pub changed: Map<String, Value>,
    /// The fields that are shown.
    pub shown: Map<String, Value>,
    /// A request that creates one.
    pub example: Value,
}

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
