//! Checks a request against the schema of its type, and lists all wrong fields.
//!
//! The schemas are those of `/openapi.json`, so documentation and checks agree.

use super::formats;
use super::near::did_you_mean;
use super::shape::{choices, is_required, present, type_of};
use crate::error::{Error, Field};
use serde_json::{Map, Value};

/// Maximum number of wrong fields in one answer.
const MAX_WRONG: usize = 100;
/// Maximum length of any text of a request, in bytes. A schema can set a lower limit.
pub const MAX_BYTES: usize = 2048;

/// The wrong fields of a request.
#[derive(Debug, Default)]
pub struct FieldErrors(Vec<Field>);

impl FieldErrors {
    /// Adds a wrong field, unless it or [`MAX_WRONG`] fields are listed already.
    pub fn add(&mut self, field: &str, expected: impl Into<String>) {
        if self.0.len() < MAX_WRONG && !self.has(field) {
            self.0.push(Field { field: field.to_owned(), expected: expected.into() });
        }
    }

    /// Whether no field is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The wrong fields.
    #[must_use]
    pub fn into_fields(self) -> Vec<Field> {
        self.0
    }

    /// Adds an unknown field. Its error lists the known fields, and proposes the nearest one.
    pub fn add_unknown(&mut self, field: &str, known: &[&str]) {
        if self.0.len() >= MAX_WRONG {
            return;
        }
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

    /// Refuses the request if any field is wrong.
    ///
    /// # Errors
    /// With each wrong field and what was expected there.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

/// Checks an object. A wrong required value is replaced by a valid one, and a wrong optional value or unknown field is
/// removed, so that further rules can be checked on the rest. `place` is the path of the object in the request.
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

/// Checks a value and adds its errors. Returns whether it fits; wrong parts of an object or list are repaired and do
/// not count.
fn fits(value: &mut Value, schema: &Value, place: &str, wrong: &mut FieldErrors) -> bool {
    let schema = present(schema);
    let choices = choices(schema);
    let error = match (type_of(schema), &mut *value) {
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
    let fits = error.is_none();
    if let Some(error) = error {
        wrong.add(place, error);
    }
    fits
}

/// The error of a text; `None` when it fits.
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

/// Checks a list, and removes wrong items, whose errors are added one by one. Returns the error of the list as a whole.
fn list(items: &mut Vec<Value>, schema: &Value, place: &str, wrong: &mut FieldErrors) -> Option<String> {
    let of = &schema["items"];
    if let Some(max) = schema["maxItems"].as_u64().filter(|max| items.len() as u64 > *max) {
        return Some(format!("at most {max} items, and it has {}", items.len()));
    }
    // Items that their owner checks one by one.
    if schema["x-each"] == true {
        return None;
    }
    // Items that have only a type, and no further rules, are not reported one by one: the list gets the error.
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

/// The description of a schema in an error.
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

/// The error of a value that differs from its schema.
fn but_is(schema: &Value, value: &str) -> String {
    format!("{}, and it is {value}", expected(schema))
}

/// The path of a field, such as `filter.platforms`.
fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

/// Whether a text has 1 to 2048 bytes and no control characters.
pub fn is_plain(text: &str) -> bool {
    (1..=MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The beginning of a text, for an error.
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
