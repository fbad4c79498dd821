//! What a webhook is told by: the fields of its settings. What makes a URL or a secret right is the rule of whoever
//! sends, see [`crate::edge::Kinds`].

use crate::edge::Edge;
use crate::resources::Fields;
use serde_json::{Value, json};

/// The name of this kind.
pub const KIND: &str = "webhook";

/// The settings of a new webhook.
pub fn settings(edge: &Edge, fields: &mut Fields) -> Value {
    let text = fields.required_text("url");
    let settings = json!({ "url": text });
    if !text.is_empty() {
        check(edge, fields, &settings);
    }
    settings
}

/// The settings after a change; `None` when nothing changes.
pub fn change(edge: &Edge, before: &Value, fields: &mut Fields) -> Option<Value> {
    let text = fields.text("url")?;
    let mut settings = before.clone();
    settings["url"] = json!(text);
    check(edge, fields, &settings);
    Some(settings)
}

fn check(edge: &Edge, fields: &mut Fields, settings: &Value) {
    if let Err(wrong) = (edge.kinds.check)(KIND, settings, edge.allow_http) {
        fields.wrong(&wrong.field, wrong.expected);
    }
}
