//! `settle notification`: the messages of stores, and the outcome of each.

use super::drawn::{Exchange, Resource, Shows, Verb, Verbs};
use super::table::{self, Column};

/// The columns of the notifications of one message, which was accepted at one time.
const COLUMNS: &[Column] = &[
    ("type", "type"),
    ("outcome", "outcome"),
    ("waiting for", "waiting_for"),
    ("revision", "revision"),
    ("reason", "reason"),
    ("collapse key", "collapse_key"),
];

const LIST_COLUMNS: &[Column] = &[
    ("message", "message_id"),
    ("type", "type"),
    ("accepted", "accepted_at"),
    ("outcome", "outcome"),
    ("waiting for", "waiting_for"),
    ("revision", "revision"),
    ("reason", "reason"),
    ("platform", "platform"),
    ("receipt", "receipt_id"),
];

const LIST: Verb = Verb::get(
    "list",
    "/v1/notifications",
    "List the notifications that were accepted, the newest first, each with its outcome or what it waits for",
    "\
Example:
  settle notification list --platform ID --limit 20
  settle notification list --outcome refused --from 2026-11-01
Next: `settle explain notification MESSAGE_ID` shows the events that followed one.",
)
.list(LIST_COLUMNS, "No notification was accepted yet: try `settle sample`.", "No notification matches.");

const SHOW: Verb = Verb::get(
    "show",
    "/v1/notifications/{message_id}",
    "Show the outcome of one message, or what it waits for",
    "\
Example:
  settle notification show 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11
Next: `settle explain notification MESSAGE_ID` shows the events that followed.",
)
.shows(Shows::Own(print));

fn print(Exchange { answer, .. }: &Exchange) {
    let field = |name| table::field(answer, name);
    table::line(&format!("Message {}, accepted {}", field("message_id"), field("accepted_at")));
    table::list(answer.get("notifications").unwrap_or(answer), COLUMNS, "It concerns no purchase.");
}

pub const RESOURCE: Resource = Resource {
    name: "notification",
    about: "Notifications: the messages of stores, and their outcomes",
    help: "\
Example:
  settle notification list
  settle notification show 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11   (the store's message id)
Next: `settle explain notification MESSAGE_ID` shows the events that followed.",
    verbs: Verbs::Named(&[LIST, SHOW]),
};
