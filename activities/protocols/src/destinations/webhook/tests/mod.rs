//! The settings, the requests as a reference verifier checks them, and the verdicts on replies.

mod batches;
mod bodies;
mod response;
mod secret_urls;
mod settings;
mod signatures;
mod slack;
mod streamed;

use super::config::{Config, create, ready};
use super::request::request;
use crate::destinations::tests::{self, attempt};
use crate::destinations::{Allowed, ChangedSettings, NewSettings};
use crate::http::Request;
use domain::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use storage::{Destination, DestinationSettings};

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
    let common = DestinationSettings {
        schedule,
        ..DestinationSettings::new("")
    };
    Destination {
        common,
        ..tests::destination(super::KIND, settings)
    }
}

fn config_of(settings: &Value, secret: &SecretString) -> Config {
    ready(
        &destination(settings.clone(), None),
        secret,
        &Allowed::default(),
    )
    .unwrap()
}

fn after(changed: &ChangedSettings) -> Config {
    config_of(&changed.settings, &changed.secret)
}

/// Returns the configuration of a webhook with a URL and these fields.
fn config(more: &Value) -> Config {
    let mut input = json!({ "url": URL });
    input.as_object_mut().unwrap().extend(fields(more));
    let created = created(&input);
    config_of(&created.settings, &created.secret)
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
    list.iter()
        .map(|(name, value)| (*name, value.expose_secret().to_owned()))
        .collect()
}
