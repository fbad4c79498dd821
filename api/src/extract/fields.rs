//! Deserializes an object after checking it against the schema of its type.

use super::check::{self, FieldErrors};
use crate::error::Error;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::{Map, Value};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The type of a body or query.
pub trait Fields: DeserializeOwned + JsonSchema + 'static {}

impl<T: DeserializeOwned + JsonSchema + 'static> Fields for T {}

/// A JSON body that was checked against its schema and needs further checks.
#[derive(Debug)]
pub struct Draft<T> {
    /// The body. Invalid values are replaced with valid ones or removed, so that the other fields can be checked.
    pub body: T,
    /// Invalid fields of the body.
    pub wrong: FieldErrors,
}

impl<T> Draft<T> {
    /// Returns the body if all fields are valid.
    ///
    /// # Errors
    /// 400 with each invalid field and its expected value.
    pub fn finish(self) -> Result<T, Error> {
        self.wrong.finish().map(|()| self.body)
    }
}

/// Checks the fields of an object and deserializes it.
///
/// # Errors
/// 400 with each invalid field and its expected value.
pub fn checked<T: Fields>(fields: Map<String, Value>) -> Result<T, Error> {
    drafted(fields)?.finish()
}

/// Deserializes an object. Invalid values are replaced or removed, and listed in [`Draft::wrong`].
///
/// # Errors
/// The object cannot be deserialized although each field matches its schema.
pub fn drafted<T: Fields>(fields: Map<String, Value>) -> Result<Draft<T>, Error> {
    drafted_by(fields, schema::<T>())
}

/// Deserializes an object like [`drafted`], but checks it against a schema that is stricter than that of its type.
///
/// # Errors
/// The object cannot be deserialized although each field matches its schema.
pub fn drafted_by<T: Fields>(
    fields: Map<String, Value>,
    schema: &Value,
) -> Result<Draft<T>, Error> {
    let mut wrong = FieldErrors::default();
    match part_by(fields, schema, &mut wrong) {
        Some(body) => Ok(Draft { body, wrong }),
        None => Err(Error::Invalid(wrong.into_fields())),
    }
}

/// Deserializes an object like [`drafted_by`]; `None`, with an error in `wrong`, if it cannot be deserialized.
pub fn part_by<T: Fields>(
    mut fields: Map<String, Value>,
    schema: &Value,
    wrong: &mut FieldErrors,
) -> Option<T> {
    check::object(&mut fields, schema, "", wrong);
    let body = serde_json::from_value(Value::Object(fields));
    let refuse = |error: &serde_json::Error| {
        if wrong.is_empty() {
            wrong.add(
                "body",
                format!(
                    "fields that are valid together ({})",
                    check::shown(&error.to_string())
                ),
            );
        }
    };
    body.inspect_err(refuse).ok()
}

/// Returns the schema of a request's type, with all references resolved. It is generated once per type.
pub fn schema<T: JsonSchema + 'static>() -> &'static Value {
    static KNOWN: Mutex<BTreeMap<TypeId, &'static Value>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(TypeId::of::<T>()).or_insert_with(|| {
        let settings = SchemaSettings::draft2020_12()
            .for_deserialize()
            .with(|settings| settings.inline_subschemas = true);
        Box::leak(Box::new(
            settings
                .into_generator()
                .into_root_schema_for::<T>()
                .to_value(),
        ))
    })
}

/// Deserializes a field for which null differs from absent: `Some(None)` if it is null.
///
/// # Errors
/// The value cannot be deserialized.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Deserializes a secret, which is a string or null.
///
/// # Errors
/// The value is not a string.
pub fn secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}
