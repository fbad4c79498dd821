//! The fields of a described form, prepared for a template. This module is pure.

use crate::form::Sent;
use api::error::Field as Wrong;
use api::resources::forms::{Choice, Field, Form};
use domain::event::{self, Wildcards};
use serde_json::Value;

/// Values in the fields of a form.
#[derive(Debug, Clone, Copy)]
pub enum Entered<'a> {
    New,
    /// The stored resource, as the API shows it.
    Stored(&'a Value),
    /// Values that a visitor sent, and their errors. Secrets must be entered again.
    Sent(&'a Sent, &'a [Wrong]),
}

/// What a form needs besides its description.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The platforms of the app, by id and name.
    pub platforms: Vec<(String, String)>,
    /// Choices that the operator's settings add, by name of the field.
    pub allowed: Vec<(&'static str, String)>,
    /// Whether the form changes an existing resource, so that an empty secret keeps its stored value.
    pub is_change: bool,
}

#[derive(Debug)]
pub struct Group {
    /// Title of the group; empty for fields that are always shown.
    pub title: &'static str,
    /// Whether the group is shown expanded, because one of its fields is wrong or must be entered again.
    pub is_open: bool,
    /// Hash of the stored resource when the form was opened, in one of the groups; empty in the others.
    pub based_on: String,
    pub fields: Vec<FieldView>,
}

/// A field, prepared for a template.
#[derive(Debug)]
pub struct FieldView {
    pub id: String,
    pub name: &'static str,
    pub label: &'static str,
    pub help: String,
    /// The kind of input, as the API names it.
    pub input: &'static str,
    pub value: String,
    pub is_on: bool,
    pub is_required: bool,
    /// Whether the field is marked as optional. Fields in a collapsed group are not marked.
    pub is_optional: bool,
    /// The minimum value; empty if there is none.
    pub least: String,
    /// The maximum value; empty if there is none.
    pub most: String,
    pub choices: Vec<ChoiceGroup>,
    /// Expected value, if the entered one is wrong.
    pub wrong: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct ChoiceGroup {
    /// Title of the group; empty if it has none.
    pub title: &'static str,
    /// Number of choices that are selected by name.
    pub chosen: usize,
    /// Number of choices that are selected, by name or by the choice of all.
    pub included: usize,
    /// Whether the choice of all includes each of them.
    pub is_every: bool,
    pub choices: Vec<Chosen>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Chosen {
    pub value: String,
    pub label: String,
    /// Meaning of the choice; may be empty.
    pub help: &'static str,
    pub is_on: bool,
}

impl FieldView {
    /// Returns the HTML type of a text input.
    pub fn html_type(&self) -> &'static str {
        match self.input {
            "password" => "password",
            "url" => "url",
            "number" => "number",
            _ => "text",
        }
    }

    /// Returns the ids of the elements that describe the field: its help and its error.
    pub fn described(&self) -> String {
        let hint = (!self.help.is_empty()).then(|| format!("hint-{}", self.id));
        let wrong = self.wrong.as_ref().map(|_| format!("wrong-{}", self.id));
        hint.into_iter().chain(wrong).collect::<Vec<_>>().join(" ")
    }

    /// Returns whether several choices can be selected.
    pub fn has_boxes(&self) -> bool {
        matches!(self.input, "events" | "platforms" | "environments")
    }
}

/// Returns the fields of a form in their groups.
pub fn groups(form: &Form, entered: Entered<'_>, known: &Known) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for field in &form.fields {
        let (title, shown) = (
            field.group.unwrap_or_default(),
            shown(field, entered, known),
        );
        let is_wrong = shown.wrong.is_some() || is_lost(field, entered);
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => {
                group.is_open |= is_wrong;
                group.fields.push(shown);
            }
            None => groups.push(Group {
                title,
                is_open: is_wrong,
                based_on: String::new(),
                fields: vec![shown],
            }),
        }
    }
    if let Some(first) = groups.first_mut() {
        first.based_on = match entered {
            Entered::New => String::new(),
            Entered::Stored(stored) => digest(form, stored),
            Entered::Sent(sent, _) => sent.get(BASED_ON).unwrap_or_default().to_owned(),
        };
    }
    groups
}

/// The name of the field with the hash of the state on which a form is based.
pub const BASED_ON: &str = "based_on";

/// Returns the hash of the values that a form shows. It differs if another person has changed the resource since the
/// form was opened.
pub fn digest(form: &Form, stored: &Value) -> String {
    let values = form
        .fields
        .iter()
        .filter(|field| !field.secret)
        .map(|field| inside(stored, field.name).clone());
    hash(&Value::Array(values.collect()))
}

pub fn hash(value: &Value) -> String {
    storage::hex(ring::digest::digest(&ring::digest::SHA256, value.to_string().as_bytes()).as_ref())
}

fn shown(field: &Field, entered: Entered<'_>, known: &Known) -> FieldView {
    let values = values(field, entered);
    FieldView {
        id: field.name.replace('.', "-"),
        name: field.name,
        label: field.label,
        help: help(field, entered, known),
        input: field.input,
        value: if is_hidden(field) {
            String::new()
        } else {
            values.join(", ")
        },
        is_on: values.first().is_some_and(|value| value == "true"),
        is_required: field.required && !(field.secret && known.is_change),
        is_optional: !field.required && !field.is_alternative,
        least: field
            .minimum
            .map_or_else(String::new, |least| least.to_string()),
        most: field
            .maximum
            .map_or_else(String::new, |most| most.to_string()),
        choices: choices(field, &values, known),
        wrong: wrong(field.name, entered),
    }
}

/// Returns whether a field's value is never shown again, whether stored or entered.
fn is_hidden(field: &Field) -> bool {
    field.secret || field.input == "headers"
}

/// Returns whether a value was entered that is not shown again.
fn is_lost(field: &Field, entered: Entered<'_>) -> bool {
    is_hidden(field) && matches!(entered, Entered::Sent(sent, _) if sent.get(field.name).is_some())
}

fn help(field: &Field, entered: Entered<'_>, known: &Known) -> String {
    let again = match (is_lost(field, entered), field.input) {
        (false, _) => "",
        (true, "headers") => " Enter the headers again: settle does not show secrets.",
        (true, _) => " Enter it again: settle does not show secrets.",
    };
    let empty = if known.is_change && is_hidden(field) {
        " Leave empty to keep it."
    } else {
        ""
    };
    format!("{}{again}{empty}", field.help)
}

/// Returns the values of a field, as texts.
fn values(field: &Field, entered: Entered<'_>) -> Vec<String> {
    match entered {
        Entered::New => match (&field.default, field.input) {
            (Value::Null, "events") => field
                .wildcards
                .first()
                .map(|first| (*first).to_owned())
                .into_iter()
                .collect(),
            (default, _) => texts(default),
        },
        Entered::Stored(_) if field.input == "headers" => Vec::new(),
        Entered::Stored(stored) => texts(inside(stored, field.name)),
        Entered::Sent(sent, _) => sent.all(field.name).map(str::to_owned).collect(),
    }
}

/// Returns the value of a field; a dot in the name separates an object from its field.
pub fn inside<'a>(value: &'a Value, name: &str) -> &'a Value {
    name.split('.').fold(value, |outer, name| &outer[name])
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null | Value::Object(_) => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        other => vec![other.to_string()],
    }
}

const EVERY: &str = "*";

fn choices(field: &Field, values: &[String], known: &Known) -> Vec<ChoiceGroup> {
    let mut groups: Vec<ChoiceGroup> = Vec::new();
    let mut all = all_choices(field, values, known);
    if matches!(field.input, "platforms" | "environments" | "select") {
        // A stored value that is no longer a choice stays selected until it is removed.
        let is_unknown = |value: &&String| !all.iter().any(|(_, choice)| choice.value == **value);
        let unknown: Vec<_> = values
            .iter()
            .filter(is_unknown)
            .filter(|value| field.input != "select" || !value.is_empty())
            .map(|value| ("", gone(value)))
            .collect();
        all.extend(unknown);
    }
    for (title, mut chosen) in all {
        chosen.is_on = values.contains(&chosen.value);
        let count = usize::from(chosen.is_on);
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => {
                group.chosen += count;
                group.choices.push(chosen);
            }
            None => {
                let choices = vec![chosen];
                groups.push(ChoiceGroup {
                    title,
                    chosen: count,
                    included: 0,
                    is_every: false,
                    choices,
                });
            }
        }
    }
    let every = [EVERY.to_owned()];
    let wildcards = if is_open(&field.choices) {
        Wildcards::Everything
    } else {
        Wildcards::Listed
    };
    let is_included =
        |one: &Chosen| field.input == "events" && event::chooses(&every, wildcards, &one.value);
    for group in &mut groups {
        group.is_every = group.choices.iter().all(is_included);
        let has_all = group.is_every && values.iter().any(|value| value == EVERY);
        group.included = if has_all {
            group.choices.len()
        } else {
            group.chosen
        };
    }
    groups
}

/// Returns the choices of a field with their groups. For events, these include a choice of all events and one for each
/// wildcard and, if only some events are offered first, every event that was selected through the API.
fn all_choices(field: &Field, values: &[String], known: &Known) -> Vec<(&'static str, Chosen)> {
    let listed = field
        .choices
        .iter()
        .map(|choice| (group_of(choice), of_choice(choice)));
    let of = |value: &str, label: &str| Chosen {
        value: value.to_owned(),
        label: label.to_owned(),
        help: "",
        is_on: false,
    };
    match field.input {
        "events" => {
            let is_shown = |name: &&&str| {
                **name == EVERY
                    || is_open(&field.choices)
                    || values.iter().any(|value| value == **name)
            };
            let label = |name| {
                if name == EVERY {
                    every(&field.choices)
                } else {
                    wildcard(name, &field.choices)
                }
            };
            let wildcards = field
                .wildcards
                .iter()
                .filter(is_shown)
                .map(|name| ("", of(name, &label(name))));
            wildcards.chain(listed).collect()
        }
        "platforms" => known
            .platforms
            .iter()
            .map(|(id, name)| ("", of(id, name)))
            .collect(),
        _ => {
            let added = known.allowed.iter();
            let added = added
                .filter(|(name, _)| *name == field.name)
                .map(|(_, value)| ("", of(value, value)));
            listed.chain(added).collect()
        }
    }
}

/// Returns whether all events are offered equally. If so, a wildcard stands for every type with its prefix.
fn is_open(choices: &[Choice]) -> bool {
    choices.iter().all(|choice| choice.is_offered)
}

/// Returns the description of the event types that a wildcard includes.
fn wildcard(name: &str, choices: &[Choice]) -> String {
    let (wildcards, more) = match is_open(choices) {
        true => (Wildcards::Everything, ", and types added later"),
        false => (Wildcards::Listed, " from the list"),
    };
    let chosen = [name.to_owned()];
    let types = choices
        .iter()
        .filter(|choice| event::chooses(&chosen, wildcards, &choice.value))
        .count();
    let noun = if types == 1 { "type" } else { "types" };
    format!("{name}: {types} {noun}{more}")
}

/// Returns the meaning of the choice of all events: if only some events are offered first, only those.
fn every(choices: &[Choice]) -> String {
    if !is_open(choices) {
        let offered = choices.iter().filter(|choice| choice.is_offered).count();
        return format!("All {offered} listed events");
    }
    "Every event about purchases, customers and devices, including types added later (but not alarm.*, destination.*, \
     revenue.* or user.erased)"
        .to_owned()
}

/// Returns a stored value that is no longer a choice.
fn gone(value: &str) -> Chosen {
    Chosen {
        value: value.to_owned(),
        label: value.to_owned(),
        help: "This no longer exists.",
        is_on: true,
    }
}

/// Returns the group of a choice. Choices that are not offered first share one group.
fn group_of(choice: &Choice) -> &'static str {
    if choice.is_offered {
        choice.group.unwrap_or_default()
    } else {
        OTHERS
    }
}

/// The group of the choices that are not offered first.
const OTHERS: &str = "others";

fn of_choice(choice: &Choice) -> Chosen {
    let (value, label) = (choice.value.clone(), choice.label.clone());
    Chosen {
        value,
        label,
        help: choice.help.unwrap_or_default(),
        is_on: false,
    }
}

/// Returns the expected value of a field, if the entered one is wrong. An error within a list is an error of the list.
fn wrong(name: &str, entered: Entered<'_>) -> Option<String> {
    let Entered::Sent(_, wrong) = entered else {
        return None;
    };
    let is_of = |one: &&Wrong| {
        one.field
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    };
    wrong.iter().find(is_of).map(|one| one.expected.clone())
}
