//! `settle app`: the apps of the installation.

use super::drawn::{Flag, Resource, Verb, Verbs};
use super::import::{self, Import};
use super::rates::{self, Rates};
use super::sales::{self, Sales};
use super::table::Column;
use clap::FromArgMatches;

const COLUMNS: &[Column] = &[("id", "id"), ("name", "name"), ("created", "created_at")];
const NAME: &[Flag] = &[Flag::of("name").positional().required()];

const CREATE: Verb = Verb::post(
    "create",
    "/v1/apps",
    "Create an app",
    "\
Example:
  settle app create \"My game\"
Next: connect its store with `settle platform create --app ID …`.",
)
.flags(NAME);

const LIST: Verb = Verb::get(
    "list",
    "/v1/apps",
    "List the apps",
    "\
Example:
  settle app list
Next: `settle platform list --app ID` and `settle destination list --app ID` show what belongs to one.",
)
.list(COLUMNS, "No apps yet: `settle app create NAME`.", "No app matches.");

const SHOW: Verb = Verb::get(
    "show",
    "/v1/apps/{app_id}",
    "Show one app",
    "\
Example:
  settle app show ID
Next: `settle purchase list --platform PLATFORM_ID` shows what was bought in it.",
)
.flags(&[Flag::of("app_id").positional()]);

const RENAME: Verb = Verb::patch(
    "rename",
    "/v1/apps/{app_id}",
    "Give an app another name",
    "\
Example:
  settle app rename ID \"Our game\"
Next: nothing else changes; `settle app list` shows the name.",
)
.flags(&[Flag::of("app_id").positional(), Flag::of("name").positional().required()]);

const DELETE: Verb = Verb::delete(
    "delete",
    "/v1/apps/{app_id}",
    "Delete an app. Its notifications and events stay in the ledger",
    "\
Example:
  settle app delete ID
Next: its platforms and destinations are deleted too: stores are answered 404, and nothing more is sent.",
)
.flags(&[Flag::of("app_id").positional()])
.confirm("App {} is deleted, with its platforms and destinations.");

const IMPORT: Verb = Verb::own::<Import>(
    "import",
    "Adopt purchases from before the platform was connected: each is verified, and announced once as purchase.updated",
    import::HELP,
    |matches, client| Box::pin(async { import::import(client, &Import::from_arg_matches(matches)?).await }),
);

const RATES: Verb = Verb::own::<Rates>(
    "rates",
    "Add rates of exchange, from which price_in_usd of what is settled afterwards is computed",
    rates::HELP,
    |matches, client| Box::pin(async { rates::rates(client, &Rates::from_arg_matches(matches)?).await }),
);

const IMPORT_SALES: Verb = Verb::own::<Sales>(
    "import-sales",
    "Import a store's sales report: exact prices and refunds, and corrections of what was announced",
    sales::HELP,
    |matches, client| Box::pin(async { sales::sales(client, &Sales::from_arg_matches(matches)?).await }),
);

pub const RESOURCE: Resource = Resource {
    name: "app",
    about: "Apps: the owners of platforms and destinations",
    help: "\
Example:
  settle app create \"My game\"
  settle app import purchases.csv --platform ID      purchases that were made before
  settle app rates rates.csv --app ID                rates of exchange, for prices in USD
  settle app import-sales sales.csv --app ID         what was paid, by the store's sales report
Next: connect its store with `settle platform create --app ID …`, and add a receiver with
`settle destination create --app ID …`.",
    verbs: Verbs::Named(&[CREATE, LIST, SHOW, RENAME, IMPORT, RATES, IMPORT_SALES, DELETE]),
};
