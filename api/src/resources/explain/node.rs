//! A node of an explanation: a sentence about one resource, its facts, and the nodes below it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// An explanation in the form of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Explained")]
pub struct Node {
    /// Kind of the explained resource: `purchase`, `notification`, `event`, `delivery`, `attempt`, …
    pub what: &'static str,
    /// Sentence about the resource.
    pub summary: String,
    /// Facts about the resource, as data.
    #[serde(flatten)]
    pub facts: Map<String, Value>,
    /// Explanations of its parts and consequences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Self>,
}

impl Node {
    /// Returns a node with a sentence, without facts or children.
    pub fn new(what: &'static str, summary: String) -> Self {
        Self {
            what,
            summary,
            facts: Map::new(),
            then: Vec::new(),
        }
    }

    /// Adds the fields of an object as facts.
    pub fn of(mut self, facts: &impl Serialize) -> Self {
        if let Ok(Value::Object(fields)) = serde_json::to_value(facts) {
            self.facts.extend(fields);
        }
        self
    }

    pub fn fact(mut self, name: &str, value: impl Serialize) -> Self {
        self.facts.insert(
            name.to_owned(),
            serde_json::to_value(value).unwrap_or_default(),
        );
        self
    }

    pub fn then(mut self, nodes: impl IntoIterator<Item = Self>) -> Self {
        self.then.extend(nodes);
        self
    }

    /// Inserts nodes before the existing ones.
    pub fn preceded_by(mut self, nodes: impl IntoIterator<Item = Self>) -> Self {
        self.then.splice(0..0, nodes);
        self
    }
}
