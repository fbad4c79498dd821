//! The body of an event: the stored body. In `purchase.updated`, the fields that differ per destination are added.

use domain::event::{PURCHASE_UPDATED, for_destination};
use storage::{Destination, Rendered, Unsent};

/// Renders the body, which every attempt sends.
#[must_use]
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    if unsent.event_type != PURCHASE_UPDATED {
        return Rendered::Body(unsent.body.to_string());
    }
    Rendered::Body(for_destination(unsent.body.clone(), destination.id, unsent.acked_revision).to_string())
}
