//! `settle entitlement`: the entitlements of the catalogue.

use super::drawn::{DRY_RUN, Resource, Shows, Verb, Verbs};
use super::product::affected;
use super::table::Column;

const COLUMNS: &[Column] = &[("ref", "ref"), ("name", "name"), ("description", "description"), ("id", "id")];

const SET: Verb = Verb::put(
    "set",
    "/v1/apps/{app_id}/entitlements/{ref}",
    "Add an entitlement, or rename it",
    "\
Example:
  settle entitlement set premium --app ID --name \"Premium\"
Next: add it to products: `settle product set SKU --app ID --entitlement premium`.",
)
.flags(&[DRY_RUN])
.shows(Shows::Sentence(affected));

const LIST: Verb = Verb::get(
    "list",
    "/v1/apps/{app_id}/entitlements",
    "List the entitlements of an app",
    "\
Example:
  settle entitlement list --app ID
Next: `settle product list --app ID` shows which products entitle to them.",
)
.list(COLUMNS, "No entitlements yet: `settle entitlement set --help`.", "No entitlement matches.");

const DELETE: Verb = Verb::delete(
    "delete",
    "/v1/apps/{app_id}/entitlements/{ref}",
    "Delete an entitlement. It is removed from all products",
    "\
Example:
  settle entitlement delete premium --app ID --dry-run
Next: without --dry-run the purchases that had it are settled anew, a few at a time.",
)
.flags(&[DRY_RUN])
.confirm("Entitlement {} is deleted, and no product entitles to it any more.")
.shows(Shows::Sentence(affected));

pub const RESOURCE: Resource = Resource {
    name: "entitlement",
    about: "Entitlements: what purchases entitle their owners to",
    help: "\
Example:
  settle entitlement set premium --app ID --name \"Premium\"
Next: add it to products with `settle product set SKU --app ID --entitlement premium`.",
    verbs: Verbs::Named(&[SET, LIST, DELETE]),
};
