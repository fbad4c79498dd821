//! Parses a request and makes every check that does not depend on the project's state.

use super::response::Refusal;
use serde_json::{Map, Value};

/// Size in bytes from which a request is refused.
const BYTES_LIMIT: usize = 1_000_000;
/// Number of events from which a request is refused.
const EVENTS_LIMIT: usize = 2000;
/// Minimum length of a user or device id, unless the request sets another.
const MIN_ID_LENGTH: u64 = 5;

/// Ids that Amplitude refuses because they name no user, in lower case.
const FORBIDDEN: [&str; 14] = [
    "anonymous",
    "nil",
    "none",
    "null",
    "n/a",
    "na",
    "undefined",
    "unknown",
    "",
    NO_DEVICE,
    "{}",
    "lmy47d",
    "0",
    "-1",
];
const NO_DEVICE: &str = "00000000-0000-0000-0000-000000000000";

/// Event types that are reserved for Amplitude itself or for an API that this fake lacks.
const RESERVED: [&str; 7] = [
    "[Amplitude] Start Session",
    "[Amplitude] End Session",
    "[Amplitude] Revenue",
    "[Amplitude] Revenue (Verified)",
    "[Amplitude] Revenue (Unverified)",
    "[Amplitude] Merged User",
    "$groupidentify",
];

/// The event type that changes properties of a user and is not counted as an event.
pub const IDENTIFY: &str = "$identify";
/// The operations of [`IDENTIFY`] that this fake knows.
const OPERATIONS: [&str; 2] = ["$set", "$unset"];

/// One event, as its JSON object.
pub type Event = Map<String, Value>;

#[derive(Debug)]
pub struct Upload {
    /// API key of the project.
    pub api_key: String,
    events: Vec<Value>,
    min_id_length: u64,
}

/// Parses the body of a request.
pub fn read(body: &[u8]) -> Result<Upload, Refusal> {
    if body.len() >= BYTES_LIMIT {
        return Err(Refusal::too_large());
    }
    if body.is_empty() {
        return Err(Refusal::whole("Missing request body"));
    }
    let Ok(Value::Object(mut request)) = serde_json::from_slice(body) else {
        return Err(Refusal::whole("Invalid JSON request body"));
    };
    let api_key = request
        .get("api_key")
        .and_then(Value::as_str)
        .filter(|key| !key.is_empty());
    let api_key = api_key
        .map(str::to_owned)
        .ok_or_else(|| Refusal::lacks("api_key"))?;
    let min_id_length = request
        .get("options")
        .and_then(|options| options.get("min_id_length")?.as_u64());
    match request.remove("events") {
        Some(Value::Array(events)) if !events.is_empty() => Ok(Upload {
            api_key,
            events,
            min_id_length: min_id_length.unwrap_or(MIN_ID_LENGTH),
        }),
        _ => Err(Refusal::lacks("events")),
    }
}

impl Upload {
    /// Checks the events, and returns them with the number of short ids that were removed from them.
    pub fn events(self) -> Result<(Vec<Event>, usize), Refusal> {
        if self.events.len() >= EVENTS_LIMIT {
            return Err(Refusal::too_large());
        }
        let (mut events, mut removed) = (Vec::new(), 0);
        for (index, event) in self.events.into_iter().enumerate() {
            let Value::Object(mut event) = event else {
                return Err(Refusal::invalid("event_type", index));
            };
            event.retain(|_, value| !value.is_null());
            has_what_it_needs(&event, index)?;
            has_right_types(&event, index)?;
            has_allowed_values(&event, index)?;
            removed += remove_short_ids(&mut event, self.min_id_length, index)?;
            events.push(event);
        }
        Ok((events, removed))
    }
}

pub fn text<'a>(event: &'a Event, field: &str) -> Option<&'a str> {
    event.get(field).and_then(Value::as_str)
}

fn has_what_it_needs(event: &Event, index: usize) -> Result<(), Refusal> {
    if text(event, "event_type").is_none_or(str::is_empty) {
        return Err(Refusal::missing("event_type", index));
    }
    if event.contains_key("user_id") || event.contains_key("device_id") {
        Ok(())
    } else {
        Err(Refusal::missing("user_id", index))
    }
}

fn has_right_types(event: &Event, index: usize) -> Result<(), Refusal> {
    let is_right = |field: &str, value: &Value| match field {
        "event_properties" | "user_properties" | "groups" | "group_properties"
        | "ingestion_metadata" | "plan" => value.is_object(),
        // Milliseconds have thirteen digits from 2001 to 2286.
        "time" => value
            .as_i64()
            .is_some_and(|time| time.to_string().len() == 13),
        "session_id" => value.is_i64(),
        "event_id" => value.as_i64().is_some_and(|id| i32::try_from(id).is_ok()),
        "quantity" => value.is_u64(),
        "price" | "revenue" | "location_lat" | "location_lng" => value.is_number(),
        "$skip_user_properties_sync" => value.is_boolean(),
        "currency" => value.as_str().is_some_and(|code| {
            code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase())
        }),
        _ => value.is_string(),
    };
    match event.iter().find(|(field, value)| !is_right(field, value)) {
        Some((field, _)) => Err(Refusal::invalid(field, index)),
        None => Ok(()),
    }
}

fn has_allowed_values(event: &Event, index: usize) -> Result<(), Refusal> {
    for field in ["user_id", "device_id"] {
        let is_forbidden = |id: &str| FORBIDDEN.contains(&id.trim().to_lowercase().as_str());
        if text(event, field).is_some_and(is_forbidden) {
            return Err(Refusal::invalid(field, index));
        }
    }
    if text(event, "idfa") == Some(NO_DEVICE) {
        return Err(Refusal::invalid("idfa", index));
    }
    if text(event, "event_type").is_some_and(|name| RESERVED.contains(&name)) {
        return Err(Refusal::invalid("event_type", index));
    }
    if text(event, "event_type") == Some(IDENTIFY) {
        return has_operations(event, index);
    }
    let properties = event.get("user_properties").and_then(Value::as_object);
    if properties.is_some_and(|properties| properties.keys().any(|name| name.starts_with('$'))) {
        return Err(Refusal::invalid("user_properties", index));
    }
    Ok(())
}

/// Checks that an [`IDENTIFY`] event has either plain values or operations, not both.
fn has_operations(event: &Event, index: usize) -> Result<(), Refusal> {
    let properties = event.get("user_properties").and_then(Value::as_object);
    let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
        return Err(Refusal::missing("user_properties", index));
    };
    let is_operation =
        |(name, value): (&String, &Value)| OPERATIONS.contains(&name.as_str()) && value.is_object();
    let is_plain = |name: &String| !name.starts_with('$');
    if properties.iter().all(is_operation) || properties.keys().all(is_plain) {
        Ok(())
    } else {
        Err(Refusal::invalid("user_properties", index))
    }
}

fn remove_short_ids(event: &mut Event, min_id_length: u64, index: usize) -> Result<usize, Refusal> {
    let is_short =
        |id: &str| u64::try_from(id.chars().count()).is_ok_and(|length| length < min_id_length);
    let short = ["user_id", "device_id"]
        .into_iter()
        .filter(|field| text(event, field).is_some_and(is_short));
    let short: Vec<_> = short.collect();
    for field in &short {
        event.remove(*field);
    }
    match short.first() {
        Some(field) if !event.contains_key("user_id") && !event.contains_key("device_id") => {
            Err(Refusal::short(field, index))
        }
        _ => Ok(short.len()),
    }
}
