//! JSON Schemas (draft 2020-12) of all events that settle sends, generated from the types of the bodies.
//!
//! Every documented field is required, settle's additions are optional, and unknown fields are allowed, so a receiver
//! that validates keeps working when a field is added.

use crate::device::{
    DEVICE_VERSION, DeviceBody, DeviceEventKind, ImpressionData, SessionEndData, SessionStartData,
    TransactionData,
};
use crate::event::{
    ABOUT_ALARMS, ABOUT_DESTINATIONS, AlarmBody, DestinationBody, PURCHASE_UPDATED,
    PURCHASE_VERSION, PurchaseBody, REVENUE_ADJUSTED, RevenueBody,
};
use crate::transition::TransitionKind;
use crate::user::{ErasedBody, TRANSFERS, USER_ERASED, UserBody};
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

/// The version of the flat shape of `user.*`. As documented, the bodies do not carry it.
pub const USER_VERSION: &str = "1.0";
/// The version of the flat shape of `destination.*`.
pub const DESTINATION_VERSION: &str = "1.0";
/// The version of the flat shape of `revenue.adjusted`.
pub const REVENUE_VERSION: &str = "1.0";
/// The version of the flat shape of `alarm.*`.
pub const ALARM_VERSION: &str = "1.0";

/// Returns the type, version and schema of each documented event.
pub fn all() -> Vec<(&'static str, &'static str, Value)> {
    let purchase = (
        PURCHASE_UPDATED,
        PURCHASE_VERSION,
        named::<PurchaseBody<'_>>(PURCHASE_UPDATED),
    );
    let of_users = TransitionKind::ALL
        .iter()
        .map(|what| what.event_type())
        .chain(TRANSFERS);
    let users = of_users.map(|name| (name, USER_VERSION, of_user(name)));
    let destinations =
        ABOUT_DESTINATIONS.map(|name| (name, DESTINATION_VERSION, typed::<DestinationBody>(name)));
    let alarms = ABOUT_ALARMS.map(|name| (name, ALARM_VERSION, typed::<AlarmBody>(name)));
    let erased = (USER_ERASED, USER_VERSION, typed::<ErasedBody>(USER_ERASED));
    let revenue = (
        REVENUE_ADJUSTED,
        REVENUE_VERSION,
        typed::<RevenueBody>(REVENUE_ADJUSTED),
    );
    let about_users = users.chain([erased, revenue]);
    std::iter::once(purchase)
        .chain(about_users)
        .chain(destinations)
        .chain(alarms)
        .chain(devices())
        .collect()
}

/// Returns the type, version and schema of each device event.
fn devices() -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    DeviceEventKind::ALL.iter().map(|kind| {
        let name = kind.as_str();
        let mut schema = match kind {
            DeviceEventKind::SessionStart => named::<DeviceBody<SessionStartData>>(name),
            DeviceEventKind::SessionEnd => named::<DeviceBody<SessionEndData>>(name),
            DeviceEventKind::Impression => named::<DeviceBody<ImpressionData>>(name),
            DeviceEventKind::Transaction => named::<DeviceBody<TransactionData>>(name),
        };
        if let Some(field) = schema.pointer_mut("/$defs/DeviceAttributes/properties/event_type") {
            *field =
                json!({ "type": "string", "description": "Type of the event.", "const": name });
        }
        (name, DEVICE_VERSION, schema)
    })
}

/// Returns the schema of a `user.*` event. Only the events of a transfer have the field `transfer_id`.
fn of_user(event_type: &str) -> Value {
    let mut schema = typed::<UserBody>(event_type);
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    if let Some(properties) = properties.filter(|_| !TRANSFERS.contains(&event_type)) {
        properties.remove("transfer_id");
    }
    schema
}

/// Returns the schema of a flat body, for one event type.
fn typed<Body: JsonSchema>(event_type: &str) -> Value {
    let mut schema = named::<Body>(event_type);
    if let Some(Value::Object(field)) = schema.pointer_mut("/properties/event_type") {
        field.insert("const".to_owned(), json!(event_type));
    }
    schema
}

/// Returns the schema of a body, with the event type as its title.
fn named<Body: JsonSchema>(event_type: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let widths = RecursiveTransform(drop_width as fn(&mut Schema));
    let mut schema = settings
        .with_transform(widths)
        .into_generator()
        .into_root_schema_for::<Body>();
    schema.insert("title".to_owned(), json!(event_type));
    schema.to_value()
}

/// Removes the width of integers: only formats that draft 2020-12 defines stay.
fn drop_width(schema: &mut Schema) {
    if schema
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.contains("int"))
    {
        schema.remove("format");
    }
}
