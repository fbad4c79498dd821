//! Checks a request against the schema of its type, and lists all invalid fields.
//!
//! These are the schemas of `/openapi.json`, so the documentation always matches the checks.

use super::formats;
use super::shape::{admits_null, choices, is_required, present, type_of};
use crate::error::{Error, Field, cut};
use crate::near::did_you_mean;
use domain::placeholder::placeholder;
use domain::text::trimmed;
use serde_json::{Map, Value, json};
use std::fmt::Display;

/// Maximum number of invalid fields in a response.
const MAX_WRONG: usize = 100;
/// Maximum number of unknown names per response for which the nearest known name is searched, which costs more than a
/// check.
const MAX_NEAREST: usize = 10;
/// Maximum length of any text in a request, in bytes. A schema can set a lower limit.
pub const MAX_BYTES: usize = 2048;
/// Keyword of an enum whose values the handler checks, because they depend on the process.
const OPEN_ENUM: &str = "x-openEnum";
/// Maximum length of a value in an error, in bytes.
const MAX_SHOWN_BYTES: usize = 100;

/// Up to this number, a 64-bit float represents every whole number exactly.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Number of errors that a response may still list. All parts of a request share it.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Number of invalid fields; the last one stands for all others.
    fields: usize,
    /// Number of unknown names that may still be compared with the known ones.
    nearest: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            fields: MAX_WRONG + 1,
            nearest: MAX_NEAREST,
        }
    }
}

/// Invalid fields of a request.
#[derive(Debug, Default)]
pub struct FieldErrors {
    fields: Vec<Field>,
    budget: Budget,
    /// Whether there are more invalid fields than the response lists. Nothing further is checked then.
    is_cut: bool,
}

impl FieldErrors {
    /// Creates an empty list of errors for a part of a request.
    pub const fn within(budget: Budget) -> Self {
        Self {
            fields: Vec::new(),
            budget,
            is_cut: false,
        }
    }

    /// Adds an invalid field, unless it is already listed. Once the limit is reached, a single entry stands for all
    /// others.
    pub fn add(&mut self, field: &str, expected: impl Into<String>) {
        if self.has(field) {
            return;
        }
        match self.budget.fields {
            0 => {}
            1 => self.fields.push(Field::new(
                "…",
                format!("nothing else; more than these {MAX_WRONG} fields are wrong"),
            )),
            _ => self.fields.push(Field::new(field, expected)),
        }
        self.is_cut = self.budget.fields <= 1;
        self.budget.fields = self.budget.fields.saturating_sub(1);
    }

    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty() && !self.is_cut
    }

    /// Returns the listed invalid fields.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Removes and returns the error of a field, if there is one: the request is accepted without the field.
    pub fn take(&mut self, field: &str) -> Option<Field> {
        let at = self.fields.iter().position(|wrong| wrong.field == field)?;
        Some(self.fields.remove(at))
    }

    pub fn into_fields(self) -> Vec<Field> {
        self.fields
    }

    /// Returns the number of errors that the next part of the request may list.
    pub const fn budget(&self) -> Budget {
        self.budget
    }

    /// Adds an unknown field. The error lists the known fields, and suggests the nearest one.
    pub fn add_unknown(&mut self, field: &str, known: &[&str]) {
        let meant = match self.budget.nearest.checked_sub(1) {
            Some(left) => {
                self.budget.nearest = left;
                did_you_mean(
                    field.rsplit('.').next().unwrap_or(field),
                    known.iter().copied(),
                )
            }
            None => String::new(),
        };
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        self.add(
            field,
            format!("no such field (the fields are: {known}){meant}"),
        );
    }

    pub fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|wrong| wrong.field == field)
    }

    /// Refuses the request if any field is invalid.
    ///
    /// # Errors
    /// 400 with each invalid field and its expected value.
    pub fn finish(self) -> Result<(), Error> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(self.fields))
        }
    }
}

/// Checks an object. An invalid required value is replaced with a valid one, and an invalid optional value or an
/// unknown field is removed, so that further rules can be checked on the rest. This stops once more fields are invalid
/// than the response lists. `place` is the path of the object in the request.
pub fn object(
    value: &mut Map<String, Value>,
    schema: &Value,
    place: &str,
    wrong: &mut FieldErrors,
) {
    let properties = schema["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        if wrong.is_cut {
            return;
        }
        let place = join(place, name);
        let fits = match value.get_mut(name) {
            None | Some(Value::Null) if is_required(schema, name) => {
                wrong.add(&place, format!("{}; it is required", expected(property)));
                false
            }
            None => true,
            // For other fields, null is the same as absent.
            Some(Value::Null) => admits_null(property) || type_of(property).is_empty(),
            Some(value) => fits(value, property, &place, wrong),
        };
        match (fits, is_required(schema, name)) {
            (true, _) => {}
            (false, true) => drop(value.insert(name.clone(), formats::example(property))),
            (false, false) => drop(value.remove(name)),
        }
    }
    if schema
        .get("additionalProperties")
        .is_none_or(|rest| rest == false)
    {
        let known: Vec<&str> = properties
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        value.retain(|name, _| {
            let stays = wrong.is_cut || known.contains(&name.as_str());
            if !stays {
                wrong.add_unknown(&join(place, name), &known);
            }
            stays
        });
    }
}

/// Trims invisible characters from a text that is compared exactly, such as a secret.
fn trim(text: &mut String, schema: &Value) {
    if (schema["x-trimmed"] == true || schema["writeOnly"] == true)
        && trimmed(text).len() != text.len()
    {
        *text = trimmed(text).to_owned();
    }
}

/// Checks a value and adds its errors. Returns whether it is valid. Invalid parts of an object or list are repaired and
/// do not make it invalid.
fn fits(value: &mut Value, schema: &Value, place: &str, wrong: &mut FieldErrors) -> bool {
    if let Value::String(text) = &mut *value {
        trim(text, schema);
    }
    let schema = present(schema);
    let choices = choices(schema);
    let error = match (type_of(schema), &mut *value) {
        ("object", Value::Object(value)) => {
            object(value, schema, place, wrong);
            None
        }
        ("array", Value::Array(items)) => list(items, schema, place, wrong),
        ("string", Value::String(text)) if !choices.is_empty() && schema[OPEN_ENUM] != true => {
            (!choices.contains(&text.as_str()))
                .then(|| but_is(schema, &format!("`{}`", shown(text))))
        }
        ("string", Value::String(text)) => wrong_text(text, schema),
        ("integer", value) => {
            let range = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
            let is_in = |number: i64| {
                range.0.is_none_or(|min| number >= min) && range.1.is_none_or(|max| number <= max)
            };
            match whole(value).filter(|number| is_in(*number)) {
                Some(number) => {
                    *value = number.into();
                    None
                }
                None => Some(but_is(schema, &shown(&value.to_string()))),
            }
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

/// Returns an integer, which may be written as `5.0`: in JSON Schema it is the same integer.
fn whole(value: &Value) -> Option<i64> {
    let is_exact = |number: &f64| number.fract() == 0.0 && number.abs() < MAX_EXACT;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is whole and in the range"
    )]
    let of_decimal = |number: f64| number as i64;
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(is_exact).map(of_decimal))
}

/// Returns the error about an invalid text; `None` if it is valid.
fn wrong_text(text: &str, schema: &Value) -> Option<String> {
    if !is_plain(text) {
        let most = schema["maxLength"]
            .as_u64()
            .map(|max| format!("{max} characters"));
        let most = most.unwrap_or_else(|| format!("{MAX_BYTES} bytes"));
        return Some(format!("text of 1 to {most} without control characters"));
    }
    if formats::of(schema).is_some_and(|format| !(format.fits)(text)) {
        return Some(but_is(schema, &format!("`{}`", shown(text))));
    }
    let (length, bytes) = (text.chars().count() as u64, text.len() as u64);
    if schema["maxLength"].as_u64().is_some_and(|max| length > max) {
        return Some(format!("{}, but it has {length}", expected(schema)));
    }
    if let Some(max_bytes) = schema["x-maxBytes"].as_u64().filter(|max| bytes > *max) {
        return Some(format!(
            "text of at most {max_bytes} bytes, but it has {bytes}"
        ));
    }
    // An identifier must not be a placeholder for "no value".
    if schema["x-identifies"] == true {
        no_id(text)
    } else {
        None
    }
}

/// Returns the error about an id that is a placeholder, which programs send if they have no value; `None` for a real
/// id.
pub fn no_id(text: &str) -> Option<String> {
    let placeholder = placeholder(text)?;
    Some(format!(
        "an id, but it is `{}`: {}",
        shown(text),
        placeholder.mistake()
    ))
}

/// Checks a list, and removes invalid items, whose errors are added one by one. Returns the error about the whole list.
fn list(
    items: &mut Vec<Value>,
    schema: &Value,
    place: &str,
    wrong: &mut FieldErrors,
) -> Option<String> {
    let of = &schema["items"];
    if let Some(max) = schema["maxItems"]
        .as_u64()
        .filter(|max| items.len() as u64 > *max)
    {
        return Some(too_many(max, items.len()));
    }
    // Items that the handler checks one by one.
    if schema["x-each"] == true {
        return None;
    }
    // If items have only a type and no further rules, their errors are not listed one by one; the list gets one error.
    let is_plain = of.get("format").is_none() && choices(of).is_empty();
    match type_of(of) {
        "string" if is_plain => {
            return items
                .iter()
                .any(|item| !item.is_string())
                .then(|| expected(schema));
        }
        "integer" => {
            let numbers: Option<Vec<Value>> = items
                .iter()
                .map(|item| whole(item).map(Value::from))
                .collect();
            let Some(numbers) = numbers else {
                return Some(expected(schema));
            };
            *items = numbers;
            return None;
        }
        _ => {}
    }
    let mut at = 0;
    items.retain_mut(|item| {
        at += 1;
        wrong.is_cut || fits(item, of, &format!("{place}[{}]", at - 1), wrong)
    });
    None
}

/// Returns the error about a list with too many items.
pub fn too_many(max: impl Display, number: usize) -> String {
    format!("at most {max} items, but it has {number}")
}

/// Returns the description of a schema for an error.
fn expected(schema: &Value) -> String {
    let schema = present(schema);
    if let Some(own) = schema["x-expected"].as_str() {
        return own.to_owned();
    }
    if let Some(format) = formats::of(schema) {
        return format.expected.to_owned();
    }
    match (choices(schema).as_slice(), type_of(schema)) {
        ([], "string") => schema["maxLength"]
            .as_u64()
            .map_or("text".to_owned(), |max| {
                format!("text of 1 to {max} characters")
            }),
        ([], "integer") => match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
            _ => "a whole number".to_owned(),
        },
        ([], "boolean") => "true or false".to_owned(),
        ([], "array") => match type_of(&schema["items"]) {
            "string" => "a list of strings".to_owned(),
            "integer" => "a list of whole numbers".to_owned(),
            _ => "a list of objects".to_owned(),
        },
        ([], _) => "an object".to_owned(),
        ([one], _) => format!("`{one}`"),
        ([one, other], _) => format!("`{one}` or `{other}`"),
        (all, _) => format!("one of {}", all.join(", ")),
    }
}

/// Returns the error about a text that is not one of these choices.
pub fn none_of(choices: &[&str], text: &str) -> String {
    but_is(&json!({ "enum": choices }), &format!("`{}`", shown(text)))
}

/// Returns the error about a value that does not match its schema.
fn but_is(schema: &Value, value: &str) -> String {
    format!("{}, but it is {value}", expected(schema))
}

/// Returns the path of a field, such as `filter.platforms`.
fn join(place: &str, name: &str) -> String {
    if place.is_empty() {
        name.to_owned()
    } else {
        format!("{place}.{name}")
    }
}

/// Returns whether a text has 1 to 2048 bytes and no control characters.
pub fn is_plain(text: &str) -> bool {
    text.len() <= MAX_BYTES && domain::text::is_plain(text, MAX_BYTES)
}

/// Returns the beginning of a text for an error.
pub fn shown(text: &str) -> String {
    cut(text, MAX_SHOWN_BYTES)
}

/// Returns the name of a value's JSON type.
pub const fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
