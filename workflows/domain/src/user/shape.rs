//! The shape of a message that could not be read: the names of its fields, without any values. It is stored instead of
//! a message that may name an erased customer.

use serde_json::{Map, Value};

/// Placeholder for a text, and for the name of a field that may be one.
const TEXT: &str = "…";
/// Placeholder for a message without fields.
const NO_JSON: &str =
    "the message was left out: it is not JSON, and may name a customer who is erased";
/// Maximum length of the name of a field in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Returns the shape of a message. The shape of a shape is itself.
pub fn shape(message: &str) -> String {
    serde_json::from_str(message)
        .map_or_else(|_| NO_JSON.to_owned(), |read| shape_of(read).to_string())
}

fn shape_of(value: Value) -> Value {
    match value {
        Value::String(_) => Value::from(TEXT),
        Value::Number(_) => Value::from(0),
        Value::Array(items) => items.into_iter().map(shape_of).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| shape_of_field(&name, value))
                .collect::<Map<_, _>>(),
        ),
        Value::Null | Value::Bool(_) => value,
    }
}

fn shape_of_field(name: &str, value: Value) -> (String, Value) {
    let name = if is_identifier(name) { name } else { TEXT };
    (name.to_owned(), shape_of(value))
}

/// Whether a text looks like a documented field name.
fn is_identifier(name: &str) -> bool {
    let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_';
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|one: char| one.is_ascii_alphabetic())
        && name.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::{NO_JSON, shape};
    use serde_json::{Value, json};

    #[test]
    fn a_shape_has_the_fields_of_a_message_and_no_text() {
        let message = json!({
            "appUserId": 4711, "l3HL7XppEMhrOGDnur9-ulvqomrSg6qy=": true, "receipt": null,
            "inner": [{ "user": "l3HL7" }, "{\"appUserId\":\"l3HL7\"}", "l3HL7"],
        });
        let expected = json!({ "appUserId": 0, "…": true, "receipt": null, "inner": [{ "user": "…" }, "…", "…"] });
        let found: Value = serde_json::from_str(&shape(&message.to_string())).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_shape_of_a_shape_is_the_same() {
        for message in [
            "{}",
            "about l3HL7, and no JSON",
            "{\"a\":\"l3",
            "\"l3HL7\"",
            "17",
            "{\"a\":{\"b\":[1,\"x\"]}}",
        ] {
            let once = shape(message);
            assert_eq!(shape(&once), once, "{message}");
            assert!(!once.contains("l3HL7"), "{once}");
        }
        assert_eq!(shape("{}"), "{}");
        assert_eq!(shape("{\"a\":\"l3"), NO_JSON);
    }
}
