//! What the API documents of destinations. How each kind is delivered to is not here.

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
