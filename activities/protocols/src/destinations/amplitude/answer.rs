//! Parses the body of Amplitude's response. Each field is parsed separately: a field that cannot be parsed counts as
//! absent, and the others are still used.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The names of fields that may be shown in an error. Any other name in a response could contain personal data.
const FIELDS: [&str; 25] = [
    "api_key",
    "country",
    "currency",
    "device_id",
    "event_id",
    "event_properties",
    "event_type",
    "events",
    "ingestion_metadata",
    "insert_id",
    "library",
    "options",
    "partner_id",
    "platform",
    "price",
    "productId",
    "quantity",
    "revenue",
    "revenueType",
    "session_id",
    "time",
    "user_id",
    "user_properties",
    "$insert_id",
    "$skip_user_properties_sync",
];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status as repeated in the body.
    pub code: Option<i64>,
    /// Amplitude's error text, in lower case. It can contain the API key.
    pub error: String,
    pub ingested: Option<i64>,
    /// Whether a required field of the request, outside its events, is missing.
    pub lacks_field: bool,
    /// Events with an invalid field: the position in the request, and the name of the field if it may be shown.
    /// Amplitude names only the first such event.
    pub wrong: Vec<(usize, Option<&'static str>)>,
    /// Positions of events whose device Amplitude has silenced.
    pub silenced: BTreeSet<usize>,
    /// Ids of silenced devices: Amplitude drops their events.
    pub silenced_devices: BTreeSet<String>,
    /// Whether Amplitude throttles the user or the device of the request's events.
    pub is_throttled: bool,
    /// Whether the user or the device has exceeded the daily quota.
    pub is_over_quota: bool,
}

impl Answer {
    /// Parses a body. `None` if it is not Amplitude's: not a JSON object, or one without a code, an error and the
    /// number of ingested events.
    pub fn read(body: &str) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_str(body) else {
            return None;
        };
        let has = |names: &[&str]| {
            names
                .iter()
                .any(|name| fields.get(*name).is_some_and(has_content))
        };
        let answer = Self {
            code: fields.get("code").and_then(Value::as_i64),
            error: fields
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_lowercase(),
            ingested: fields.get("events_ingested").and_then(Value::as_i64),
            lacks_field: has(&["missing_field"]),
            wrong: wrong(&fields),
            silenced: places(fields.get("silenced_events")).collect(),
            silenced_devices: names(fields.get("silenced_devices")),
            is_throttled: has(&["throttled_devices", "throttled_users", "throttled_events"]),
            is_over_quota: has(&["exceeded_daily_quota_devices", "exceeded_daily_quota_users"]),
        };
        (answer.code.is_some() || answer.ingested.is_some() || !answer.error.is_empty())
            .then_some(answer)
    }

    /// Returns whether Amplitude does not know the API key. Such a response repeats the key in plain text.
    pub fn refuses_key(&self) -> bool {
        self.error.contains("invalid api key") || self.error.contains("invalid api_key")
    }

    /// Returns whether the request arrived at a wrong path or without its body.
    pub fn is_misdirected(&self) -> bool {
        ["missing request body", "invalid request path"]
            .iter()
            .any(|found| self.error.contains(found))
    }

    /// Returns whether the request as a whole is malformed, which is a defect of settle.
    pub fn is_defect(&self) -> bool {
        self.error.contains("invalid json request body")
            || (self.lacks_field && self.wrong.is_empty())
    }
}

/// Returns whether the body is Amplitude's response to a search for a user.
pub fn is_search(body: &str) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_str(body) else {
        return false;
    };
    fields.get("matches").is_some_and(Value::is_array)
}

/// Returns the events with an invalid field, from three objects of the form `{field: [position]}`. The third is
/// undocumented, but the vendor's SDKs parse it.
fn wrong(fields: &Map<String, Value>) -> Vec<(usize, Option<&'static str>)> {
    let kinds = [
        "events_with_invalid_fields",
        "events_with_missing_fields",
        "events_with_invalid_id_lengths",
    ];
    let named = kinds
        .into_iter()
        .filter_map(|kind| fields.get(kind)?.as_object())
        .flatten();
    named
        .flat_map(|(field, list)| places(Some(list)).map(move |place| (place, known(field))))
        .collect()
}

fn known(field: &str) -> Option<&'static str> {
    FIELDS.into_iter().find(|known| *known == field)
}

fn places(list: Option<&Value>) -> impl Iterator<Item = usize> + '_ {
    let list = list
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    list.iter()
        .filter_map(Value::as_u64)
        .filter_map(|place| usize::try_from(place).ok())
}

/// Returns the members of a list, or the keys of an object `{name: count}`.
fn names(value: Option<&Value>) -> BTreeSet<String> {
    match value {
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Some(Value::Object(counts)) => counts.keys().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

fn has_content(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}
