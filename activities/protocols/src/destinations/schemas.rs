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
    /// Additional requirements that the schema cannot express: fields of a new destination, and rules.
    pub rules: &'static [(&'static str, &'static str)],
    /// The rules of a change that differ from those of a new destination.
    pub change_rules: &'static [(&'static str, &'static str)],
    /// The fields that the API returns.
    pub shown: Map<String, Value>,
    pub example: Value,
}

impl KindSchemas {
    /// The names of the fields that can be set at any time.
    pub fn changeable(&self) -> Vec<&str> {
        self.created
            .keys()
            .map(String::as_str)
            .filter(|name| !self.on_creation.contains(name))
            .collect()
    }
}

/// The fields of requests: the settings that a request sets, and these.
pub(super) fn requested(settings: &Map<String, Value>, more: Value) -> Map<String, Value> {
    let set = settings
        .iter()
        .filter(|(_, property)| property["readOnly"] != true);
    set.map(|(name, property)| (name.clone(), property.clone()))
        .chain(fields(more))
        .collect()
}

/// The entries of a JSON object.
pub(super) fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
