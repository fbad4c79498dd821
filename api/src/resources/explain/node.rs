//! A thing, a sentence about it, and what came of it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// A thing that is explained.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Explained")]
pub struct Node {
    /// What it is: `purchase`, `notification`, `event`, `delivery`, `attempt`, …
    pub what: &'static str,
    /// A sentence about it.
    pub summary: String,
    /// What is known of it.
    #[serde(flatten)]
    pub facts: Map<String, Value>,
    /// What came of it, or belongs to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Self>,
}

impl Node {
    /// One of which nothing is known but the sentence.
    pub fn new(what: &'static str, summary: String) -> Self {
        Self { what, summary, facts: Map::new(), then: Vec::new() }
    }

    /// The same with what is known of it: the fields of an object.
    pub fn of(mut self, facts: &impl Serialize) -> Self {
        if let Ok(Value::Object(fields)) = serde_json::to_value(facts) {
            self.facts.extend(fields);
        }
        self
    }

    /// The same with one more fact.
    pub fn fact(mut self, name: &str, value: impl Serialize) -> Self {
        self.facts.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// The same, followed by what came of it.
    pub fn then(mut self, nodes: impl IntoIterator<Item = Self>) -> Self {
        self.then.extend(nodes);
        self
    }
}
