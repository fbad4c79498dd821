//! The body of an event: what is kept of it, with what differs per destination.

use domain::event::{PURCHASE_UPDATED, for_destination};
use storage::{Destination, Rendered, Unsent};

/// The body in every attempt.
#[must_use]
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    if unsent.event_type != PURCHASE_UPDATED {
        return Rendered::Body(unsent.body.to_string());
    }
    Rendered::Body(for_destination(unsent.body.clone(), destination.id, unsent.acked_revision).to_string())
}
