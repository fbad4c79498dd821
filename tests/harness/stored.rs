//! The JSON Schemas of a database's JSON columns and enums. With them, tests check that the latest release can read
//! what this version stores, so that an installation can be downgraded to it.
//!
//! A version may read values that it does not store yet: the changelog lists them with the first release that stores
//! them, and the schemas here leave them out. The changelog also lists fields that are no longer stored.

use super::documents;
use super::raw::Raw;
use super::released::Release;
use super::samples;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use storage::{Database, JSON_COLUMNS, JsonColumn};

/// Annotations, which do not restrict values.
const ANNOTATIONS: [&str; 5] = ["$schema", "title", "description", "default", "examples"];
/// Keywords of JSON Schema that map names to schemas.
const NAMED: [&str; 3] = ["properties", "$defs", "patternProperties"];

/// Name of the schema with the enums that are stored as text.
pub const ENUMS: &str = "enums";

/// Returns a column's name as used in the changelog and in file names.
pub fn name(column: &JsonColumn) -> String {
    format!("{}.{}", column.table, column.column)
}

/// Returns the schema of what this version stores in each JSON column that has a type, and of the enums that it stores
/// as text.
///
/// # Panics
/// When the changelog names a value that no type has.
pub fn schemas() -> BTreeMap<String, Value> {
    let mut schemas: BTreeMap<_, _> = JSON_COLUMNS
        .iter()
        .map(|column| (name(column), normal(&column.schema())))
        .collect();
    let enums: Map<_, _> = storage::stored_enums().into_iter().map(texts).collect();
    schemas.insert(ENUMS.to_owned(), json!({ "$defs": enums }));
    schemas.retain(|_, schema| schema.as_object().is_some_and(|limits| !limits.is_empty()));
    for value in unwritten(&documents::changelog(), env!("CARGO_PKG_VERSION")) {
        let path: Vec<&str> = value.split('/').collect();
        let is_known = path.split_first().is_some_and(|(column, path)| {
            schemas
                .get_mut(*column)
                .is_some_and(|schema| remove(schema, path))
        });
        assert!(
            is_known,
            "the changelog says when {value} is written, and no type has it"
        );
    }
    schemas
}

fn texts((name, texts): (&str, Vec<&str>)) -> (String, Value) {
    (name.to_owned(), json!({ "type": "string", "enum": texts }))
}

/// Returns the values that, according to a changelog, only releases later than this version store:
/// `column/place/value`.
///
/// # Panics
/// When a version is not numeric.
pub fn unwritten<'a>(changelog: &'a str, version: &str) -> Vec<&'a str> {
    let lines = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: written from "));
    let later = lines.filter(|(_, from)| number(from.trim_end_matches('.')) > number(version));
    later.map(|(value, _)| value).collect()
}

/// Returns the values that, according to a changelog, only occur for stores added in a release after `version`:
/// `column/place/value`. [`check`] verifies that only rows of such stores have them.
///
/// # Panics
/// When a version is not numeric.
pub fn of_new_stores<'a>(changelog: &'a str, version: &str) -> Vec<&'a str> {
    let lines = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: of stores since "));
    let later = lines.filter(|(_, since)| number(since.trim_end_matches('.')) > number(version));
    later.map(|(value, _)| value).collect()
}

/// Returns the fields that, according to the changelog, are no longer stored: `column/place/field`.
pub fn unstored(changelog: &str) -> Vec<&str> {
    let lines = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: no longer stored"));
    lines.map(|(field, _)| field).collect()
}

/// Returns whether a place in a column's JSON is one of these fields or inside one.
pub fn is_unstored(place: &str, unstored: &[&str]) -> bool {
    let (column, path) = place.split_once('/').unwrap_or((place, ""));
    let mut names = unstored.iter().filter_map(|field| {
        field
            .strip_prefix(column)?
            .strip_prefix('/')?
            .rsplit('/')
            .next()
    });
    names.any(|name| path.split('/').any(|part| part == name))
}

/// Returns the numbers of a version, for comparisons.
///
/// # Panics
/// When `version` is not numeric.
pub fn number(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| {
            part.parse()
                .unwrap_or_else(|_| panic!("{version} is no version"))
        })
        .collect()
}

/// Returns a schema without annotations, in which each enum is a single list of values, whether or not its variants are
/// documented.
pub fn normal(schema: &Value) -> Value {
    let Value::Object(fields) = schema else {
        return schema.clone();
    };
    let mut own = Map::new();
    for (name, field) in fields
        .iter()
        .filter(|(name, _)| !ANNOTATIONS.contains(&name.as_str()))
    {
        let field = match field {
            Value::Object(parts) if NAMED.contains(&name.as_str()) => parts
                .iter()
                .map(|(name, part)| (name.clone(), normal(part)))
                .collect(),
            Value::Array(parts) => parts.iter().map(normal).collect(),
            one => normal(one),
        };
        own.insert(name.clone(), field);
    }
    if let Some(value) = own.remove("const") {
        own.insert("enum".to_owned(), json!([value]));
    }
    if let Some(Value::Array(choices)) = own.remove("oneOf") {
        let (enums, mut others): (Vec<_>, Vec<_>) = choices
            .into_iter()
            .partition(|choice| choice["enum"].is_array());
        let values: Vec<Value> = enums
            .iter()
            .filter_map(|one| one["enum"].as_array())
            .flatten()
            .cloned()
            .collect();
        let joined = json!({ "type": "string", "enum": values });
        match joined {
            Value::Object(joined) if others.is_empty() => own.extend(joined),
            joined => {
                if !values.is_empty() {
                    others.insert(0, joined);
                }
                own.insert("oneOf".to_owned(), others.into());
            }
        }
    }
    Value::Object(own)
}

/// Removes a value from an enum in a schema; `path` consists of the names of fields and types, then the value. Returns
/// whether the value was there.
pub fn remove(schema: &mut Value, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if !rest.is_empty() {
        let inner = match *first {
            "*" => schema.get_mut("items"),
            first => {
                let part = NAMED
                    .into_iter()
                    .find(|part| schema[*part].get(first).is_some());
                part.and_then(|part| schema[part].get_mut(first))
            }
        };
        return inner.is_some_and(|inner| remove(inner, rest));
    }
    let mut is_removed = false;
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        let before = values.len();
        values.retain(|value| value != first);
        is_removed |= values.len() < before;
    }
    if let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        let before = choices.len();
        choices.retain(|choice| choice["properties"].get(first).is_none());
        is_removed |=
            choices.len() < before || choices.iter_mut().any(|choice| remove(choice, path));
    }
    is_removed
}

/// Returns a validator of stored JSON.
///
/// # Panics
/// When `schema` is not a JSON Schema.
pub fn validator(schema: &Value) -> Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .expect("a JSON Schema")
}

/// A stored text that a release cannot read.
#[derive(Debug)]
pub struct Unread {
    /// The column, and the place in the text.
    pub place: String,
    pub error: String,
    pub text: String,
}

/// Checks that the latest release can read all texts in this database that this version reads.
///
/// # Errors
/// The first text that it cannot read.
pub fn check(database: &Database) -> Result<(), String> {
    static VALIDATORS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
        Release::latest()
            .stored()
            .iter()
            .map(|(name, schema)| (name.clone(), validator(schema)))
            .collect()
    });
    static STORES: LazyLock<Vec<&str>> = LazyLock::new(|| stores_of(&Release::latest().version));
    match first_unread(database, &VALIDATORS, &STORES) {
        None => Ok(()),
        Some(Unread { place, error, text }) => Err(format!(
            "the latest release does not read {place}: {error}: {text}"
        )),
    }
}

/// Returns the stores that a release lists.
fn stores_of(version: &str) -> Vec<&'static str> {
    let all = api::stores::ALL.iter();
    let listed = all.filter(|store| number(store.since) <= number(version));
    listed.map(|store| store.name).collect()
}

/// Returns the first text in a database that these validators refuse, with the exceptions that this version makes
/// itself. Rows of platforms of stores other than `stores` are ignored: values of a new store may be stored at once.
pub fn first_unread(
    database: &Database,
    validators: &BTreeMap<String, Validator>,
    stores: &[&str],
) -> Option<Unread> {
    let mut raw = Raw::of(database);
    for column in JSON_COLUMNS {
        let Some(validator) = validators.get(&name(&column)) else {
            continue;
        };
        for text in samples::of_column(&mut raw, &column, Some(stores)) {
            let is_own = column.check(&text).is_ok() && text != samples::EMPTIED;
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(error) = validator.iter_errors(&value).next().filter(|_| is_own) {
                return Some(Unread {
                    place: format!("{}{}", name(&column), error.instance_path),
                    error: error.to_string(),
                    text: text.clone(),
                });
            }
        }
    }
    None
}
