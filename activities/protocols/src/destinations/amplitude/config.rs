//! Creates, changes and parses the settings of an Amplitude destination, called an integration.

use super::keys::{Key, Keys};
use super::settings::{Endpoint, Settings};
use crate::destinations::allowed::Allowed;
use crate::destinations::changes::{ChangedSettings, NewSettings};
use crate::destinations::invalid::Invalid;
use crate::destinations::notes::TestNotes;
use crate::destinations::schedule::{DEFAULT_WAITS_SECONDS, Schedule, Step};
use crate::destinations::settings;
use domain::event::Wildcards;
use domain::user::Attributes;
use secrecy::SecretString;
use serde_json::{Map, Value};
use storage::{Destination, Traits};
use url::Url;

/// Maximum and default number of requests per second. Amplitude's limit is 100; the margin of 10 % allows for requests
/// that arrive closer together than they were sent.
pub const RATE: i64 = 90;
/// Amplitude's recommended number of events in one request.
const PER_REQUEST: i64 = 10;
/// The error for an unknown field. The caller has removed the fields that every kind of destination has.
const NO_FIELD: &str = "no such field";

/// The configuration of an integration. Its debug output hides the keys.
#[derive(Debug, Clone)]
pub struct Config {
    /// The URL to which events are sent.
    pub(super) events: Url,
    /// The URL of the search for users, which a connection test calls.
    pub(super) search: Url,
    /// Whether the operator chose these URLs.
    pub(super) is_operator_url: bool,
    /// The project's minimum length of a user or device id.
    pub(super) min_id_length: u64,
    pub(super) keys: Keys,
    pub(super) schedule: Schedule,
    /// Whether `schedule` is the default one. Its last wait, a day, repeats until [`super::GIVES_UP_AFTER`].
    has_default_schedule: bool,
}

impl Config {
    /// Returns how long to wait after a failed attempt, in milliseconds; `None` if it was the last attempt.
    ///
    /// The default schedule has no last attempt: recoveries bring attempts forward, so the number of attempts does not
    /// show how much time has passed.
    pub(super) fn wait_ms(
        &self,
        step: Step,
        retry_after_ms: Option<i64>,
        jitter: f64,
    ) -> Option<i64> {
        let last = i64::try_from(DEFAULT_WAITS_SECONDS.len()).unwrap_or(i64::MAX);
        let number = if self.has_default_schedule {
            step.number.min(last)
        } else {
            step.number
        };
        self.schedule
            .wait_ms(Step { number, ..step }, retry_after_ms, jitter)
    }
}

/// Builds a new integration from the fields of a request.
///
/// # Errors
/// Returns every invalid field. No error repeats a key.
pub fn create(fields: &Map<String, Value>, allowed: &Allowed) -> Result<NewSettings, Vec<Invalid>> {
    let (settings, secret) = apply(Settings::default(), Keys::default(), fields, allowed)?;
    let profile = profile(&settings);
    let (wildcards, per_request) = (Wildcards::Listed, PER_REQUEST);
    let traits = Traits {
        wildcards,
        per_user: true,
        per_request,
        profile,
        per_app: None,
    };
    Ok(NewSettings {
        settings,
        secret,
        shown: Vec::new(),
        traits,
    })
}

/// Changes the fields that the request contains and keeps the others. Null removes a key, or resets a setting to its
/// default.
///
/// # Errors
/// Returns every invalid field. No error repeats a key.
pub fn change(
    settings: &Value,
    secret: &SecretString,
    fields: &Map<String, Value>,
    allowed: &Allowed,
) -> Result<ChangedSettings, Vec<Invalid>> {
    let settings = settings::read(settings).map_err(|wrong| vec![wrong])?;
    let (settings, secret) = apply(settings, Keys::from_json(secret), fields, allowed)?;
    let profile = profile(&settings);
    Ok(ChangedSettings {
        settings,
        secret,
        shown: Vec::new(),
        profile,
    })
}

/// Builds the configuration of a stored integration.
///
/// # Errors
/// Returns the first setting or key that is unusable.
pub fn ready(
    destination: &Destination,
    secret: &SecretString,
    allowed: &Allowed,
) -> Result<Config, Invalid> {
    let settings: Settings = settings::read(&destination.settings)?;
    let keys = Keys::from_json(secret);
    check_keys(&keys)?;
    let endpoint = settings.endpoint.ok_or_else(no_endpoint)?;
    let (events, search) = endpoint.urls(allowed).ok_or_else(not_allowed)?;
    let own_schedule = destination
        .schedule
        .as_deref()
        .filter(|waits| !waits.is_empty());
    Ok(Config {
        events,
        search,
        is_operator_url: matches!(endpoint, Endpoint::Other(_)),
        min_id_length: settings.min_id_length,
        keys,
        schedule: Schedule::new(own_schedule),
        has_default_schedule: own_schedule.is_none(),
    })
}

/// Returns why the operator's settings allow no request to a stored integration; `None` if they do.
pub fn refusal(destination: &Destination, allowed: &Allowed) -> Option<Invalid> {
    let endpoint = read(&destination.settings).ok()?.endpoint?;
    endpoint.urls(allowed).is_none().then(not_allowed)
}

/// Returns the URLs that the operator allows besides Amplitude's regions, in their stored form.
pub fn endpoints(allowed: &Allowed) -> Vec<String> {
    Endpoint::of_operator(allowed)
}

fn not_allowed() -> Invalid {
    let expected = "a URL whose origin the setting `amplitude.allowed_urls` (SETTLE_AMPLITUDE_ALLOWED_URLS) names";
    Invalid::new("endpoint", expected)
}

/// Returns the warning that sandbox events are skipped, if there is no key for them.
pub fn sandbox_warning(settings: &Value) -> Option<&'static str> {
    let is_covered = read(settings).is_ok_and(|settings| settings.keys.has(Key::Sandbox));
    (!is_covered).then_some(
        "the app has a sandbox platform, but without a `sandbox_api_key` the events of its purchases are skipped",
    )
}

/// Returns the effect of a connection test, and the key that is missing for it.
pub fn test_notes(settings: &Value) -> TestNotes {
    let has_key = read(settings).is_ok_and(|settings| settings.keys.has(Key::Secret));
    TestNotes {
        what: "Checks the API Key and the Secret Key by searching for a user who does not exist. No event is sent.",
        takes_sample: false,
        lacks: (!has_key).then_some("Secret Key"),
    }
}

/// Redacts our keys in a text from Amplitude.
pub fn redact(config: &Config, text: &str) -> String {
    config.keys.redact(text)
}

pub(super) fn read(stored: &Value) -> Result<Settings, Invalid> {
    settings::read(stored)
}

/// Returns the user attributes that these settings select.
fn profile(settings: &Value) -> Option<Attributes> {
    read(settings).ok().map(|settings| settings.user_properties)
}

fn apply(
    mut settings: Settings,
    mut keys: Keys,
    fields: &Map<String, Value>,
    allowed: &Allowed,
) -> Result<(Value, SecretString), Vec<Invalid>> {
    let mut wrong = Vec::new();
    for (name, value) in fields {
        let key = || {
            keys.set(name, value)
                .unwrap_or(Err(NO_FIELD))
                .map_err(str::to_owned)
        };
        let set = settings.set(name, value, allowed).unwrap_or_else(key);
        wrong.extend(set.err().map(|expected| Invalid::new(name, expected)));
    }
    let is_wrong = |wrong: &[Invalid], name: &str| wrong.iter().any(|one| one.field == name);
    if settings.endpoint.is_none() && !is_wrong(&wrong, "endpoint") {
        wrong.push(no_endpoint());
    }
    if !is_wrong(&wrong, Key::Production.name()) && !is_wrong(&wrong, Key::Sandbox.name()) {
        wrong.extend(check_keys(&keys).err());
    }
    settings.keys = keys.stored();
    match serde_json::to_value(settings) {
        Ok(settings) if wrong.is_empty() => Ok((settings, keys.to_json())),
        // The JSON of settings and keys always serializes, so `wrong` is not empty here.
        Ok(_) | Err(_) => Err(wrong),
    }
}

fn no_endpoint() -> Invalid {
    Invalid::new("endpoint", "`standard` or `eu`, the region of the project")
}

/// Checks that there is an API key, and that the production and sandbox keys differ.
fn check_keys(keys: &Keys) -> Result<(), Invalid> {
    match (keys.get(Key::Production), keys.get(Key::Sandbox)) {
        (None, None) => Err(Invalid::new(
            "api_key",
            "the API key of the project, or a `sandbox_api_key`",
        )),
        (Some(one), Some(other)) if one == other => Err(Invalid::new(
            "sandbox_api_key",
            "the API key of a project other than that of `api_key`",
        )),
        _ => Ok(()),
    }
}
