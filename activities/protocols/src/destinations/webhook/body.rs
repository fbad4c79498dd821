//! The body of an event: the stored one, with the fields that differ per destination.

use domain::event::{PURCHASE_UPDATED, for_destination};
use storage::{Destination, Rendered, Unsent};

/// Renders the body for every attempt.
#[must_use]
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    if unsent.event_type != PURCHASE_UPDATED {
        return Rendered::Body(unsent.body.to_string());
    }
    Rendered::Body(for_destination(unsent.body.clone(), destination.id, unsent.acked_revision).to_string())
}
