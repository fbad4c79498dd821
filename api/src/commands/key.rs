//! `settle key`: the keys of the API.

use super::drawn::{Flag, Resource, Shows, Verb, Verbs};
use super::table::Column;

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("name", "name"),
    ("role", "role"),
    ("app", "app_id"),
    ("expires", "expires_at"),
    ("revoked", "revoked_at"),
    ("last used", "last_used_at"),
];

const CREATE: Verb = Verb::post(
    "create",
    "/v1/keys",
    "Make a key, and print it once",
    "\
Each role may do what those before it may: metrics (reads /metrics), read (everything but secrets), support (customers,
single purchases, sending again), operator (platforms, destinations, catalogue, prices), admin (apps, erasure, keys).

Examples:
  settle key create --name prometheus --role metrics
  settle key create --name \"reader team\" --role operator --app APP_ID --expires 90d
Next: it is printed only here. `settle key list` shows when it was used last, `settle key revoke ID` ends it.",
)
.flags(&[Flag::of("expires_at")
    .help("When it ends by itself: a time, or how long from now, such as `90d`; never when absent")]);

const LIST: Verb = Verb::get(
    "list",
    "/v1/keys",
    "List the keys, the oldest first, including revoked ones",
    "\
Example:
  settle key list
Next: a key that nobody has used for long is better revoked: `settle key revoke ID`.",
)
.list(COLUMNS, "No key yet, beside the admin token: `settle key create`.", "No key matches.");

const REVOKE: Verb = Verb::delete(
    "revoke",
    "/v1/keys/{key_id}",
    "Revoke a key: from now on it opens nothing",
    "\
Example:
  settle key revoke ID
Next: `settle key list` shows it as revoked, `settle audit-log --key ID` what was changed with it.",
)
.confirm("Whoever uses this key is refused from now on.")
.shows(Shows::Sentence(|_| "Revoked.".to_owned()));

pub const RESOURCE: Resource = Resource {
    name: "key",
    about: "Keys of the API: who may do what, in all apps or in one",
    help: "\
Example:
  settle key create --name \"help desk\" --role support
Next: give the key to one person or program, as SETTLE_ADMIN_TOKEN or as the bearer token of a request;
`settle audit-log` shows what was changed with it.",
    verbs: Verbs::Named(&[CREATE, LIST, REVOKE]),
};
