//! `/v1/destinations/kinds` and `/v1/stores`: the forms of destinations and platforms, with the setup steps in the
//! other system. The kind's or store's folder describes the form; types, limits and choices come from the request's
//! schema, so that a form offers exactly what the API accepts.

use super::destinations::NewDestination;
use super::platforms::NewPlatform;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::shape::{choices, present, type_of};
use crate::keys::Caller;
use crate::openapi::{self, kinds};
use crate::operation::Schemas;
use crate::stores::{self, StoreEntry};
use axum::Json;
use axum::extract::State;
use domain::event;
use protocols::destinations;
use protocols::form;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Name of the schema of a new platform.
const NEW_PLATFORM: &str = "NewPlatform";

/// Schemas of the requests that the forms send, under the same paths as in the OpenAPI document.
static SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    let mut schemas = Schemas::default();
    let _ = (
        schemas.requests.subschema_for::<NewPlatform>(),
        schemas.requests.subschema_for::<NewDestination>(),
    );
    json!({ "components": { "schemas": openapi::definitions(schemas) } })
});

/// Forms of one kind of resource.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Forms {
    /// One form for each kind of destination, or for each store.
    items: Vec<Form>,
}

/// A form for creating a resource.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Form {
    /// Kind of destination, or store, as used in requests.
    pub name: &'static str,
    /// Display name.
    pub label: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    /// Fields in display order.
    pub fields: Vec<Field>,
    /// Setup steps.
    pub guide: Vec<Step>,
}

/// A field of a form.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FormField")]
pub struct Field {
    /// Name of the request field; a dot separates the names of nested fields.
    pub name: &'static str,
    /// Display name.
    pub label: &'static str,
    /// What to enter.
    pub help: String,
    /// Type of input: `text`, `password`, `url`, `number`, `switch`, `select`, `events`, `platforms`, `environments`,
    /// `headers`, `list` (texts separated by commas) or `waits`.
    pub input: &'static str,
    /// Available choices.
    pub choices: Vec<Choice>,
    /// For events, the available wildcards.
    pub wildcards: Vec<&'static str>,
    /// Whether the value is a secret, which is never shown again.
    pub secret: bool,
    /// Whether the field is required.
    pub required: bool,
    /// Whether the request requires this field or another one.
    #[serde(skip)]
    pub is_alternative: bool,
    /// Group of fields that are collapsed together; fields without a group are always visible.
    pub group: Option<&'static str>,
    /// Default if the field is absent, if it is a single value.
    pub default: Value,
    /// Minimum value.
    pub minimum: Option<i64>,
    /// Maximum value.
    pub maximum: Option<i64>,
}

/// A choice of a field.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FormChoice")]
pub struct Choice {
    /// Value to send in the request.
    pub value: String,
    /// Display name.
    pub label: String,
    /// Explanation of the choice.
    pub help: Option<&'static str>,
    /// Group of the choice; for events, their group in the index of schemas.
    pub group: Option<&'static str>,
    /// Whether the choice is shown first; the others appear on demand.
    pub is_offered: bool,
}

/// A setup step.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FormStep")]
pub struct Step {
    /// Short instruction.
    pub title: &'static str,
    /// Detailed instruction.
    pub text: &'static str,
    /// Where to do the step: `settle`, or the name of the other system.
    pub place: &'static str,
    /// Field of the created resource to copy in this step, if there is one; a dot separates the names of nested fields.
    pub copy: Option<&'static str>,
    /// Page of the other system, if it has a fixed address.
    pub url: Option<&'static str>,
}

/// `GET /v1/destinations/kinds`
pub async fn destinations(_: Caller) -> Result<Json<Forms>, Error> {
    Ok(Json(Forms {
        items: of_destinations(),
    }))
}

/// `GET /v1/stores`
pub async fn stores(State(edge): State<Shared>, _: Caller) -> Result<Json<Forms>, Error> {
    Ok(Json(Forms {
        items: of_stores(&edge.known),
    }))
}

/// Returns the forms of destinations, one of each kind.
pub fn of_destinations() -> Vec<Form> {
    destinations::kinds()
        .map(destinations::Kind::form)
        .map(|form| Form::of(&kinds::request_of(form.name), form))
        .collect()
}

/// Returns the form for changing a destination of this kind, without the fields that are fixed on creation.
pub fn of_change(kind: &str) -> Option<Form> {
    let fixed = destinations::fields(kind)
        .map(|own| own.on_creation)
        .unwrap_or_default();
    let mut form = of_destinations()
        .into_iter()
        .find(|form| form.name == kind)?;
    form.fields.retain(|field| !fixed.contains(&field.name));
    Some(form)
}

/// Returns the forms of platforms, one for each of these stores.
pub fn of_stores(known: &[&StoreEntry]) -> Vec<Form> {
    stores::forms(known)
        .into_iter()
        .map(|form| Form::of(NEW_PLATFORM, form))
        .collect()
}

impl Form {
    /// Returns a form for requests with this schema.
    fn of(schema: &str, form: form::Form) -> Self {
        let schema = &SCHEMAS["components"]["schemas"][schema];
        let fields = form
            .entries
            .iter()
            .map(|entry| Field::of(schema, entry, &form));
        let guide = form.guide.iter().map(|step| Step {
            title: step.title,
            text: step.text,
            place: step.place,
            copy: step.copy,
            url: step.url,
        });
        Self {
            fields: fields.collect(),
            guide: guide.collect(),
            name: form.name,
            label: form.label,
            summary: form.summary,
        }
    }
}

impl Field {
    fn of(schema: &Value, entry: &form::Entry, form: &form::Form) -> Self {
        let names = entry.name.split('.');
        let outer = names.clone().next().unwrap_or(entry.name);
        let property = names.fold(schema, |inside, name| &referred(inside)["properties"][name]);
        let rules = referred(property);
        let bound = |name: &str| {
            present(property)[name]
                .as_i64()
                .or_else(|| property[name].as_i64())
        };
        Self {
            name: entry.name,
            label: entry.label,
            help: entry
                .help
                .map_or_else(|| text(&property["description"]), str::to_owned),
            input: entry.input.as_str(),
            choices: match entry.input {
                form::Input::Events => event_choices(form),
                _ => named_choices(rules, entry),
            },
            wildcards: match entry.input {
                form::Input::Events => wildcards(form.name),
                _ => Vec::new(),
            },
            // No schema describes the fields that only one store has.
            secret: property["writeOnly"] == true || entry.input == form::Input::Password,
            required: schema["required"]
                .as_array()
                .is_some_and(|all| all.iter().any(|name| name == outer)),
            is_alternative: entry.is_alternative,
            group: Some(entry.group).filter(|group| !group.is_empty()),
            default: property["default"].clone(),
            minimum: bound("minimum"),
            maximum: bound("maximum"),
        }
    }
}

/// Returns the schema of a field in the request that creates a destination of this kind. A dot in the name separates
/// the names of nested fields.
pub fn property(kind: &str, name: &str) -> Value {
    let schema = &SCHEMAS["components"]["schemas"][kinds::request_of(kind)];
    let property = name
        .split('.')
        .fold(schema, |inside, name| &referred(inside)["properties"][name]);
    let mut found = referred(property).clone();
    for outer in ["description", "writeOnly"] {
        if let Some(value) = property.get(outer) {
            found[outer] = value.clone();
        }
    }
    found
}

/// Returns the schema that a property refers to; the property itself if it has no reference.
fn referred(schema: &Value) -> &Value {
    let schema = present(schema);
    let path = schema["$ref"]
        .as_str()
        .map(|path| path.trim_start_matches('#'));
    path.and_then(|path| SCHEMAS.pointer(path))
        .unwrap_or(schema)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns the schema's choices with the entry's labels; the entry's own choices if the schema lists none.
fn named_choices(schema: &Value, entry: &form::Entry) -> Vec<Choice> {
    let of = if type_of(schema) == "array" {
        referred(&schema["items"])
    } else {
        schema
    };
    let known = choices(of);
    let choice = |value: &str| Choice {
        value: value.to_owned(),
        label: label(entry, value).to_owned(),
        help: None,
        group: None,
        is_offered: true,
    };
    if known.is_empty() {
        return entry
            .choices
            .iter()
            .map(|(value, _)| choice(value))
            .collect();
    }
    known.into_iter().map(choice).collect()
}

fn label<'a>(entry: &form::Entry, value: &'a str) -> &'a str {
    entry
        .choices
        .iter()
        .find(|(known, _)| *known == value)
        .map_or(value, |(_, label)| label)
}

/// Returns the wildcards that a destination of this kind can subscribe to.
fn wildcards(kind: &str) -> Vec<&'static str> {
    event::choices()
        .into_iter()
        .filter(|name| name.ends_with('*') && is_taken(kind, name))
        .collect()
}

/// Returns whether a destination of this kind can subscribe to this event type or wildcard.
fn is_taken(kind: &str, choice: &str) -> bool {
    destinations::kind(kind).is_ok_and(|kind| kind.refused_choice(choice).is_none())
}

/// Returns the event types that can be chosen. If the form names some, those are shown first; otherwise all are.
fn event_choices(form: &form::Form) -> Vec<Choice> {
    let offered = form.events;
    let mut all: Vec<Choice> = event::about_all()
        .into_iter()
        .filter(|about| is_taken(form.name, about.event_type))
        .map(|about| Choice {
            value: about.event_type.to_owned(),
            label: about.event_type.to_owned(),
            help: Some(about.summary),
            group: Some(about.group),
            is_offered: offered.is_empty() || offered.contains(&about.event_type),
        })
        .collect();
    all.sort_by_key(|choice| !choice.is_offered);
    all
}
