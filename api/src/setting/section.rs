//! Environment variables and sections that settings are read from.

use super::{Invalid, invalid};
use crate::near::did_you_mean;
use config::{Map, Value};
use serde::de::DeserializeOwned;
use std::path::Path;

/// A setting that has an environment variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Name of the setting in the configuration file.
    pub field: &'static str,
    /// Name of the environment variable.
    pub name: &'static str,
    /// Format of the value in the variable.
    pub form: Form,
}

impl Variable {
    /// Returns a setting with a single value.
    pub const fn one(field: &'static str, name: &'static str) -> Self {
        let form = Form::One;
        Self { field, name, form }
    }

    /// Returns a setting with several values, which the variable separates by commas.
    pub const fn list(field: &'static str, name: &'static str) -> Self {
        let form = Form::List;
        Self { field, name, form }
    }
}

/// Format of a setting's value in its environment variable.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    One,
    /// Several values, separated by commas.
    List,
}

/// A section of the settings that another folder's code parses, merged from the file and the environment.
pub struct Section<'a> {
    /// Name of the section in the configuration file.
    pub name: &'static str,
    /// The section's settings; `None` if none is set.
    pub table: Option<Value>,
    /// Path of the configuration file, for errors.
    pub file: Option<&'a Path>,
}

impl Section<'_> {
    /// Parses the settings; returns the defaults if none is set.
    ///
    /// # Errors
    /// A name is unknown, or a value has the wrong type.
    pub fn read<T: DeserializeOwned + Default>(self) -> Result<T, Invalid> {
        let Some(table) = self.table else {
            return Ok(T::default());
        };
        // Nested under the section's name, so that an error has the full name of a setting.
        let named = Value::new(None, Map::from_iter([(self.name.to_owned(), table)]));
        let read: Result<Map<String, T>, _> = named.try_deserialize();
        let mut read = read.map_err(|error| unreadable(self.file, &error, &[]))?;
        Ok(read.remove(self.name).unwrap_or_default())
    }
}

/// Returns the error about settings that cannot be parsed. It names the setting and never contains a value. For an
/// unknown name, the names in `others` are suggested too.
pub fn unreadable(file: Option<&Path>, error: &config::ConfigError, others: &[&str]) -> Invalid {
    match error {
        config::ConfigError::Type {
            key: Some(key),
            expected,
            ..
        } => invalid(key, *expected),
        config::ConfigError::At {
            error,
            key: Some(key),
            ..
        } => invalid(key, error.to_string()),
        config::ConfigError::Type { expected, .. } => invalid("config", *expected),
        config::ConfigError::Foreign(error) if file.is_some_and(|path| !path.exists()) => {
            invalid("config", format!("an existing file; {error}"))
        }
        other => {
            let other = other.to_string();
            let suggestion = suggestion(&other, others).unwrap_or_default();
            let name = file.map_or_else(String::new, |path| format!(" in {}", path.display()));
            invalid(
                "config",
                format!("valid settings{name} ({other}){suggestion}"),
            )
        }
    }
}

/// Returns a suggestion to append to the error about an unknown setting, chosen from the known names in Serde's message
/// and from `others`; `None` for any other error.
fn suggestion(error: &str, others: &[&str]) -> Option<String> {
    let mut quoted = error
        .split_once("unknown field ")?
        .1
        .split('`')
        .skip(1)
        .step_by(2);
    let typed = quoted.next()?;
    Some(did_you_mean(typed, quoted.chain(others.iter().copied())))
}
