//! Sentences about device events, and about their delivery to each destination.

use super::phrases::{error_beside, label, sentence};
use super::sent::{Unqueued, Unsent, attempts, held_back};
use domain::Timestamp;
use storage::{Addressee, DeviceDeliveryView, DeviceEventFacts, StreamStatus};

/// Returns the sentence about a device event.
pub fn device_event(event: &DeviceEventFacts) -> String {
    let DeviceEventFacts {
        id,
        event_type,
        device_id,
        client_id,
        occurred_at,
        created_at,
        ..
    } = event;
    sentence([
        Some(format!(
            "event {event_type} ({id}) of device {device_id} at {occurred_at}, received at {created_at}; the app's \
             event id is `{client_id}`"
        )),
        event
            .session_id
            .map(|session| format!(", session {session}")),
    ])
}

/// Returns the sentence about the cause of a device event.
pub fn no_notification() -> String {
    "reported by a device".to_owned()
}

/// Returns the sentence about the delivery of a device event to a destination.
pub fn device_delivery(view: &DeviceDeliveryView, addressee: &Addressee, now: Timestamp) -> String {
    let at = view
        .finished_at
        .map_or_else(String::new, |at| format!(" at {at}"));
    let why = view
        .last_error
        .as_deref()
        .unwrap_or("no reason was recorded");
    let stands = match view.status {
        StreamStatus::Delivered => format!(
            "delivered{at}, after {}{}",
            attempts(view.attempts),
            last(view)
        ),
        StreamStatus::Skipped => format!("not sent: {why}"),
        StreamStatus::Failed => format!("failed{at}: {why}{}. Not retried", last(view)),
        StreamStatus::Pending => held_back(addressee, now).unwrap_or_else(|| pending(view, now)),
    };
    format!("to {}: {stands}", label(&addressee.destination))
}

fn pending(view: &DeviceDeliveryView, now: Timestamp) -> String {
    let error = error_beside(view.last_status, view.last_error.as_deref());
    let error = error.map_or_else(String::new, |error| format!(": {error}"));
    let failed = view.tried_at.map_or_else(String::new, |at| {
        format!(
            ". {} failed, the last at {at}{}{error}",
            attempts(view.attempts),
            last(view)
        )
    });
    let next = match view.next_due_at {
        Some(at) if at > now => format!("Next attempt at {at}"),
        _ => "Sent after the earlier events of its device".to_owned(),
    };
    format!("pending{failed}. {next}")
}

/// Returns the result of the last request; empty if none was made.
fn last(view: &DeviceDeliveryView) -> String {
    let ms = view
        .latency_ms
        .map_or_else(String::new, |ms| format!(" after {ms} ms"));
    match (view.last_status, view.last_class.as_deref()) {
        (Some(status), _) => format!(" (HTTP {status}{ms})"),
        (None, Some(class)) => format!(" (no response{ms}: {class})"),
        (None, None) => String::new(),
    }
}

/// Returns why a device event was not queued for a destination. `None` if the destination was deleted before the event
/// was received, and so is not mentioned.
pub fn device_event_unsent(event: &DeviceEventFacts, addressee: &Addressee) -> Option<Unsent> {
    let destination = &addressee.destination;
    if addressee
        .deleted_at
        .is_some_and(|at| at <= event.created_at)
    {
        return None;
    }
    let created_at = destination.created_at;
    let (code, why) = if created_at > event.created_at {
        let why = format!("the destination was created later, at {created_at}");
        ("created_later", why)
    } else {
        Unqueued {
            event_type: &event.event_type,
            origin: Some((event.platform_id, event.environment)),
            created_at: event.created_at,
        }
        .reason(addressee)
    };
    Some(Unsent {
        code,
        sentence: format!("not to {}: {why}", label(destination)),
    })
}
