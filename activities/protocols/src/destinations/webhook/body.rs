//! The body of an event: the stored body. In `purchase.updated`, the fields that differ per destination are added.

use domain::device;
use domain::event::{PURCHASE_UPDATED, for_destination};
use storage::{Destination, Rendered, StreamedEvent, Unsent};

/// Renders the body, which every attempt sends.
#[must_use]
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    if unsent.event_type != PURCHASE_UPDATED {
        return Rendered::Body(unsent.body.to_string());
    }
    Rendered::Body(for_destination(unsent.body.clone(), destination.id, unsent.acked_revision).to_string())
}

/// Renders the body of an event of a device, which every attempt sends.
#[must_use]
pub fn render_streamed(destination: &Destination, event: &StreamedEvent) -> Rendered {
    match serde_json::from_str(&event.body) {
        Ok(body) => Rendered::Body(device::for_destination(body, destination.id).to_string()),
        Err(_) => Rendered::Refuse { why: "the body of the event was removed because of its age".to_owned() },
    }
}
