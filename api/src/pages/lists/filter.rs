//! The filters of a list: their inputs, derived from the query of the route, and the entered values.

use crate::parts::Code;
use crate::text::{entered_instant, input_instant};
use crate::visit::Visit;
use api::edge::Edge;
use api::error::{Error, Field};
use api::extract::shape::{choices, present, type_of};
use api::extract::{Fields, schema};
use api::resources::{apps, platforms};
use serde_json::Value;
use storage::{Page, Paged};

/// Maximum number of apps whose platforms can be selected while no app is.
const APPS: i64 = 20;
/// Maximum number of platforms of an app that can be selected.
const PLATFORMS: i64 = 100;

/// A query field that the visitor sets, in the form or only in the address.
pub struct Filter<T: 'static> {
    pub name: &'static str,
    pub label: &'static str,
    pub entry: FilterKind<T>,
    /// Note about the results of the filter.
    pub note: Option<&'static str>,
}

/// How a filter is entered.
pub enum FilterKind<T: 'static> {
    /// As the field's schema defines.
    Drawn,
    /// A choice from the field's schema, displayed by this function.
    Shown(fn(&str) -> String),
    /// A choice from these values.
    Of(fn() -> Vec<String>),
    /// Only in the address. The function returns the page of the resource that the filter names, given one of the items
    /// found.
    Address(fn(&T) -> Option<String>),
}

impl<T> Filter<T> {
    pub const fn new(name: &'static str, label: &'static str, entry: FilterKind<T>) -> Self {
        Self {
            name,
            label,
            entry,
            note: None,
        }
    }

    /// Adds a note about the results.
    pub const fn with_note(mut self, note: &'static str) -> Self {
        self.note = Some(note);
        self
    }
}

/// The entered values of a list's filters.
pub struct Entered<T: 'static> {
    fields: Vec<(&'static Filter<T>, String)>,
}

/// The form of a filter.
pub struct FilterForm {
    pub inputs: Vec<FilterInput>,
    /// The filters that only the address can set.
    pub narrowed: Vec<Narrowed>,
    /// The labels of invalid fields, each with its error.
    pub wrong: Vec<(String, Field)>,
}

/// A filter in the form.
pub struct FilterInput {
    pub name: &'static str,
    pub label: &'static str,
    /// The kind of input: `select`, `instant`, `box` or `text`.
    pub kind: &'static str,
    pub value: String,
    pub choices: Vec<FilterChoice>,
    pub is_wrong: bool,
}

pub struct FilterChoice {
    pub value: String,
    pub label: String,
    pub is_on: bool,
}

/// A filter that only the address can set.
pub struct Narrowed {
    pub name: &'static str,
    pub label: &'static str,
    pub value: String,
    pub id: Code,
    /// The page of the resource that the filter names, if it is known.
    pub path: Option<String>,
}

impl<T> Entered<T> {
    pub fn of(filters: &'static [Filter<T>], visit: &Visit) -> Self {
        Self {
            fields: filters
                .iter()
                .map(|one| (one, visit.query(one.name).unwrap_or_default()))
                .collect(),
        }
    }

    /// Returns the non-empty values in the form that the API accepts.
    pub fn sent<Q: Fields>(&self) -> Vec<(&'static str, String)> {
        let filled = self.fields.iter().filter(|(_, value)| !value.is_empty());
        let sent = filled.map(
            |(filter, value)| match is_instant(property::<Q>(filter.name)) {
                true => (filter.name, entered_instant(value)),
                false => (filter.name, value.clone()),
            },
        );
        sent.collect()
    }

    /// Returns the form with the entered values and their errors.
    ///
    /// # Errors
    /// 503 if the database does not respond.
    pub async fn form<Q: Fields>(
        &self,
        edge: &Edge,
        visit: &Visit,
        found: &Paged<T>,
        wrong: Vec<Field>,
    ) -> Result<FilterForm, Error> {
        let mut inputs = Vec::new();
        for (filter, value) in &self.fields {
            let schema = property::<Q>(filter.name);
            let (kind, mut choices) = match &filter.entry {
                FilterKind::Address(_) => continue,
                FilterKind::Of(listed) => (
                    "select",
                    listed().into_iter().map(|one| (one.clone(), one)).collect(),
                ),
                FilterKind::Shown(shown) => ("select", choices_of(schema, *shown)),
                FilterKind::Drawn if filter.name == "platform_id" => {
                    ("select", named_platforms(edge, visit).await?)
                }
                FilterKind::Drawn => (kind(schema), choices_of(schema, str::to_owned)),
            };
            let is_wrong = wrong.iter().any(|one| one.field == filter.name);
            // A value from the address stays selected, even if the list of choices is cut off.
            if kind == "select"
                && !value.is_empty()
                && !is_wrong
                && !choices.iter().any(|(known, _)| known == value)
            {
                choices.insert(0, (value.clone(), value.clone()));
            }
            let choice = |(known, label): (String, String)| FilterChoice {
                is_on: known == *value,
                value: known,
                label,
            };
            inputs.push(FilterInput {
                name: filter.name,
                label: filter.label,
                kind,
                value: if kind == "instant" {
                    input_instant(value)
                } else {
                    value.clone()
                },
                choices: choices.into_iter().map(choice).collect(),
                is_wrong,
            });
        }
        let wrong = wrong
            .into_iter()
            .map(|one| (self.label(&one.field), one))
            .collect();
        Ok(FilterForm {
            inputs,
            narrowed: self.narrowed(found, visit),
            wrong,
        })
    }

    /// Returns the displayed name of a query field.
    fn label(&self, name: &str) -> String {
        let known = self.fields.iter().find(|(filter, _)| filter.name == name);
        known.map_or_else(|| name.to_owned(), |(filter, _)| filter.label.to_owned())
    }

    /// Returns the filters that only the address can set and that are set.
    fn narrowed(&self, found: &Paged<T>, visit: &Visit) -> Vec<Narrowed> {
        let narrowed = self
            .fields
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(filter, value)| {
                let FilterKind::Address(page) = filter.entry else {
                    return None;
                };
                Some(Narrowed {
                    name: filter.name,
                    label: filter.label,
                    value: value.clone(),
                    id: Code::short(value),
                    path: found
                        .items
                        .first()
                        .and_then(page)
                        .map(|path| visit.to(&path)),
                })
            });
        narrowed.collect()
    }
}

/// Returns the schema of a query field.
pub fn property<Q: Fields>(name: &str) -> &'static Value {
    &schema::<Q>()["properties"][name]
}

fn is_instant(schema: &Value) -> bool {
    present(schema)["format"] == "date-time"
}

/// Returns the kind of a field's input.
pub fn kind(schema: &Value) -> &'static str {
    match type_of(schema) {
        _ if !choices(schema).is_empty() || !choices(present(schema)).is_empty() => "select",
        _ if is_instant(schema) => "instant",
        "boolean" => "box",
        _ => "text",
    }
}

/// Returns the choices of a field, each with its displayed name.
fn choices_of(schema: &Value, shown: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let of = if choices(schema).is_empty() {
        present(schema)
    } else {
        schema
    };
    choices(of)
        .into_iter()
        .map(|value| (value.to_owned(), shown(value)))
        .collect()
}

/// Returns the platforms of the selected app, or of all apps together with the apps' names.
async fn named_platforms(edge: &Edge, visit: &Visit) -> Result<Vec<(String, String)>, Error> {
    let first = |limit| Page {
        cursor: None,
        limit,
    };
    let apps = apps::reached(edge, visit.app, first(APPS)).await?.items;
    let mut found = Vec::new();
    for app in apps {
        let platforms = platforms::of_app(edge, app.id, first(PLATFORMS))
            .await?
            .items;
        let named = |name: &str| format!("{} · {name}", app.name);
        found.extend(
            platforms
                .into_iter()
                .map(|one| (one.id.to_string(), named(&one.settings.name))),
        );
    }
    Ok(found)
}
