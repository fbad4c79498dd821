//! Renders bodies for storage's claims: each kind of destination renders its own, and cuts and refusals are counted.
//!
//! Storage may repeat a claim before it is committed; then these counters count twice.

use crate::destinations::{Config, RenderNotes};
use storage::{Destination, Rendered, Unsent};

/// Renders an event for a destination, for every attempt.
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
