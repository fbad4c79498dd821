//! The body of an event: the stored body. In `purchase.updated`, the fields that differ per destination are added; in a
//! `user.*` event that waited for the customer's external id, that id.

use super::config;
use crate::destinations::unnamed::WithoutExternalId;
use domain::device;
use domain::event::{PURCHASE_UPDATED, for_destination};
use domain::user::with_external_id;
use storage::{Destination, Rendered, StreamedEvent, Unsent};

/// Renders the body, which every attempt sends, or returns the reason for which the event is not sent now or ever.
///
/// Only a webhook that does not get events of customers without an external id gets the id that became known after the
/// recording: otherwise events are sent as they were recorded. The record of a purchase is never changed, because its
/// digest proves it; the next revision has the id.
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    let setting = config::without_external_id(&destination.settings);
    let is_state = unsent.event_type == PURCHASE_UPDATED;
    let is_of_customer = is_state || unsent.event_type.starts_with("user.");
    let aside =
        if is_of_customer && unsent.external_id.is_none() { setting.put_aside(&unsent.event_type) } else { None };
    if let Some(rendered) = aside {
        return rendered;
    }
    let body = unsent.body.clone();
    Rendered::Body(match unsent.external_id.as_deref() {
        _ if is_state => for_destination(body, destination.id, unsent.acked_revision).to_string(),
        Some(external_id) if setting != WithoutExternalId::Send => with_external_id(body, external_id).to_string(),
        _ => body.to_string(),
    })
}

/// Renders the body of an event of a device, which every attempt sends: without receipts, unless a setting wants them.
pub fn render_streamed(destination: &Destination, event: &StreamedEvent) -> Rendered {
    match serde_json::from_str(&event.body) {
        Ok(body) => {
            let body = device::for_destination(body, destination.id);
            let is_whole = config::has_device_receipts(&destination.settings);
            Rendered::Body(if is_whole { body } else { device::without_receipts(body) }.to_string())
        }
        Err(_) => Rendered::Refuse { why: "retention removed the body of the event".to_owned() },
    }
}
