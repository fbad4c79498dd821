//! A device's request: the device's description and its events. Invalid events and invalid optional parts are left out
//! and listed in the response, and the rest of the request is accepted, so that no client repeats one invalid event
//! forever.

use super::ornaments;
use super::signed::{self, ReadSigned};
use crate::devices::address::site;
use crate::error::{Error, Field};
use crate::extract::{Budget, Draft, FieldErrors, Listed, part_by, schema};
use crate::resources::store_customer::{self, NO_CUSTOMER, requiring_customers};
use domain::device::{Content, Device, ReportedEvent};
use domain::stores::Proof;
use domain::{DeviceId, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::LazyLock;
use storage::{Claiming, DeviceReport, DeviceRequest, SecretHash};
use tokio::time::Instant;

/// Version of random UUIDs.
const RANDOM: usize = 4;
/// Maximum size of an event in bytes, without unnecessary whitespace and escapes; and as received.
const MAX_EVENT_BYTES: usize = 16 * 1024;
const MAX_WRITTEN_BYTES: usize = 4 * MAX_EVENT_BYTES;
/// Maximum size of an event as received, if it may contain signed transactions. Without those it has the usual size.
const MAX_SIGNED_EVENT_BYTES: usize = 128 * 1024;
/// Field with the list of events, which are read one by one.
pub const EVENTS: &str = "events";

/// Schema of an event for a platform whose store confirms pairs of customer and receipt.
static WITH_CUSTOMERS: LazyLock<Value> = LazyLock::new(requiring_customers::<ReportedEvent>);

/// Field of a device that is left out if it is invalid.
pub const ANALYTICS_DEVICE_ID: &str = "device.analytics_device_id";

/// A report of events on a device.
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
    /// Device that reports.
    pub device: Device,
    /// When the device sends the request, by its own clock. Event times are corrected by the difference to the server's
    /// clock.
    sent_at: Timestamp,
    /// Events in the order in which they occurred; at most 16 KiB each.
    #[expect(dead_code, reason = "its items are read one by one, from their text")]
    #[schemars(with = "Vec<ReportedEvent>", length(max = 500), extend("x-each" = true))]
    events: Vec<Value>,
}

/// Result of a device report.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Receipt {
    /// Number of newly stored events.
    pub accepted: usize,
    /// Number of events that were already stored, including ends of sessions that had already ended.
    pub repeated: usize,
    /// Invalid events, which are not stored. Sending them again does not help.
    pub rejected: Vec<RejectedEvent>,
    /// Invalid optional parts; the rest is stored without them. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// Optional parts of a request that are invalid and were left out.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LeftOut {
    /// Index of the event in the request, from 0; absent for parts of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// Errors of these parts.
    pub errors: Vec<Field>,
}

/// An invalid event.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RejectedEvent {
    /// Index of the event in the request, from 0.
    pub index: usize,
    /// Errors of the event. After a hundred fields in one request, `…` stands for the rest and further events have
    /// none.
    pub errors: Vec<Field>,
}

/// A request without its invalid events.
#[derive(Debug)]
pub struct Checked {
    pub request: DeviceRequest,
    pub rejected: Vec<RejectedEvent>,
    pub left_out: Vec<LeftOut>,
}

#[derive(Debug)]
pub struct ReportContext {
    /// Platform of the publishable key.
    pub platform: PlatformId,
    /// What proves a purchase at the platform's store.
    pub proof: Proof,
    pub secret: Option<SecretHash>,
    pub at: Instant,
    /// Whether new claims in the request are stored.
    pub claiming: Claiming,
    pub address: IpAddr,
}

/// Checks a device's request.
///
/// # Errors
/// An invalid field outside of the events.
pub fn check(
    context: ReportContext,
    listed: Listed<'_, DeviceEvents>,
    read: ReadSigned<'_>,
) -> Result<Checked, Error> {
    let Listed {
        draft:
            Draft {
                body: DeviceEvents {
                    device, sent_at, ..
                },
                mut wrong,
            },
        items: events,
    } = listed;
    if !wrong.has("device.id") && !is_random(device.id) {
        wrong.add(
            "device.id",
            "a random UUID (version 4) that the app generated at its first launch",
        );
    }
    let mut left_out = Vec::new();
    if let Some(error) = wrong.take(ANALYTICS_DEVICE_ID) {
        left_out.push(LeftOut {
            index: None,
            errors: vec![error],
        });
    }
    wrong.finish()?;
    let (mut reports, mut rejected) = (Vec::with_capacity(events.len()), Vec::new());
    let mut budget = Budget::default();
    for (index, event) in events.into_iter().enumerate() {
        let mut wrong = FieldErrors::within(budget);
        let report = report(event, context.proof, read, &mut wrong);
        budget = wrong.budget();
        let errors = wrong.into_fields();
        match report {
            Some(report) => {
                reports.push(report);
                if !errors.is_empty() {
                    left_out.push(LeftOut {
                        index: Some(index),
                        errors,
                    });
                }
            }
            None => rejected.push(RejectedEvent { index, errors }),
        }
    }
    let ReportContext {
        platform,
        proof: _,
        secret,
        at: received_at,
        claiming,
        address,
    } = context;
    let network = site(address).to_string();
    let request = DeviceRequest {
        platform,
        device,
        secret,
        sent_at,
        received_at,
        reports,
        claiming,
        network,
    };
    Ok(Checked {
        request,
        rejected,
        left_out,
    })
}

/// Returns whether an id is a random UUID, so that ids of other devices cannot be guessed.
pub fn is_random(id: DeviceId) -> bool {
    id.uuid().get_version_num() == RANDOM
}

/// Returns an event without its invalid optional parts, whose errors are added to `wrong`. `None` if the event itself
/// is invalid.
fn report(
    event: &RawValue,
    proof: Proof,
    read: ReadSigned<'_>,
    wrong: &mut FieldErrors,
) -> Option<DeviceReport> {
    let longest = match proof {
        Proof::Pair | Proof::Possession => MAX_WRITTEN_BYTES,
        Proof::Signed => MAX_SIGNED_EVENT_BYTES,
    };
    let mut fields = fields(event.get(), longest, wrong)?;
    let mut receipts = Vec::new();
    if proof == Proof::Signed {
        receipts = signed::take(&mut fields, read, wrong);
    }
    if is_large(&fields) {
        wrong.add("event", "at most 16 KiB");
        return None;
    }
    let (schema, unproving) = match proof {
        Proof::Pair => (&*WITH_CUSTOMERS, Vec::new()),
        Proof::Possession | Proof::Signed => {
            (schema::<ReportedEvent>(), take_customers(&mut fields))
        }
    };
    let event = readable(fields, schema, wrong)?;
    for field in unproving {
        wrong.add(&field, NO_CUSTOMER);
    }
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
    if !event.id.chars().all(is_plain) {
        wrong.add("id", "only letters, digits and `-_.:`");
        return None;
    }
    let mut content = event
        .content()
        .inspect_err(|error| wrong.add(error.field, error.expected))
        .ok()?;
    if let Content::Transaction(transaction) = &mut content
        && transaction.price.is_some() != transaction.currency.is_some()
    {
        wrong.add(
            "transaction.currency",
            "the currency of the price, and none without a price",
        );
        (transaction.price, transaction.currency) = (None, None);
    }
    Some(DeviceReport {
        client_id: event.id,
        time: event.time,
        session: event.session_id,
        signed: signed::listed(receipts, &content),
        content,
    })
}

fn is_large(fields: &Map<String, Value>) -> bool {
    serde_json::to_string(fields).is_ok_and(|text| text.len() > MAX_EVENT_BYTES)
}

/// Returns an event's fields as received, in at most this number of bytes.
fn fields(event: &str, longest: usize, wrong: &mut FieldErrors) -> Option<Map<String, Value>> {
    if event.len() > longest {
        wrong.add("event", "at most 16 KiB");
        return None;
    }
    match serde_json::from_str(event) {
        Ok(Value::Object(fields)) => return Some(fields),
        Ok(_) => wrong.add("event", "an object"),
        Err(error) => wrong.add("event", format!("an object ({error})")),
    }
    None
}

/// Removes the store's customer ids from an event, and returns the names of the fields that had one.
fn take_customers(event: &mut Map<String, Value>) -> Vec<String> {
    let mut fields = Vec::new();
    let receipts = event.get_mut("receipts").and_then(Value::as_array_mut);
    for (index, receipt) in receipts.into_iter().flatten().enumerate() {
        if receipt.as_object_mut().is_some_and(store_customer::take) {
            fields.push(format!("receipts[{index}].app_user_id"));
        }
    }
    let transaction = event.get_mut("transaction").and_then(Value::as_object_mut);
    if transaction.is_some_and(store_customer::take) {
        fields.push("transaction.app_user_id".to_owned());
    }
    fields
}

/// Reads an event, without its invalid optional parts if necessary.
fn readable(
    fields: Map<String, Value>,
    schema: &Value,
    wrong: &mut FieldErrors,
) -> Option<ReportedEvent> {
    let whole = fields.clone();
    let event = part_by(fields, schema, wrong);
    if wrong.is_empty() {
        return event;
    }
    let rest = ornaments::without(&whole, wrong.fields())?;
    let mut still_wrong = FieldErrors::within(wrong.budget());
    let event = part_by(rest, schema, &mut still_wrong);
    if still_wrong.is_empty() { event } else { None }
}
