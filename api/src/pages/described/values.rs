//! The values of a described form as facts, for visitors who may not change them. This module is pure.

use crate::cell::{Cell, CellPart, Fact};
use api::resources::forms::{Field, Form};
use serde_json::Value;

/// Returns the fields of a form with their stored values, as the API shows them. For a secret, shows only whether it is
/// set. A field that the API does not return is left out.
pub fn values(form: &Form, stored: &Value) -> Vec<Fact> {
    let fact = |field: &Field| Some(Fact::new(field.label, cell(field, stored)?));
    form.fields.iter().filter_map(fact).collect()
}

fn cell(field: &Field, stored: &Value) -> Option<Cell> {
    if field.secret {
        let is_set = match field.name.contains('.') {
            true => stored.get(OWN_CREDENTIALS).is_some_and(Value::is_string),
            false => stored.get(format!("has_{}", field.name))?.as_bool()?,
        };
        return Some(Cell::or(is_set.then_some("set"), NOT_SET));
    }
    if field.input == "headers" {
        return None;
    }
    let value = field
        .name
        .split('.')
        .try_fold(stored, |outer, name| outer.get(name))?;
    Some(match value {
        Value::Null => Cell::or(label(field, ""), NOT_SET),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => label(field, text).unwrap_or(text).into(),
        Value::Array(all) if all.is_empty() => CellPart::Muted("all").into(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", ").into(),
        other => text(other).into(),
    })
}

const NOT_SET: &str = "not set";

/// Field with the time at which the credentials among a store's own fields were set; absent without credentials.
const OWN_CREDENTIALS: &str = "store_credentials_at";

/// Returns the label of a choice.
fn label<'a>(field: &'a Field, value: &str) -> Option<&'a str> {
    field
        .choices
        .iter()
        .find(|choice| choice.value == value)
        .map(|choice| choice.label.as_str())
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
