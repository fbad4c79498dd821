//! The settings, the bytes on the wire checked by a reference verifier, and the verdicts on replies.

mod batches;
mod bodies;
mod response;
mod settings;
mod signatures;
mod slack;
mod streamed;

use super::config::{Config, create, ready};
use super::request::request;
use crate::destinations::{Allowed, ChangedSettings, NewSettings};
use crate::http::Request;
use domain::event::Wildcards;
use domain::{AppId, DeliveryId, DestinationId, EventId, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use storage::{Attempt, Destination, DestinationSettings};
use uuid::Uuid;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
const AT_SECONDS: i64 = 1_649_367_553;
const BODY: &str = r#"{"email":"test@example.com","username":"test_user"}"#;
const URL: &str = "https://example.com/hook";

fn at() -> Timestamp {
    Timestamp::from_micros(AT_SECONDS * 1_000_000 + 999_999)
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn created(input: &Value) -> NewSettings {
    create(&fields(input), &Allowed::default(), [7; 32]).unwrap()
}

fn destination(settings: Value, schedule: Option<Vec<i64>>) -> Destination {
    Destination {
        id: DestinationId::new(Uuid::nil()),
        app_id: AppId::new(Uuid::nil()),
        kind: super::KIND.to_owned(),
        common: DestinationSettings { schedule, ..DestinationSettings::new("") },
        wildcards: Wildcards::Everything,
        settings,
        per_user: false,
        per_request: 1,
        profile: None,
        state: domain::health::State::Healthy,
        reason: None,
        since: Timestamp::default(),
        created_at: Timestamp::default(),
    }
}

fn config_of(settings: &Value, secret: &SecretString) -> Config {
    ready(&destination(settings.clone(), None), secret, &Allowed::default()).unwrap()
}

fn after(changed: &ChangedSettings) -> Config {
    config_of(&changed.settings, &changed.secret)
}

/// A webhook with a URL and these fields.
fn config(more: &Value) -> Config {
    let mut input = json!({ "url": URL });
    input.as_object_mut().unwrap().extend(fields(more));
    let created = created(&input);
    config_of(&created.settings, &created.secret)
}

fn attempt(body: &str) -> Attempt {
    Attempt {
        delivery_id: DeliveryId::of(DestinationId::new(Uuid::nil()), EventId::new(Uuid::nil()), 0),
        event_id: EventId::new(Uuid::nil()),
        event_type: "purchase.updated".to_owned(),
        revision: 1,
        number: 1,
        refusals: 0,
        first_tried_at: None,
        is_stale: false,
        body: body.to_owned(),
        traceparent: None,
    }
}

fn sent(config: &Config, at: Timestamp, body: &str) -> Request {
    request(config, at, &[attempt(body)]).unwrap()
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let mut found = request.headers.iter().filter(|(known, _)| known == name);
    let (_, value) = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "{name} twice");
    value
}

fn shown(list: &[(&'static str, SecretString)]) -> Vec<(&'static str, String)> {
    list.iter().map(|(name, value)| (*name, value.expose_secret().to_owned())).collect()
}
