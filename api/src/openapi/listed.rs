//! Writes choices as `enum`, because client generators turn alternative constants into types that refuse each other's
//! values.

use serde_json::{Map, Value, json};

/// Replaces each `oneOf` of constants with an `enum`, and merges the values' descriptions into its own.
pub fn list_choices(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(listed) = listed(fields) {
                fields.remove("oneOf");
                fields.extend(listed);
            }
            fields.values_mut().for_each(list_choices);
        }
        Value::Array(items) => items.iter_mut().for_each(list_choices),
        _ => {}
    }
}

/// Returns the keywords that replace a `oneOf` whose alternatives are all text constants; `None` for any other schema.
fn listed(schema: &Map<String, Value>) -> Option<Map<String, Value>> {
    let alternatives = schema.get("oneOf")?.as_array()?;
    let values: Vec<&str> = alternatives
        .iter()
        .map(|one| one["const"].as_str())
        .collect::<Option<_>>()?;
    let own = schema
        .get("description")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let of_value = |(one, value): (&Value, &&str)| {
        let text = one["description"].as_str()?;
        Some(format!("- `{value}`: {text}"))
    };
    let of_values: Vec<String> = alternatives
        .iter()
        .zip(&values)
        .filter_map(of_value)
        .collect();
    let list = (!of_values.is_empty()).then(|| of_values.join("\n"));
    let description: Vec<String> = own.into_iter().chain(list).collect();
    let mut listed = Map::from_iter([
        ("type".to_owned(), json!("string")),
        ("enum".to_owned(), json!(values)),
    ]);
    if !description.is_empty() {
        listed.insert("description".to_owned(), json!(description.join("\n\n")));
    }
    Some(listed)
}

#[cfg(test)]
mod tests {
    use super::list_choices;
    use serde_json::json;

    #[test]
    fn constants_become_an_enum_with_their_descriptions() {
        let mut schema = json!({ "anyOf": [{ "type": "null" }, {
            "description": "A size.", "default": "small",
            "oneOf": [{ "const": "small", "type": "string", "description": "Fits." }, { "const": "large" }],
        }] });
        list_choices(&mut schema);
        let expected = json!({
            "description": "A size.\n\n- `small`: Fits.", "default": "small",
            "type": "string", "enum": ["small", "large"],
        });
        assert_eq!(schema, json!({ "anyOf": [{ "type": "null" }, expected] }));
        let objects = json!({ "oneOf": [{ "const": "small" }, { "type": "object" }] });
        let mut unchanged = objects.clone();
        list_choices(&mut unchanged);
        assert_eq!(unchanged, objects);
    }
}
