//! Converts the values of a described form to the body of a request. The API reports invalid values, so text that is
//! not a number stays text. This module is pure.

use super::view::{BASED_ON, digest, inside};
use crate::form::Sent;
use api::error::{Error, Field as Wrong};
use api::resources::forms::{Field, Form};
use serde_json::{Map, Value, json};

/// Returns the body of a request that creates a resource. Empty fields are left out.
pub fn creation(form: &Form, sent: &Sent) -> Map<String, Value> {
    let mut body = Map::new();
    for field in &form.fields {
        if let Some(value) = value(field, sent) {
            put(&mut body, field.name, value);
        }
    }
    body
}

/// Returns the body of a request that changes the resource `stored`: the fields that differ. An emptied field is null,
/// which resets it. An empty secret, and empty headers, keep their stored values.
///
/// # Errors
/// 409 if another person changed the resource after the form was opened: those changes would be lost.
pub fn changes(form: &Form, sent: &Sent, stored: &Value) -> Result<Map<String, Value>, Error> {
    if sent
        .get(BASED_ON)
        .is_some_and(|based_on| based_on != digest(form, stored))
    {
        let detail = "someone else changed it after you opened the form. Open it again; what you entered is below";
        return Err(Error::Conflict(detail.to_owned()));
    }
    let mut body = Map::new();
    for field in &form.fields {
        let before = inside(stored, field.name);
        match value(field, sent) {
            Some(after) if !is_same(before, &after) => put(&mut body, field.name, after),
            None if !stays_when_empty(field) && !before.is_null() => {
                put(&mut body, field.name, Value::Null)
            }
            _ => {}
        }
    }
    Ok(body)
}

/// Returns an error for the first line of entered headers that is not a header. It names only the line number, since
/// the line may contain a secret.
pub fn wrong_lines(form: &Form, sent: &Sent) -> Option<Wrong> {
    form.fields
        .iter()
        .filter(|field| field.input == "headers")
        .find_map(|field| {
            let mut lines = sent.get(field.name)?.lines().map(str::trim);
            let at = lines.position(|line| !line.is_empty() && header(line).is_none())?;
            Some(Wrong {
                field: field.name.to_owned(),
                expected: format!("`Name: value` in line {}", at + 1),
            })
        })
}

fn stays_when_empty(field: &Field) -> bool {
    field.secret || field.input == "headers"
}

/// Returns whether two values are equal. The order of a list of choices does not matter.
fn is_same(before: &Value, after: &Value) -> bool {
    let sorted = |value: &Value| {
        let mut texts: Vec<String> = value
            .as_array()
            .into_iter()
            .flatten()
            .map(Value::to_string)
            .collect();
        texts.sort();
        texts
    };
    let are_texts = |value: &Value| {
        value
            .as_array()
            .is_some_and(|all| all.iter().all(Value::is_string))
    };
    // A form does not preserve spaces at the ends of a text.
    let is_trimmed = before
        .as_str()
        .is_some_and(|text| after.as_str() == Some(text.trim()));
    // A switch that was never set counts as off.
    let is_off = before.is_null() && *after == Value::Bool(false);
    before == after
        || is_off
        || is_trimmed
        || (are_texts(before) && are_texts(after) && sorted(before) == sorted(after))
}

/// Returns the value of a field; `None` if it was left empty.
fn value(field: &Field, sent: &Sent) -> Option<Value> {
    match field.input {
        "switch" => Some(json!(sent.get(field.name) == Some("true"))),
        "events" | "platforms" | "environments" => {
            Some(sent.all(field.name).map(Value::from).collect())
        }
        "number" => sent.get(field.name).map(number),
        "waits" => sent
            .get(field.name)
            .map(|text| text.split(',').map(|one| number(one.trim())).collect()),
        "headers" => sent.get(field.name).map(headers),
        "list" => sent
            .get(field.name)
            .map(|text| text.split(',').map(|one| Value::from(one.trim())).collect()),
        _ => sent.get(field.name).map(Value::from),
    }
}

fn number(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| Value::from(text), Value::from)
}

/// Parses headers, one per line: `Name: value`. Other lines are skipped: [`wrong_lines`] refuses them.
fn headers(text: &str) -> Value {
    let pairs = text.lines().filter_map(header);
    pairs
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect::<Map<_, _>>()
        .into()
}

/// Parses a line into a name and a value.
fn header(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then(|| (name, value.trim()))
}

/// Inserts a value under its name; a dot in the name separates an object from its field.
fn put(body: &mut Map<String, Value>, name: &'static str, value: Value) {
    match name.split_once('.') {
        None => drop(body.insert(name.to_owned(), value)),
        Some((outer, inner)) => {
            let object = body.entry(outer).or_insert_with(|| json!({}));
            object[inner] = value;
        }
    }
}
