//! Adds the limits of requests to their schemas: limits of texts, unknown fields, formats that only settle knows, and
//! fields that may be absent.

use crate::extract::shape::{choices, is_required, present_mut, type_of};
use crate::extract::{MAX_BYTES, admit_null, formats};
use serde_json::{Value, json};

/// Keyword of a field, parameter, body or operation for a rule that a schema cannot express.
pub const RULE: &str = "x-rule";
/// Pattern of a text without control characters, in syntax that all validators support.
pub const PRINTABLE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// Maximum number of bytes per character.
const CHARACTER_BYTES: usize = 4;

/// Adds the limits and rules of every text in a request that has no fixed choices. Limits that the text has already
/// stay.
pub fn limit_texts(schema: &mut Value) {
    let schema = present_mut(schema);
    if type_of(schema) == "string" && choices(schema).is_empty() {
        for (keyword, value) in limits_of(schema) {
            if schema[keyword].is_null() {
                schema[keyword] = value;
            }
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(limit_texts);
    }
}

/// Returns the keywords for a text. A schema limits characters, whereas the check also limits bytes.
fn limits_of(text: &Value) -> Vec<(&'static str, Value)> {
    if let Some(format) = formats::of(text) {
        let pattern = format.pattern.map(|pattern| ("pattern", json!(pattern)));
        let rule = format
            .is_stricter
            .then(|| (RULE, json!(sentence(format.expected))));
        return pattern.into_iter().chain(rule).collect();
    }
    let most = text["maxLength"]
        .as_u64()
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(MAX_BYTES);
    let mut limits = vec![
        ("minLength", json!(1)),
        ("maxLength", json!(MAX_BYTES)),
        ("pattern", json!(PRINTABLE)),
    ];
    if most * CHARACTER_BYTES > MAX_BYTES {
        limits.push(("x-maxBytes", json!(MAX_BYTES)));
    }
    if text["x-identifies"] == true {
        limits.push((RULE, json!("An id, not a placeholder such as `null`.")));
    }
    limits
}

/// Returns an error's expected value as a sentence.
fn sentence(expected: &str) -> String {
    let (first, rest) = expected.split_at(1);
    format!("{}{rest}.", first.to_uppercase())
}

/// Keyword of a field that may be absent but not null. Removed from the served document.
pub const NULL_IS_REFUSED: &str = "x-nullIsRefused";

/// Allows null for each optional field of a request, where it is the same as absent, and moves the default into the
/// description: client generators make a field with a `default` required, or always send it.
pub fn relax_optional(schema: &mut Value) {
    let schema = present_mut(schema);
    let whole = schema.clone();
    for (name, field) in schema
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        relax_optional(field);
        let is_refused = field
            .as_object_mut()
            .and_then(|field| field.remove(NULL_IS_REFUSED))
            .is_some();
        if is_refused || is_required(&whole, name) {
            continue;
        }
        let default = field
            .as_object_mut()
            .and_then(|field| field.remove("default"));
        if let Some(default) = default.filter(|default| !default.is_null()) {
            let own = field["description"].as_str().unwrap_or_default();
            field["description"] = json!(format!("{own} Default: `{default}`.").trim());
        }
        admit_null(field);
    }
}

/// Sets `additionalProperties` to false in an object's schema and in those of nested objects.
pub fn refuse_other_fields(schema: &mut Value) {
    let schema = present_mut(schema);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(refuse_other_fields);
        schema["additionalProperties"] = json!(false);
    }
}
