//! A request of a device: what it describes of itself, and its events. An event that is wrong is left out and named in
//! the answer; the others of its request are taken, so that no client sends one wrong event for ever.

use crate::error::{Error, Field};
use crate::extract::{Draft, drafted};
use domain::device::{Content, Device, ReportedEvent};
use domain::{DeviceId, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{DeviceReport, DeviceRequest};
use tokio::time::Instant;

/// The version of UUIDs that are random.
const RANDOM: usize = 4;
/// Maximum size of an event in bytes.
const MAX_EVENT_BYTES: usize = 16 * 1024;

/// What a device reports.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "device": {
        "id": "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11", "first_launch": "2026-03-01T11:58:00Z", "app_version": "3.1.0",
        "os": { "name": "fireos", "version": "8" }, "sdk_version": "web/1",
    },
    "sent_at": "2026-03-01T12:00:05Z",
    "events": [{
        "id": "1", "type": "device.impression", "time": "2026-03-01T12:00:04Z", "impression": { "paywall": "summer" },
    }],
}]))]
pub struct DeviceEvents {
    /// The device.
    pub device: Device,
    /// When the device sends the request, by its own clock: the times of its events are corrected by the difference.
    sent_at: Timestamp,
    /// The events, in the order in which they happened; each has at most 16 KiB.
    #[schemars(with = "Vec<ReportedEvent>", length(max = 500), extend("x-each" = true))]
    events: Vec<Value>,
}

/// What became durable of a request.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Receipt {
    /// Number of events that are stored now.
    pub accepted: usize,
    /// Number of events that were stored before, and of ends of sessions that had ended.
    pub repeated: usize,
    /// The events that are wrong, and are not stored: sending them again is no use.
    pub rejected: Vec<RejectedEvent>,
}

/// An event that is wrong.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RejectedEvent {
    /// Its place in the request, from 0.
    pub index: usize,
    /// What is wrong.
    pub errors: Vec<Field>,
}

/// A request without its wrong events.
#[derive(Debug)]
pub struct Checked {
    /// What is to be stored.
    pub request: DeviceRequest,
    /// Its wrong events.
    pub rejected: Vec<RejectedEvent>,
}

/// Checks a request of a platform's device.
///
/// # Errors
/// A field outside of the events is wrong.
pub fn check(platform: PlatformId, draft: Draft<DeviceEvents>, received_at: Instant) -> Result<Checked, Error> {
    let Draft { body: DeviceEvents { device, sent_at, events }, mut wrong } = draft;
    if !wrong.has("device.id") && !is_random(device.id) {
        wrong.add("device.id", "a random UUID (version 4) that the app made at its first launch");
    }
    wrong.finish()?;
    let (mut reports, mut rejected) = (Vec::with_capacity(events.len()), Vec::new());
    for (index, event) in events.into_iter().enumerate() {
        match report(event) {
            Ok(report) => reports.push(report),
            Err(errors) => rejected.push(RejectedEvent { index, errors }),
        }
    }
    Ok(Checked { request: DeviceRequest { platform, device, sent_at, received_at, reports }, rejected })
}

/// Whether an id was made at random: nobody guesses the id of another device.
#[must_use]
pub fn is_random(id: DeviceId) -> bool {
    id.uuid().get_version_num() == RANDOM
}

fn report(event: Value) -> Result<DeviceReport, Vec<Field>> {
    let field = |field: &str, expected: &str| vec![Field { field: field.to_owned(), expected: expected.to_owned() }];
    let Value::Object(fields) = event else { return Err(field("event", "an object")) };
    if serde_json::to_string(&fields).is_ok_and(|text| text.len() > MAX_EVENT_BYTES) {
        return Err(field("event", "at most 16 KiB"));
    }
    let event: ReportedEvent = match drafted(fields) {
        Ok(Draft { body, wrong }) if wrong.is_empty() => body,
        Ok(Draft { wrong, .. }) => return Err(wrong.into_fields()),
        Err(Error::Invalid(fields)) => return Err(fields),
        Err(_) => return Err(field("event", "fields that fit together")),
    };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
    if !event.id.chars().all(is_plain) {
        return Err(field("id", "letters, digits and `-_.:` alone"));
    }
    let content = event.content().map_err(|wrong| field(wrong.field, wrong.expected))?;
    if let Content::Transaction(transaction) = &content
        && transaction.price.is_some() != transaction.currency.is_some()
    {
        return Err(field("transaction.currency", "the currency of the price, and none without a price"));
    }
    Ok(DeviceReport { client_id: event.id, time: event.time, session: event.session_id, content })
}
