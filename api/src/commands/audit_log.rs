//! `settle audit-log`: who changed what, when and why.

use super::drawn::{Resource, Verb};
use super::table::Column;

const COLUMNS: &[Column] = &[
    ("at", "at"),
    ("who", "actor"),
    ("key", "key_id"),
    ("what", "operation"),
    ("on", "subject"),
    ("why", "reason"),
    ("before", "before"),
    ("after", "after"),
];

const LIST: Verb = Verb::get(
    "audit-log",
    "/v1/audit-log",
    "The audit log: what persons, keys and scripts changed, the newest first",
    "\
An audit entry is written in the transaction of its change, and never removed. It has the changed fields before and
after, without secrets and names of customers.

Examples:
  settle audit-log --app APP_ID --limit 20
  settle audit-log --subject DESTINATION_ID
Next: `settle audit-log --json` prints them whole; `settle key list` shows whose keys they are.",
)
.list(COLUMNS, "No such entry.", "No such entry.");

pub const RESOURCE: Resource = Resource::of(LIST);
