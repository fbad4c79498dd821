//! Reads properties of a JSON Schema.

use serde_json::Value;

/// Returns a schema without its alternative `null`.
pub fn present(schema: &Value) -> &Value {
    let mut alternatives = schema["anyOf"].as_array().into_iter().flatten();
    alternatives
        .find(|one| one["type"] != "null")
        .unwrap_or(schema)
}

/// Returns a schema without its alternative `null`, for modification.
pub fn present_mut(schema: &mut Value) -> &mut Value {
    let alternatives = schema["anyOf"].as_array();
    let at = alternatives.and_then(|all| all.iter().position(|one| one["type"] != "null"));
    match at {
        Some(at) => &mut schema["anyOf"][at],
        None => schema,
    }
}

/// Returns whether a schema with a type allows null.
pub fn admits_null(schema: &Value) -> bool {
    let types = schema["type"].as_array().into_iter().flatten();
    let alternatives = schema["anyOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["type"]);
    types.chain(alternatives).any(|one| one == "null")
}

/// Returns the texts that a schema lists (`enum` or `const`); empty if it lists none.
pub fn choices(schema: &Value) -> Vec<&str> {
    let listed = schema["enum"].as_array().into_iter().flatten();
    let named = schema["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["const"]);
    listed.chain(named).filter_map(Value::as_str).collect()
}

/// Returns the JSON type in a schema other than `null`; empty if it has none.
pub fn type_of(schema: &Value) -> &str {
    let schema = present(schema);
    match &schema["type"] {
        Value::String(name) => name,
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .unwrap_or_default(),
        _ if !choices(schema).is_empty() => "string",
        _ => "",
    }
}

/// Returns whether an object's schema requires a field.
pub fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == name))
}

/// Converts the text of a query field to the type in its schema. A text that cannot be converted stays a string, which
/// the check reports.
pub fn of_text(schema: &Value, text: String) -> Value {
    let value = match type_of(schema) {
        "integer" => text.parse::<i64>().ok().map(Value::from),
        "boolean" => text.parse::<bool>().ok().map(Value::from),
        _ => None,
    };
    value.unwrap_or(Value::String(text))
}
