//! The settings of a kind of destination: one struct that is stored, set by requests and shown. Its schema documents
//! all three. Requests cannot set a field that is `readOnly` in the schema.

use super::invalid::Invalid;
use super::schemas::fields;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub trait Settings: Serialize + DeserializeOwned + Default + JsonSchema {}

/// Returns the schemas of the settings' fields, by name.
pub fn properties<S: Settings>() -> Map<String, Value> {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    fields(
        settings
            .into_generator()
            .into_root_schema_for::<S>()
            .to_value()["properties"]
            .take(),
    )
}

/// Sets a field from a request; null resets it to its default. `None` if there is no such field.
///
/// # Errors
/// Returns the expected form of the field.
pub fn set<S: Settings>(settings: &mut S, name: &str, value: &Value) -> Option<Result<(), String>> {
    let property = properties::<S>()
        .remove(name)
        .filter(|property| property["readOnly"] != true)?;
    let changed = serde_json::to_value(&*settings).and_then(|mut all| {
        if let Some(fields) = all.as_object_mut() {
            fields.insert(name.to_owned(), value.clone());
            fields.retain(|_, value| !value.is_null());
        }
        serde_json::from_value(all)
    });
    Some(match changed {
        Ok(changed) if is_within(value, &property) => {
            *settings = changed;
            Ok(())
        }
        Ok(_) | Err(_) => Err(expected(&property)),
    })
}

/// Parses stored settings.
///
/// # Errors
/// Returns the first field that is unusable.
pub fn read<S: Settings>(stored: &Value) -> Result<S, Invalid> {
    let settings = S::deserialize(stored).ok().filter(|_| stored.is_object());
    settings.ok_or_else(|| {
        let mut all = stored.as_object().into_iter().flatten();
        let wrong =
            all.find_map(|(name, value)| Some((name, set(&mut S::default(), name, value)?.err()?)));
        wrong.map_or_else(
            || Invalid::new("settings", "an object"),
            |(name, expected)| Invalid::new(name, expected),
        )
    })
}

fn is_within(value: &Value, property: &Value) -> bool {
    let Some(number) = value.as_i64() else {
        return true;
    };
    property["minimum"]
        .as_i64()
        .is_none_or(|least| number >= least)
        && property["maximum"]
            .as_i64()
            .is_none_or(|most| number <= most)
}

/// Returns the value that a schema expects, as text.
fn expected(property: &Value) -> String {
    if let Some(own) = property["x-expected"].as_str() {
        return own.to_owned();
    }
    if property["type"] == "boolean" {
        return "true or false".to_owned();
    }
    if let (Some(least), Some(most)) = (property["minimum"].as_i64(), property["maximum"].as_i64())
    {
        return format!("a whole number from {least} to {most}");
    }
    let listed = property["enum"].as_array().into_iter().flatten();
    let named = property["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["const"]);
    let all = listed.chain(named).filter_map(|choice| {
        let note = if *choice == property["default"] {
            " (the default)"
        } else {
            ""
        };
        Some(format!("`{}`{note}", choice.as_str()?))
    });
    match all.collect::<Vec<_>>().split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => "text".to_owned(),
    }
}
