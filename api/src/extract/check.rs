//! Checks a value against the schema of a request's type, so that every wrong field is named, all of them at once.
//!
//! The schemas are those of `/openapi.json`, so that documentation and checks agree.

use super::formats;
use super::near::did_you_mean;
use super::shape::{choices, is_required, present, type_of};
use crate::error::{Error, Field};
use serde_json::{Map, Value};

/// Maximum number of wrong fields that are named.
const MAX_WRONG: usize = 100;
/// Maximum length of a text that has no other limit, in bytes.
const MAX_BYTES: usize = 2048;

/// The wrong fields of a request.
#[derive(Debug, Default)]
pub struct FieldErrors(Vec<Field>);

impl FieldErrors {
    /// Adds a wrong field, unless it is listed already.
    pub fn add(&mut self, field: &str, expected: impl Into<String>) {
        if self.0.len() < MAX_WRONG && !self.has(field) {
            self.0.push(Field { field: field.to_owned(), expected: expected.into() });
        }
    }

    /// Adds an unknown field, with the known ones and the nearest name.
    pub fn add_unknown(&mut self, field: &str, known: &[&str]) {
        let name = field.rsplit('.').next().unwrap_or(field);
        let meant = did_you_mean(name, known.iter().copied());
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        self.add(field, format!("no such field (the fields are: {known}){meant}"));
    }

    /// Whether this field is wrong.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|wrong| wrong.field == field)
    }

    /// Refuses the request when any field is wrong.
    ///
    /// # Errors
    /// With each wrong field and what was expected there.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

/// Checks an object, and replaces wrong values by valid ones, so that the rest of the request can be checked too.
pub fn object(value: &mut Map<String, Value>, schema: &Value, place: &str, wrong: &mut FieldErrors) {
    let properties = schema["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        let place = join(place, name);
        let fits = match value.get_mut(name) {
            None | Some(Value::Null) if is_required(schema, name) => {
                wrong.add(&place, format!("{}; it is required", expected(property)));
                false
            }
            None | Some(Value::Null) => true,
            Some(value) => fits(value, property, &place, wrong),
        };
        match (fits, is_required(schema, name)) {
            (true, _) => {}
            (false, true) => drop(value.insert(name.clone(), formats::example(property))),
            (false, false) => drop(value.remove(name)),
        }
    }
    if schema.get("additionalProperties").is_none_or(|rest| rest == false) {
        let known: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        value.retain(|name, _| {
            let is_known = known.contains(&name.as_str());
            if !is_known {
                wrong.add_unknown(&join(place, name), &known);
            }
            is_known
        });
    }
}

/// Whether a value fits a schema, apart from optional parts that are removed from it.
fn fits(value: &mut Value, schema: &Value, place: &str, wrong: &mut FieldErrors) -> bool {
    let schema = present(schema);
    let choices = choices(schema);
    let complaint = match (type_of(schema), &mut *value) {
        ("object", Value::Object(value)) => {
            object(value, schema, place, wrong);
            None
        }
        ("array", Value::Array(items)) => list(items, schema, place, wrong),
        ("string", Value::String(text)) if !choices.is_empty() => {
            (!choices.contains(&text.as_str())).then(|| but_is(schema, &format!("`{}`", shown(text))))
        }
        ("string", Value::String(text)) => wrong_text(text, schema),
        ("integer", value) => {
            let range = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
            let is_in =
                |number: i64| range.0.is_none_or(|min| number >= min) && range.1.is_none_or(|max| number <= max);
            let number = value.as_i64().filter(|number| is_in(*number));
            number.is_none().then(|| but_is(schema, &shown(&value.to_string())))
        }
        ("boolean", Value::Bool(_)) | ("", _) => None,
        (_, value) => Some(but_is(schema, name_of(value))),
    };
    let fits = complaint.is_none();
    if let Some(complaint) = complaint {
        wrong.add(place, complaint);
    }
    fits
}

fn wrong_text(text: &str, schema: &Value) -> Option<String> {
    if !is_plain(text) {
        return Some(format!("a text of 1 to {MAX_BYTES} bytes without control characters"));
    }
    if formats::of(schema).is_some_and(|format| !(format.fits)(text)) {
        return Some(but_is(schema, &format!("`{text}`")));
    }
    let (length, bytes) = (text.chars().count() as u64, text.len() as u64);
    if schema["maxLength"].as_u64().is_some_and(|max| length > max) {
        return Some(format!("{}, and it has {length}", expected(schema)));
    }
    let max_bytes = schema["x-maxBytes"].as_u64().filter(|max| bytes > *max)?;
    Some(format!("a text of at most {max_bytes} bytes, and it has {bytes}"))
}

/// Checks a list, and removes wrong items. Returns what is wrong with the list as a whole.
fn list(items: &mut Vec<Value>, schema: &Value, place: &str, wrong: &mut FieldErrors) -> Option<String> {
    let of = &schema["items"];
    if let Some(max) = schema["maxItems"].as_u64().filter(|max| items.len() as u64 > *max) {
        return Some(format!("at most {max} items, and it has {}", items.len()));
    }
    // An item without further rules can only have a wrong type: then the list is reported.
    let is_plain = of.get("format").is_none() && choices(of).is_empty();
    match type_of(of) {
        "string" if is_plain => return items.iter().any(|item| !item.is_string()).then(|| expected(schema)),
        "integer" => return items.iter().any(|item| item.as_i64().is_none()).then(|| expected(schema)),
        _ => {}
    }
    let mut at = 0;
    items.retain_mut(|item| {
        at += 1;
        fits(item, of, &format!("{place}[{}]", at - 1), wrong)
    });
    None
}

/// What is expected of a value.
fn expected(schema: &Value) -> String {
    let schema = present(schema);
    if let Some(own) = schema["x-expected"].as_str() {
        return own.to_owned();
    }
    if let Some(format) = formats::of(schema) {
        return format.expected.to_owned();
    }
    match (choices(schema).as_slice(), type_of(schema)) {
        ([], "string") => {
            schema["maxLength"].as_u64().map_or("a text".to_owned(), |max| format!("a text of 1 to {max} characters"))
        }
        ([], "integer") => match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
            _ => "a whole number".to_owned(),
        },
        ([], "boolean") => "true or false".to_owned(),
        ([], "array") => match type_of(&schema["items"]) {
            "string" => "a list of texts".to_owned(),
            "integer" => "a list of whole numbers".to_owned(),
            _ => "a list of objects".to_owned(),
        },
        ([], _) => "an object".to_owned(),
        ([one], _) => format!("`{one}`"),
        ([one, other], _) => format!("`{one}` or `{other}`"),
        (all, _) => format!("one of {}", all.join(", ")),
    }
}

fn but_is(schema: &Value, value: &str) -> String {
    format!("{}, and it is {value}", expected(schema))
}

/// The place of a field of an object.
fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

/// Whether a text has 1 to 2048 bytes and no control characters.
pub fn is_plain(text: &str) -> bool {
    (1..=MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn shown(text: &str) -> String {
    text.chars().take(100).filter(|character| !character.is_control()).collect()
}

/// The name of a value's JSON type.
pub const fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
