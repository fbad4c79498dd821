//! Reads an object into a type. The type's schema is documentation and check in one.

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

/// The type of a body, or of a query.
pub trait Fields: DeserializeOwned + JsonSchema + 'static {}

impl<T: DeserializeOwned + JsonSchema + 'static> Fields for T {}

/// A JSON body that needs more checks than its schema.
#[derive(Debug)]
pub struct Draft<T> {
    /// The body. Wrong values were replaced by valid ones, so that the rest can be checked.
    pub body: T,
    /// Its wrong fields.
    pub wrong: FieldErrors,
}

impl<T> Draft<T> {
    /// The body, when nothing is wrong in it.
    ///
    /// # Errors
    /// With each wrong field and what was expected there.
    pub fn finish(self) -> Result<T, Error> {
        self.wrong.finish().map(|()| self.body)
    }
}

/// Checks the fields of an object and reads them.
///
/// # Errors
/// With each wrong field and what was expected there.
pub fn checked<T: Fields>(fields: Map<String, Value>) -> Result<T, Error> {
    drafted(fields)?.finish()
}

/// Reads the fields of an object. What is wrong in them is replaced and noted.
///
/// # Errors
/// When the fields do not fit together.
pub fn drafted<T: Fields>(mut fields: Map<String, Value>) -> Result<Draft<T>, Error> {
    let mut wrong = FieldErrors::default();
    check::object(&mut fields, schema::<T>(), "", &mut wrong);
    match serde_json::from_value(Value::Object(fields)) {
        Ok(body) => Ok(Draft { body, wrong }),
        Err(error) => {
            wrong.finish()?;
            Err(Error::invalid("body", format!("fields that fit together ({error})")))
        }
    }
}

/// The schema of a request's type, in one piece.
pub fn schema<T: JsonSchema + 'static>() -> &'static Value {
    static KNOWN: Mutex<BTreeMap<TypeId, &'static Value>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(TypeId::of::<T>()).or_insert_with(|| {
        let settings =
            SchemaSettings::draft2020_12().for_deserialize().with(|settings| settings.inline_subschemas = true);
        Box::leak(Box::new(settings.into_generator().into_root_schema_for::<T>().to_value()))
    })
}

/// Reads a field that can be null beside absent: `Some(None)` when it is null.
///
/// # Errors
/// Those of the value.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads a secret.
///
/// # Errors
/// Those of a text.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}
