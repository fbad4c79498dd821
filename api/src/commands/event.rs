//! `settle event`: the events that were recorded.

use super::drawn::{Flag, Resource, Verb, Verbs};
use super::table::Column;
use crate::resources::events::chosen;
use serde_json::Value;

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("type", "type"),
    ("revision", "revision"),
    ("created", "created_at"),
    ("collapse key", "collapse_key"),
];

const SHOW: Verb = Verb::get(
    "show",
    "/v1/events/{event_id}",
    "Show one event with its body, as a receiver gets it",
    "\
Example:
  settle event show EVENT_ID
Next: `settle explain event EVENT_ID` shows which destinations received it, which did not, and why.",
);

const LIST: Verb = Verb::get(
    "list",
    "/v1/events",
    "List events",
    "\
Example:
  settle event list --purchase COLLAPSE_KEY
  settle event list --type user.subscription.renewed --from 2026-11-01
Next: `settle explain event EVENT_ID` shows which destinations received one, which did not, and why. Of a purchase without
events, `settle explain purchase RECEIPT` shows the reason.",
)
.flags(&[Flag::of("collapse_key").named("purchase"), Flag::of("type").value("TYPE,…").parsed(types)])
.list(COLUMNS, "No events yet: try `settle sample`.", "No event matches. Of a purchase, `settle explain purchase RECEIPT` shows why.");

/// Checks a list of types and groups.
fn types(text: &str) -> Result<Value, String> {
    chosen(text).map(|_| text.into()).map_err(|expected| format!("expected {expected}"))
}

pub const RESOURCE: Resource = Resource {
    name: "event",
    about: "Events: what was announced to destinations, newest first",
    help: "\
Example:
  settle event list --purchase COLLAPSE_KEY
Next: `settle delivery list --purchase COLLAPSE_KEY` shows their deliveries. With --json the bodies are printed.",
    verbs: Verbs::Named(&[SHOW, LIST]),
};
