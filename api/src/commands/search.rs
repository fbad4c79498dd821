//! `settle search`: what an id names.

use super::drawn::{Flag, Resource, Verb};
use super::table::Column;

const COLUMNS: &[Column] =
    &[("what", "kind"), ("id", "id"), ("purchase", "collapse_key"), ("state or type", "label"), ("at", "at")];

const FIND: Verb = Verb::post(
    "search",
    "/v1/search",
    "Find what an id names",
    "\
Any id: of a purchase, an event, a delivery (`webhook-id`), a destination, a platform, an app or a user; a receipt, a
message of a store, or a customer by the store's or your own id.

Example:
  settle search RECEIPT
Next: `settle explain purchase COLLAPSE_KEY` explains what was found.",
)
.flags(&[Flag::of("q").value("ID").help("The id").positional()])
.list(COLUMNS, "Nothing is known by this id.", "Nothing is known by this id.");

pub const RESOURCE: Resource = Resource::of(FIND);
