//! `settle delivery`: one event to one destination, with its attempts.

use super::drawn::{Flag, Resource, Verb, Verbs};
use super::table::Column;

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("event", "event_type"),
    ("event id", "event_id"),
    ("revision", "revision"),
    ("status", "status"),
    ("attempts", "attempts"),
    ("next due", "next_due_at"),
    ("last error", "last_error"),
    ("destination", "destination"),
];

const ATTEMPT_COLUMNS: &[Column] = &[
    ("number", "number"),
    ("started", "started_at"),
    ("ms", "latency_ms"),
    ("status", "status"),
    ("class", "class"),
    ("error", "error"),
    ("response", "response"),
];

const LIST: Verb = Verb::get(
    "list",
    "/v1/deliveries",
    "List deliveries",
    "\
Example:
  settle delivery list --status failed --destination ID
Next: `settle delivery attempts DELIVERY_ID` shows the answers.",
)
.flags(&[Flag::of("collapse_key").named("purchase")])
.list(COLUMNS, "No deliveries yet: try `settle sample`.", "No delivery matches.");

const REQUEST: Verb = Verb::get(
    "request",
    "/v1/deliveries/{delivery_id}/request",
    "Show what is sent: the body, and the names of the headers. Needs the role `support`",
    "\
Example:
  settle delivery request DELIVERY_ID
Next: `settle delivery attempts DELIVERY_ID` shows the answers.",
);

const ATTEMPTS: Verb = Verb::get(
    "attempts",
    "/v1/deliveries/{delivery_id}/attempts",
    "List the attempts of one delivery: when, how long, and the answer",
    "\
Example:
  settle delivery attempts DELIVERY_ID
Next: `settle resend event EVENT_ID` sends it again.",
)
.list(ATTEMPT_COLUMNS, "Nothing was sent yet.", "Nothing was sent yet.");

pub const RESOURCE: Resource = Resource {
    name: "delivery",
    about: "Deliveries: one event to one destination, with its attempts",
    help: "\
Example:
  settle delivery list --status failed
  settle delivery attempts DELIVERY_ID
Next: `settle resend failed --dry-run` counts what could be sent again; `settle explain event EVENT_ID` shows why it failed.",
    verbs: Verbs::Named(&[LIST, REQUEST, ATTEMPTS]),
};
