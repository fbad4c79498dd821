//! Sentences about the events of devices: how each destination stands to one.

use super::phrases::{environments, label, sentence};
use super::sent::{Unsent, choice, held_back, times};
use domain::Timestamp;
use storage::{Addressee, Destination, DestinationSettings, DeviceDeliveryView, DeviceEventFacts, StreamStatus};

/// The sentence about an event of a device.
pub fn device_event(event: &DeviceEventFacts) -> String {
    let DeviceEventFacts { id, event_type, device_id, client_id, occurred_at, created_at, .. } = event;
    sentence([
        Some(format!(
            "event {event_type} ({id}) of device {device_id}, which happened at {occurred_at} and was received at \
             {created_at}; the app's id of it is `{client_id}`"
        )),
        event.session_id.map(|session| format!(", its session {session}")),
    ])
}

/// The sentence about the cause of an event of a device.
pub fn no_notification() -> String {
    "a device reported it: no notification of a store caused it".to_owned()
}

/// The sentence about what was queued of an event of a device for a destination.
pub fn device_delivery(view: &DeviceDeliveryView, addressee: &Addressee, now: Timestamp) -> String {
    let at = view.finished_at.map_or_else(String::new, |at| format!(" at {at}"));
    let why = view.last_error.as_deref().unwrap_or("no reason was recorded");
    let stands = match view.status {
        StreamStatus::Delivered => format!("delivered{at}, tried {}{}", times(view.attempts), last(view)),
        StreamStatus::Skipped => format!("not sent: {why}"),
        StreamStatus::Failed => format!("failed{at}: {why}; never tried again{}", last(view)),
        StreamStatus::Pending => held_back(addressee, now).unwrap_or_else(|| pending(view, now)),
    };
    format!("to {}: {stands}", label(&addressee.destination))
}

fn pending(view: &DeviceDeliveryView, now: Timestamp) -> String {
    let error = view.last_error.as_deref().map_or_else(String::new, |error| format!("; the last time: {error}"));
    let tried = view.tried_at.map_or_else(String::new, |at| format!(", tried {}, last at {at}", times(view.attempts)));
    let next = match view.next_due_at {
        Some(at) if at > now => format!("; tried again at {at}"),
        _ => "; sent as soon as its turn comes, after the earlier events of its device".to_owned(),
    };
    format!("pending{tried}{next}{}{error}", last(view))
}

/// The last request, if one was made.
fn last(view: &DeviceDeliveryView) -> String {
    let ms = view.latency_ms.map_or_else(String::new, |ms| format!(" after {ms} ms"));
    match (view.last_status, view.last_class.as_deref()) {
        (Some(status), _) => format!(" (the last request was answered {status}{ms})"),
        (None, Some(class)) => format!(" (the last request had no answer{ms}: {class})"),
        (None, None) => String::new(),
    }
}

/// The reason why nothing of an event of a device was queued for a destination. `None` if the destination was deleted
/// before the event was received: then it is not mentioned.
pub fn device_event_unsent(event: &DeviceEventFacts, addressee: &Addressee) -> Option<Unsent> {
    let Addressee { destination, chosen_at, deleted_at, .. } = addressee;
    let Destination { common: DestinationSettings { filter, .. }, created_at, .. } = destination;
    let (code, why) = match (chosen_at, deleted_at) {
        (_, Some(at)) if *at <= event.created_at => return None,
        _ if *created_at > event.created_at => {
            ("created_later", format!("the destination was created later, at {created_at}"))
        }
        _ if !destination.chose(&event.event_type) => (
            "type_not_chosen",
            format!("the destination does not choose this type ({})", choice(destination, &event.event_type)),
        ),
        _ if !filter.platforms.is_empty() && !filter.platforms.contains(&event.platform_id) => {
            ("filtered_by_platform", "the destination wants events of other platforms only".to_owned())
        }
        _ if !filter.wants(event.platform_id, event.environment) => (
            "filtered_by_environment",
            format!("the destination wants events of environment {} only", environments(filter)),
        ),
        (Some(at), _) if *at > event.created_at => {
            ("chosen_later", format!("the destination chose other events then; its choice is of {at}"))
        }
        (_, Some(at)) => ("deleted", format!("the destination was deleted at {at}")),
        _ => (
            "unexplained",
            "the reason is unknown: it should have been queued (`settle check` reports it too)".to_owned(),
        ),
    };
    Some(Unsent { code, sentence: format!("not to {}: {why}", label(destination)) })
}
