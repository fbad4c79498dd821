//! The columns that contain JSON: whether this version's types can read a stored text, and the JSON Schemas of these
//! types. Tests use this list to check that this version reads what each release stored, and that the latest release
//! reads what this version stores.

use crate::admin::erasure::DeletionState;
use crate::inbox::acceptances::Entry;
use crate::people::transfers::MovedRows;
use crate::purchases::cause::{RevisionCause, RevisionCauses};
use crate::settings::destinations::Filter;
use crate::settling::views::View;
use domain::catalogue::Price;
use domain::device::Device;
use domain::{Notification, Purchase};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Result, Value, from_str, json, to_value};
use std::collections::BTreeMap;

/// A column that holds JSON.
#[derive(Debug, Clone, Copy)]
pub struct JsonColumn {
    pub table: &'static str,
    pub column: &'static str,
    parse: fn(&str) -> Result<Value>,
    schema: fn() -> Value,
}

/// All columns that contain JSON, except encrypted ones.
pub const JSON_COLUMNS: [JsonColumn; 26] = [
    of::<Vec<Entry>>("acceptances", "notifications"),
    of::<Vec<(String, String)>>("attempts", "headers"),
    of::<Value>("audit_log", "new_fields"),
    of::<Value>("audit_log", "old_fields"),
    of::<Vec<String>>("destinations", "events"),
    of::<Filter>("destinations", "filter"),
    of::<Vec<i64>>("destinations", "schedule"),
    of::<Value>("destinations", "settings"),
    of::<Value>("device_events", "body"),
    of::<Device>("devices", "device"),
    of::<BTreeMap<String, u64>>("erasures", "counts"),
    of::<Vec<DeletionState>>("erasures", "destinations"),
    of::<Value>("events", "body"),
    of::<RevisionCauses>("events", "causes"),
    of::<Value>("events", "profile"),
    of::<Value>("events", "state_apart"),
    of::<Vec<View>>("events", "views"),
    JsonColumn {
        parse: parse_notification,
        ..of::<Notification>("notifications", "body")
    },
    of::<Value>("pages", "answer"),
    of::<Value>("platforms", "store_settings"),
    of::<Vec<String>>("processes", "stores"),
    of::<Vec<Price>>("products", "prices"),
    of::<RevisionCauses>("purchases", "causes"),
    of::<Purchase>("purchases", "purchase"),
    of::<RevisionCause>("rechecks", "cause"),
    of::<MovedRows>("transfers", "moved"),
];

impl JsonColumn {
    /// Checks that the column's type can read a stored text.
    ///
    /// # Errors
    /// The reason why the column's type cannot read the text.
    pub fn check(&self, stored: &str) -> Result<()> {
        self.read_back(stored).map(drop)
    }

    /// Reads a stored text, and returns the text as this version would store it.
    ///
    /// # Errors
    /// The reason why the column's type cannot read the text.
    pub fn read_back(&self, stored: &str) -> Result<Value> {
        (self.parse)(stored)
    }

    /// Returns the JSON Schema of the column's type.
    pub fn schema(&self) -> Value {
        (self.schema)()
    }
}

const fn of<T: DeserializeOwned + Serialize + JsonSchema>(
    table: &'static str,
    column: &'static str,
) -> JsonColumn {
    JsonColumn {
        table,
        column,
        parse: parse::<T>,
        schema: schema::<T>,
    }
}

fn schema<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

fn parse<T: DeserializeOwned + Serialize>(stored: &str) -> Result<Value> {
    to_value(from_str::<T>(stored)?)
}

/// Parses a stored notification. The body of a settled one is `{}` and is never parsed as a notification.
fn parse_notification(stored: &str) -> Result<Value> {
    if stored == "{}" {
        Ok(json!({}))
    } else {
        parse::<Notification>(stored)
    }
}
