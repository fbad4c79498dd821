//! The request of one attempt: frozen events, the API key for their environment and, per event, the flag that leaves
//! the user's properties unchanged.

use super::body::{Frozen, batch_size};
use super::config::Config;
use super::keys::Key;
use super::settings::DEFAULT_MIN_ID_LENGTH;
use crate::destinations::invalid::Invalid;
use crate::http::{Method, REPLY_BYTES, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Environment;
use domain::event::PURCHASE_UPDATED;
use serde_json::{Value, json};
use storage::Attempt;

const USER_AGENT: &str = concat!("settle/", env!("CARGO_PKG_VERSION"));
/// The headers of a request with events.
pub const HEADERS: [(&str, &str); 2] = [
    ("content-type", "application/json"),
    ("user-agent", USER_AGENT),
];
/// The id that a connection test searches for. No user has it.
const NOBODY: &str = "settle-connection-test";

/// Returns the request with these events in their order. The first event of another environment and all events after it
/// are left out, and retried at once (see [`super::response::judge`]). Equal attempts give equal bytes.
///
/// # Errors
/// The API key of their environment is not set, or a body was not frozen for Amplitude.
pub fn request(config: &Config, attempts: &[Attempt]) -> Result<Request, Invalid> {
    let count = batch_size(attempts.iter().map(|attempt| attempt.body.as_str()));
    let mut environment = Environment::default();
    let mut events = Vec::with_capacity(count);
    for attempt in attempts.iter().take(count) {
        let frozen = Frozen::read(&attempt.body)
            .ok_or_else(|| Invalid::new("body", "an event frozen for Amplitude"))?;
        environment = frozen.environment();
        events.push(event(attempt, frozen));
    }
    let key = Key::of(environment);
    let expected = || Invalid::new(key.name(), "a key: an event is to go to its project");
    let api_key = config.keys.get(key).ok_or_else(expected)?;
    let mut body = json!({ "api_key": api_key, "events": events });
    if config.min_id_length != DEFAULT_MIN_ID_LENGTH {
        body["options"] = json!({ "min_id_length": config.min_id_length });
    }
    Ok(Request {
        method: Method::Post,
        url: config.events.clone(),
        headers: HEADERS
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        body: body.to_string().into_bytes(),
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: config.is_operator_url,
        app: None,
    })
}

/// Returns why an event can never be sent: the API key for its environment was removed after the event was frozen.
/// `None` if the key is set.
pub fn lacks_key(config: &Config, attempt: &Attempt) -> Option<String> {
    let key = Key::of(Frozen::read(&attempt.body)?.environment());
    let is_lacking = config.keys.get(key).is_none();
    is_lacking.then(|| {
        format!(
            "the `{}` was removed, and it must not be sent to another project",
            key.name()
        )
    })
}

/// Returns the event as it is sent. Its user properties are left unchanged if a newer state of the user was already
/// sent, or if the event carries none. This is decided at each attempt.
fn event(attempt: &Attempt, frozen: Frozen) -> Value {
    let mut event = frozen.event;
    if attempt.is_stale || attempt.event_type == PURCHASE_UPDATED {
        event.insert("$skip_user_properties_sync".to_owned(), json!(true));
    }
    Value::Object(event)
}

/// Returns a search for a user who does not exist. Its response shows whether the keys are valid. It sends no event.
///
/// # Errors
/// The secret key is not set; without it Amplitude accepts only events.
pub fn test(config: &Config) -> Result<Request, Invalid> {
    let expected = || {
        Invalid::new(
            "secret_key",
            "a secret key: only with it can the connection be tested",
        )
    };
    let basic = config.keys.basic().ok_or_else(expected)?;
    let mut url = config.search.clone();
    url.query_pairs_mut().append_pair("user", NOBODY);
    Ok(Request {
        method: Method::Get,
        url,
        headers: vec![
            (
                "authorization".to_owned(),
                format!("Basic {}", STANDARD.encode(basic)),
            ),
            ("user-agent".to_owned(), USER_AGENT.to_owned()),
        ],
        body: Vec::new(),
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: config.is_operator_url,
        app: None,
    })
}
