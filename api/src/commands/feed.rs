//! `settle feed`: the purchases of an app with the revision of each.

use super::drawn::{Resource, Verb};
use super::table::Column;

const COLUMNS: &[Column] = &[
    ("collapse key", "collapse_key"),
    ("revision", "revision"),
    ("state digest", "state_digest"),
    ("acknowledged", "acknowledged_revision"),
    ("updated", "updated_at"),
];

const LIST: Verb = Verb::get(
    "feed",
    "/v1/apps/{app_id}/feed",
    "The purchases of an app with revision and digest, for a receiver that compares its table or lost it",
    "\
A receiver compares `revision` and `state_digest` with what it has, and requests what it lacks:
POST /v1/resends {\"destination_id\": \"ID\", \"collapse_keys\": […]}. It gets exactly one delivery for each.

Example:
  settle feed --app ID --destination ID --limit 500 --json
Next: `settle resend all --destination ID` sends everything to a receiver that lost its table.",
)
.list(COLUMNS, "No purchases yet.", "No purchase that this destination wants.");

pub const RESOURCE: Resource = Resource::of(LIST);
