//! The request of one attempt: the body, which is the same in all attempts, and the headers with its signatures.

use super::body;
use super::config::Config;
use crate::destinations::invalid::Invalid;
use crate::destinations::notes::TestNotes;
use crate::http::{Method, REPLY_BYTES, Request};
use domain::{DeliveryId, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use storage::Attempt;

const USER_AGENT: &str = concat!("settle/", env!("CARGO_PKG_VERSION"));
/// The names of the headers that every request has.
const STANDARD: [&str; 5] = [
    "content-type",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];
pub const TEST_NOTES: TestNotes = TestNotes {
    what: "Sends a signed request without an event, or with a sample event, and shows the result.",
    takes_sample: true,
    lacks: None,
};
/// The prefix of a test's `webhook-id`. No event's id has this prefix.
const TEST: &str = "test_";

/// Returns the signed request with one event. `at` is the time of this attempt. `webhook-id` is the same in all
/// attempts.
///
/// # Errors
/// Fails unless there is exactly one event, or if a key cannot sign.
pub fn request(config: &Config, at: Timestamp, attempts: &[Attempt]) -> Result<Request, Invalid> {
    let [attempt] = attempts else {
        return Err(Invalid::new(
            "attempts",
            "one event: a webhook takes them one by one",
        ));
    };
    sign(config, at, &attempt.delivery_id.to_string(), &attempt.body)
}

/// Returns the signed request with device events: a single event as an object or, for a destination with batches, all
/// events in one body with the [`batch_id`] as its `webhook-id`.
///
/// # Errors
/// Fails if there is no event, or if a key cannot sign.
pub fn streamed(config: &Config, at: Timestamp, attempts: &[Attempt]) -> Result<Request, Invalid> {
    let Some(id) = batch_id(config, attempts) else {
        return request(config, at, attempts);
    };
    let bodies: Vec<&str> = attempts
        .iter()
        .map(|attempt| attempt.body.as_str())
        .collect();
    sign(
        config,
        at,
        &id.to_string(),
        &body::batch(config.body, &bodies),
    )
}

/// Returns the `webhook-id` of a batch, computed from its deliveries; `None` for a single event to a destination
/// without batches. Several events are always a batch, even if the setting has changed since the batch was first sent.
pub fn batch_id(config: &Config, attempts: &[Attempt]) -> Option<DeliveryId> {
    if attempts.is_empty() || (config.device_batch <= 1 && attempts.len() == 1) {
        return None;
    }
    let members: Vec<DeliveryId> = attempts.iter().map(|attempt| attempt.delivery_id).collect();
    Some(DeliveryId::of_batch(&members))
}

/// Returns a signed request without a customer's event. Its body is `sample` or, without one, an event of the type
/// `test`. Its `webhook-id` begins with `test_`, and its header `webhook-test` is `true`.
///
/// # Errors
/// Fails if the id is empty or has a dot or an invisible character, or if a key cannot sign.
pub fn test(
    config: &Config,
    at: Timestamp,
    id: &str,
    sample: Option<&Value>,
) -> Result<Request, Invalid> {
    let id = format!("{TEST}{}", id.strip_prefix(TEST).unwrap_or(id));
    let data = json!({"message": "A test of this endpoint. It carries no event."});
    let bare = || json!({"type": "test", "id": id, "timestamp": at, "data": data});
    let body = match sample {
        Some(event) => body::sample(config.body, event),
        None => body::shaped(config.body, "test", bare()),
    };
    let mut request = sign(config, at, &id, &body.to_string())?;
    request
        .headers
        .push(("webhook-test".to_owned(), "true".to_owned()));
    Ok(request)
}

/// Returns the names of the headers of a request.
pub fn header_names(config: &Config) -> Vec<String> {
    let own = config.headers.iter().map(|(name, _)| name.as_str());
    STANDARD.into_iter().chain(own).map(str::to_owned).collect()
}

fn sign(config: &Config, at: Timestamp, id: &str, body: &str) -> Result<Request, Invalid> {
    let is_visible = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_visible || id.contains('.') {
        return Err(Invalid::new(
            "webhook-id",
            "an id of visible characters without a dot",
        ));
    }
    let timestamp = at.micros().div_euclid(1_000_000).max(0).to_string();
    let text = format!("{id}.{timestamp}.{body}");
    let live = config
        .keys
        .iter()
        .filter(|(_, until)| until.is_none_or(|until| until > at));
    let signatures = live
        .map(|(key, _)| key.sign(&text))
        .collect::<Vec<_>>()
        .join(" ");
    let values = [
        "application/json".to_owned(),
        USER_AGENT.to_owned(),
        id.to_owned(),
        signatures,
        timestamp,
    ];
    let standard = STANDARD.into_iter().zip(values);
    let additional = config
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
    let headers = standard
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(additional)
        .collect();
    let (url, body) = (config.url.clone(), body.as_bytes().to_vec());
    Ok(Request {
        method: Method::Post,
        url,
        headers,
        body,
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: config.is_operator_url,
        app: None,
    })
}
