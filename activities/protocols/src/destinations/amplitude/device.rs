//! A device event in Amplitude's format. It contains no user properties and no revenue: purchase events report the
//! payments.

use super::body::{MAX_BYTES, VALID_TIMES, VERSION};
use super::caps::Caps;
use super::config;
use super::identity;
use super::keys::Key;
use super::settings::{Settings, UserIdSource};
use crate::destinations::unnamed::WithoutExternalId;
use domain::device::without_receipts;
use domain::{Environment, Timestamp};
use serde_json::{Map, Value, json};
use storage::{Destination, Rendered, StreamedEvent};

/// Fields of `data` that are sent as other fields of the event.
const ELSEWHERE: [&str; 5] = [
    "device",
    "external_id",
    "session_id",
    "session_started_at",
    "user_id",
];
/// The field of the price, which is a text in `data` and a number here, so that Amplitude can compute with it.
const PRICE: &str = "purchase_price";

/// Renders a device event, or returns why it is not sent yet, or never will be.
pub fn render(destination: &Destination, event: &StreamedEvent) -> Rendered {
    let settings = match config::read(&destination.settings) {
        Ok(settings) => settings,
        Err(wrong) => {
            return Rendered::Refuse {
                why: wrong.to_string(),
            };
        }
    };
    let Ok(body) = serde_json::from_str(&event.body).map(without_receipts) else {
        return Rendered::Refuse {
            why: "retention removed the body of the event".to_owned(),
        };
    };
    let key = Key::of(event.environment);
    if !settings.keys.has(key) {
        let why = format!(
            "its platform is in the environment {}, and no {} is set",
            event.environment.as_str(),
            key.label()
        );
        return Rendered::Skip { why };
    }
    let user_id = match user_id(&settings, &body["data"]) {
        Ok(user_id) => user_id,
        Err(rendered) => return rendered,
    };
    let frozen = json!({
        "sandbox": event.environment == Environment::Sandbox,
        "event": fields(&settings, event, &body["data"], user_id),
    });
    let body = frozen.to_string();
    if body.len() > MAX_BYTES {
        return Rendered::Refuse {
            why: format!("the event is longer than {MAX_BYTES} bytes"),
        };
    }
    Rendered::Body(body)
}

/// Returns the customer's id. The device API key is public, so an external id that Amplitude would refuse counts as
/// none; otherwise it would hold up the other events of its request. Without a login the event has only the device's
/// id: the device's user may not be the store's customer, who has the same device id, and Amplitude assigns the event
/// to that customer.
fn user_id(settings: &Settings, data: &Value) -> Result<Option<Value>, Rendered> {
    let external_id = data["external_id"]
        .as_str()
        .filter(|id| identity::is_usable(settings, id));
    match (settings.user_id, external_id, settings.without_external_id) {
        (UserIdSource::UserId, ..) => Ok(data["external_id"]
            .is_string()
            .then(|| data["user_id"].clone())),
        (UserIdSource::ExternalId, Some(id), _) => Ok(Some(json!(id))),
        (UserIdSource::ExternalId, None, WithoutExternalId::Send) => Ok(None),
        // The user who logs in later need not be the one who used the device at the time of the event.
        (UserIdSource::ExternalId, None, WithoutExternalId::Wait | WithoutExternalId::Skip) => {
            Err(Rendered::Skip {
                why: "nobody was logged in on the device".to_owned(),
            })
        }
    }
}

fn fields(
    settings: &Settings,
    event: &StreamedEvent,
    data: &Value,
    user_id: Option<Value>,
) -> Map<String, Value> {
    let mut caps = Caps::default();
    let device = &data["device"];
    // The device API key is public: an id that Amplitude refuses would hold up the other events of its request.
    let own = device["analytics_device_id"]
        .as_str()
        .filter(|id| identity::is_usable(settings, id));
    let mut text = |value: &Value| value.as_str().map(|text| json!(caps.text(text)));
    let session = data["session_started_at"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .map(millis);
    let mut fields = Map::new();
    fields.insert("event_type".to_owned(), json!(event.event_type));
    fields.insert("insert_id".to_owned(), json!(event.id));
    fields.insert(
        "time".to_owned(),
        json!(millis(event.occurred_at).clamp(*VALID_TIMES.start(), *VALID_TIMES.end())),
    );
    fields.insert("library".to_owned(), json!(format!("settle/{VERSION}")));
    fields.insert(
        "ingestion_metadata".to_owned(),
        json!({ "source_name": "settle", "source_version": VERSION }),
    );
    fields.extend(
        settings
            .partner_id
            .as_ref()
            .map(|id| ("partner_id".to_owned(), json!(id))),
    );
    fields.insert(
        "device_id".to_owned(),
        own.map_or_else(|| device["id"].clone(), |own| json!(own)),
    );
    fields.extend(user_id.map(|user_id| ("user_id".to_owned(), user_id)));
    // Amplitude identifies a session by its start time.
    fields.extend(session.map(|session| ("session_id".to_owned(), json!(session))));
    for (name, value) in [
        ("platform", &device["platform_type"]),
        ("app_version", &device["app_version"]),
        ("os_name", &device["os"]["name"]),
        ("os_version", &device["os"]["version"]),
        ("country", &data["purchase_country"]),
    ] {
        fields.extend(text(value).map(|value| (name.to_owned(), value)));
    }
    fields.insert(
        "event_properties".to_owned(),
        Value::Object(properties(event, data)),
    );
    fields
}

/// Returns the known properties of the event.
fn properties(event: &StreamedEvent, data: &Value) -> Map<String, Value> {
    let mut properties = Map::new();
    properties.insert("environment".to_owned(), json!(event.environment.as_str()));
    for (name, value) in data.as_object().into_iter().flatten() {
        if value.is_null() || ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        let number = value
            .as_str()
            .filter(|_| name == PRICE)
            .and_then(|text| text.parse::<f64>().ok());
        properties.insert(
            name.clone(),
            number.map_or_else(|| value.clone(), |number| json!(number)),
        );
    }
    properties
}

const fn millis(time: Timestamp) -> i64 {
    time.micros().div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(fields: &Value) -> Settings {
        serde_json::from_value(fields.clone()).expect("settings")
    }

    #[test]
    fn the_user_is_who_was_logged_in() {
        let anna = json!({ "external_id": "anna@example.com", "user_id": "4711" });
        for (without, nobody_is_skipped) in [("send", false), ("wait", true), ("skip", true)] {
            let by_name =
                settings(&json!({ "user_id": "external_id", "without_external_id": without }));
            assert_eq!(
                user_id(&by_name, &anna).ok().flatten(),
                Some(json!("anna@example.com")),
                "{without}"
            );
            for nobody in [
                json!({ "external_id": null, "user_id": "4711" }),
                json!({ "external_id": "null", "user_id": "1" }),
            ] {
                match user_id(&by_name, &nobody) {
                    Ok(id) => assert_eq!((id, nobody_is_skipped), (None, false)),
                    Err(Rendered::Skip { why }) => {
                        assert!(nobody_is_skipped && why.contains("logged in"), "{why}")
                    }
                    Err(_) => panic!("{without}: neither sent nor skipped"),
                }
            }
            let by_ours =
                settings(&json!({ "user_id": "user_id", "without_external_id": without }));
            assert_eq!(user_id(&by_ours, &anna).ok().flatten(), Some(json!("4711")));
            let nobody = json!({ "external_id": null, "user_id": "4711" });
            assert_eq!(
                user_id(&by_ours, &nobody).ok(),
                Some(None),
                "{without}: the device's id stands alone"
            );
        }
    }
}
