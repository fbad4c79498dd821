//! Bodies, as storage asks for them in a claim: each kind of destination makes its own, and what that did is counted.
//!
//! Storage may run a claim again before it is committed; then what is counted here is counted again.

use crate::destinations::{Config, RenderNotes};
use storage::{Destination, Rendered, Unsent};

/// What an event looks like to a destination, in every attempt.
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    let rendered = Config::render(destination, unsent);
    let RenderNotes { capped, wrong_id } = Config::render_notes(destination, unsent, &rendered);
    let kind = || destination.kind.clone();
    if capped > 0 {
        metrics::counter!("settle_capped_values_total", "kind" => kind()).increment(capped);
    }
    if let Some(reason) = wrong_id {
        metrics::counter!("settle_refused_ids_total", "kind" => kind(), "reason" => reason).increment(1);
    }
    rendered
}
