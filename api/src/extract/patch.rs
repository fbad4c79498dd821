//! Changes to stored settings.

use super::shape::{admits_null, is_required};
use crate::error::Error;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A JSON merge patch (RFC 7396): absent fields do not change, and null restores a field's default. The schema is that
/// of the settings, with each field optional, and nullable if it has a default.
#[derive(Clone)]
pub struct Patch<T> {
    fields: Map<String, Value>,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Patch<T> {
    /// Returns the new value of a field; `None` if it does not change.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Returns whether the patch contains a field.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the changed settings.
    ///
    /// # Errors
    /// The changed settings cannot be deserialized, although each field matches the schema.
    pub fn apply(&self, settings: &T) -> Result<T, Error> {
        let merged = serde_json::to_value(settings).and_then(|mut value| {
            merge(&mut value, &self.fields);
            serde_json::from_value(value)
        });
        merged.map_err(|error| {
            Error::invalid("body", format!("fields that are valid together ({error})"))
        })
    }
}

fn merge(value: &mut Value, patch: &Map<String, Value>) {
    if !value.is_object() {
        *value = json!({});
    }
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    for (name, change) in patch {
        match change {
            Value::Null => drop(fields.remove(name)),
            Value::Object(inner) => merge(fields.entry(name).or_insert(Value::Null), inner),
            other => drop(fields.insert(name.clone(), other.clone())),
        }
    }
}

/// Shows no values, because some may be secrets.
impl<T> fmt::Debug for Patch<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.fields.keys()).finish()
    }
}

impl<'de, T> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            fields: Map::deserialize(deserializer)?,
            of: PhantomData,
        })
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Patch", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator).to_value();
        relax(&mut schema);
        Schema::try_from(schema).unwrap_or_default()
    }
}

/// Makes each field of an object optional, and nullable if it was already optional. If a default would have an
/// unrequested effect, such as enabling something, null is the same as absent (`x-nullIsAbsent`).
fn relax(schema: &mut Value) {
    let whole = schema.clone();
    for (name, property) in schema
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        if property["properties"].is_object() {
            relax(property);
        }
        if !is_required(&whole, name) && property["x-nullIsAbsent"] != true {
            admit_null(property);
        }
    }
    schema
        .as_object_mut()
        .and_then(|schema| schema.remove("required"));
}

/// Allows null in the schema of a patch's field, where it restores the default.
pub fn admit_null(property: &mut Value) {
    if admits_null(property) {
        return;
    }
    let mut inner = property.as_object().cloned().unwrap_or_default();
    inner.remove("default");
    let mut outer: Map<_, _> = ["description", "writeOnly"]
        .into_iter()
        .filter_map(|name| inner.remove_entry(name))
        .collect();
    outer.insert("anyOf".to_owned(), json!([inner, { "type": "null" }]));
    *property = Value::Object(outer);
}

#[cfg(test)]
mod tests {
    use super::{Patch, merge};
    use crate::extract::fields::{drafted, schema};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    #[test]
    fn a_merge_is_that_of_the_standard() {
        // RFC 7396, appendix A: the examples whose patch is an object.
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, patch.as_object().expect("an object"));
            assert_eq!(merged, result, "{target} {patch}");
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Shelf {
        /// A name.
        name: String,
        /// A number.
        #[serde(default)]
        #[schemars(range(min = 1))]
        boards: i64,
        /// A limit.
        limit: Option<i64>,
    }

    #[test]
    fn null_restores_a_default_and_is_absent_where_there_is_none() {
        let properties = &schema::<Patch<Shelf>>()["properties"];
        let (name, boards) = (&properties["name"], &properties["boards"]);
        assert_eq!(
            (&name["type"], &schema::<Patch<Shelf>>()["required"]),
            (&json!("string"), &Value::Null)
        );
        assert_eq!(
            (&boards["anyOf"][1], &boards["description"]),
            (&json!({ "type": "null" }), &json!("A number."))
        );
        let shelf = Shelf {
            name: "s".to_owned(),
            boards: 7,
            limit: Some(1),
        };
        let changed = |body: Value| {
            let draft = drafted::<Patch<Shelf>>(body.as_object().cloned().expect("an object"))
                .expect("a draft");
            draft
                .finish()
                .map(|patch| patch.apply(&shelf).expect("a shelf"))
        };
        let emptied =
            changed(json!({ "name": null, "boards": null, "limit": null })).expect("right");
        assert_eq!(
            emptied,
            Shelf {
                boards: 0,
                limit: None,
                name: "s".to_owned()
            }
        );
        assert_eq!(
            changed(json!({ "boards": 3 })).expect("right"),
            Shelf {
                boards: 3,
                limit: Some(1),
                name: "s".to_owned()
            }
        );
        for (wrong, expected) in [
            ("boards", "a whole number"),
            ("boarsd", "did you mean `boards`?"),
        ] {
            let error = changed(json!({ wrong: 0.5 }))
                .expect_err("wrong")
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
