//! The fields of each kind of destination as JSON Schemas: those of its settings, and its secrets.

use serde_json::{Map, Value};

/// The fields that only one kind of destination has, as JSON Schemas by name.
#[derive(Debug, Clone, PartialEq)]
pub struct KindSchemas {
    pub kind: &'static str,
    /// The fields of a request that creates a destination.
    pub created: Map<String, Value>,
    /// Required fields among `created`.
    pub required: &'static [&'static str],
    /// Fields of `created` that cannot be changed later.
    pub on_creation: &'static [&'static str],
    /// Additional requirements that the schema cannot express: a field of a new destination, and its rule.
    pub rules: &'static [(&'static str, &'static str)],
    /// The rules that differ when a destination is changed.
    pub change_rules: &'static [(&'static str, &'static str)],
    /// The fields that the API returns.
    pub shown: Map<String, Value>,
    pub example: Value,
}

impl KindSchemas {
    /// Returns the names of the fields that can be set at any time.
    pub fn changeable(&self) -> Vec<&str> {
        self.created
            .keys()
            .map(String::as_str)
            .filter(|name| !self.on_creation.contains(name))
            .collect()
    }
}

/// Returns the fields of requests: the settings that a request can set, and `more`.
pub(super) fn requested(settings: &Map<String, Value>, more: Value) -> Map<String, Value> {
    let set = settings
        .iter()
        .filter(|(_, property)| property["readOnly"] != true);
    set.map(|(name, property)| (name.clone(), property.clone()))
        .chain(fields(more))
        .collect()
}

/// Returns the entries of a JSON object; for any other value, none.
pub(super) fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
