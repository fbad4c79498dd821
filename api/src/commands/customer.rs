//! `settle customer`: the users who own purchases, the app's own ids of them, and what they may use.

use super::client::{Client, present_fields, segment};
use super::drawn::{Exchange, Flag, Resource, Shows, Verb, Verbs};
use super::names;
use super::table::{self, Column};
use clap::FromArgMatches;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

const COLUMNS: &[Column] = &[
    ("transfer", "transfer_id"),
    ("cause", "cause"),
    ("from", "from.external_id"),
    ("to", "to.external_id"),
    ("at", "created_at"),
    ("by", "by"),
    ("taken back by", "undone_by"),
];

const REVIEWS: &[Column] = &[
    ("review", "review_id"),
    ("from", "from.external_id"),
    ("to", "to.external_id"),
    ("platform", "platform"),
    ("requested", "requested_at"),
];

/// Who does it, and why.
const AUTHOR: &[Flag] = &[
    Flag::of("reason").help("Why, for those who look at it later"),
    Flag::of("by").value("WHO").help("Who does it").default("cli"),
];

const NAME: Verb = Verb::put(
    "name",
    "/v1/apps/{app_id}/customers",
    "Name a customer of the store, or the owner of a receipt, by your own id",
    "\
Example:
  settle customer name --app ID --external-id 4711 --receipt RECEIPT
Next: `settle purchase list --external-id 4711` shows their purchases.",
)
.one_of(&["app_user_id", "receipt_id"]);

const SHOW: Verb = Verb::own::<Shown>(
    "show",
    "Show one customer",
    "\
Example:
  settle customer show --app ID --external-id 4711
  settle customer show --app ID --user-id USER
Next: `settle purchase list --external-id 4711` shows their purchases.",
    |matches, client| Box::pin(async { show(client, Shown::from_arg_matches(matches)?).await }),
);

const STATE: Verb = Verb::get(
    "state",
    "/v1/apps/{app_id}/customers/state",
    "Show what a customer may use now, or what was known and announced of them at a time",
    "\
Example:
  settle customer state --app ID --external-id 4711
  settle customer state --app ID --external-id 4711 --at 2026-03-01T12:00:00Z
Next: `settle purchase explain KEY` shows why a purchase is as it is.",
)
.flags(&[Flag::of("user_id").named("user-id")])
.one_of(&["app_user_id", "external_id", "user_id"])
.shows(Shows::Own(print_state));

const ERASE: Verb = Verb::own::<Erasure>(
    "erase",
    "Erase a customer: remove the names, and ask destinations to delete the user. The ledger stays",
    "\
Example:
  settle customer erase --app ID --external-id 4711 --reason \"request 17\" --by support@example.com
Next: what it prints is the report; `settle customer erasure --app ID REPORT` prints it again.",
    |matches, client| Box::pin(async { erase(client, Erasure::from_arg_matches(matches)?).await }),
);

const ERASURE: Verb = Verb::get(
    "erasure",
    "/v1/apps/{app_id}/customers/erase/{erasure_id}",
    "Show the report of a customer who was erased",
    "\
Example:
  settle customer erasure --app ID 6b275a67-0bbb-4f3a-99b9-6600bf711993
Next: a destination that is `pending` gets its request again by itself.",
)
.flags(&[Flag::of("erasure_id").value("REPORT")])
.shows(Shows::Own(|exchange| print_report(&exchange.answer)));

const MOVE: Verb = Verb::own::<Move>(
    "move",
    "Move a customer with all purchases to the customer with another id of yours",
    "\
Example:
  settle customer move --app ID --app-user-id STORE_USER --to 4712 --reason \"named by mistake\"
Next: what gives access is announced by user.subscription.transferred.from and .to; `settle customer undo TRANSFER` takes
it back.",
    |matches, client| Box::pin(async { move_to(client, Move::from_arg_matches(matches)?).await }),
);

const UNDO: Verb = Verb::post(
    "undo",
    "/v1/transfers/{transfer_id}/undo",
    "Take a transfer back: the customer's purchases belong to their former owner again",
    "\
Example:
  settle customer undo TRANSFER --reason \"ticket 4711\"
Next: `settle customer transfers USER` lists both transfers.",
)
.flags(AUTHOR);

const TRANSFERS: Verb = Verb::get(
    "transfers",
    "/v1/transfers",
    "List the newest transfers from and to a user",
    "\
Example:
  settle customer transfers USER      (the user_id of `settle customer show`)
Next: `settle customer undo TRANSFER` takes one back.",
)
.flags(&[Flag::of("user_id").value("USER").positional()])
.list(COLUMNS, "Nothing moved from or to this user.", "Nothing moved from or to this user.");

const LIST_REVIEWS: Verb = Verb::get(
    "reviews",
    "/v1/apps/{app_id}/transfer-reviews",
    "List the logins on devices with receipts of another customer that wait for an answer",
    "\
Example:
  settle customer reviews --app ID
Next: `settle customer approve REVIEW` or `settle customer refuse REVIEW`; the alarm `transfer_wanted` names each. Which
logins wait is the platform's setting `--transfers`.",
)
.list(REVIEWS, "No login waits for an answer.", "No login waits for an answer.");

const APPROVE: Verb = Verb::post(
    "approve",
    "/v1/transfer-reviews/{review_id}/approve",
    "Give what a device has receipts of to the customer who logged in on it, now and at later logins",
    "\
Example:
  settle customer approve REVIEW --reason \"ticket 4711\"
Next: `settle customer undo TRANSFER` takes back what moved; `settle customer refuse REVIEW` ends the permission.",
)
.flags(AUTHOR);

const REFUSE: Verb = Verb::post(
    "refuse",
    "/v1/transfer-reviews/{review_id}/refuse",
    "Leave what a device has receipts of with its owner, now and at later logins",
    "\
Example:
  settle customer refuse REVIEW --reason \"ticket 4711\"
Next: `settle customer approve REVIEW` changes the answer.",
)
.flags(AUTHOR);

pub const RESOURCE: Resource = Resource {
    name: "customer",
    about: "Customers: the owners of purchases, by your own ids",
    help: "\
Example:
  settle customer name --app ID --external-id 4711 --app-user-id l3HL7XppEMhrOGDnur9-ulvqomrSg6qyODKmah76lJU=
Next: the purchases concerned are settled anew within minutes, and carry the id as last_seen_external_id from then on.
A customer can be named before anything was bought. An id that another customer has already joins the two; a customer who
has another id already keeps it.",
    verbs: Verbs::Named(&[
        NAME, SHOW, STATE, ERASE, ERASURE, MOVE, UNDO, LIST_REVIEWS, APPROVE, REFUSE, TRANSFERS,
    ]),
};

#[derive(Debug, clap::Args)]
struct Shown {
    /// The app's id or name.
    #[arg(long)]
    app: String,
    #[command(flatten)]
    key: ShownKey,
}

/// One customer, by one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ShownKey {
    /// Your id of the customer.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// The store's name of the customer.
    #[arg(long, value_name = "ID")]
    app_user_id: Option<String>,
    /// A receipt that the customer owns.
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
    /// settle's id of the customer: shows what the purchases give, too.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Erasure {
    /// The app's id or name.
    #[arg(long)]
    app: String,
    #[command(flatten)]
    key: ErasureKey,
    /// Why. It is stored, so it must not name the customer.
    #[arg(long)]
    reason: String,
    /// Who requests it. It is stored, so it must not name the customer.
    #[arg(long, value_name = "WHO")]
    by: String,
}

/// The customer who is erased, by one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ErasureKey {
    /// Your id of the customer.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// The store's name of the customer.
    #[arg(long, value_name = "ID")]
    app_user_id: Option<String>,
    /// settle's id of the customer.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Move {
    /// The app's id or name.
    #[arg(long)]
    app: String,
    #[command(flatten)]
    key: MoveKey,
    /// Your id of the customer who gets them; a new one makes a new customer.
    #[arg(long, value_name = "ID")]
    to: String,
    /// Why, for those who look at it later.
    #[arg(long)]
    reason: String,
    /// Who does it [default: cli].
    #[arg(long, value_name = "WHO", default_value = "cli", hide_default_value = true)]
    by: String,
}

/// The customer who is moved, by one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct MoveKey {
    /// Your id of the customer.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// The store's name of the customer.
    #[arg(long, value_name = "ID")]
    app_user_id: Option<String>,
    /// A receipt that the customer owns.
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
}

/// The path of an app's customers.
async fn customers(client: &Client, app: &str) -> anyhow::Result<String> {
    Ok(format!("/v1/apps/{}/customers", segment(&names::app_id(client, app).await?)))
}

async fn show(client: &Client, Shown { app, key }: Shown) -> anyhow::Result<ExitCode> {
    let path = customers(client, &app).await?;
    let answer = match &key.user_id {
        Some(user) => client.get(&format!("{path}/{}", segment(user)), &[]).await?,
        None => {
            let query =
                [("external_id", key.external_id), ("app_user_id", key.app_user_id), ("receipt_id", key.receipt)];
            client.get(&path, &query).await?
        }
    };
    Ok(table::answer(client, &answer))
}

async fn move_to(client: &Client, Move { app, key, to, reason, by }: Move) -> anyhow::Result<ExitCode> {
    let MoveKey { external_id, app_user_id, receipt } = key;
    let from = json!({ "external_id": external_id, "app_user_id": app_user_id, "receipt_id": receipt });
    let body = json!({ "from": present_fields(from), "external_id": to, "reason": reason, "by": by });
    let answer = client.post(&format!("{}/move", customers(client, &app).await?), &body).await?;
    Ok(table::answer(client, &answer))
}

async fn erase(client: &Client, Erasure { app, key, reason, by }: Erasure) -> anyhow::Result<ExitCode> {
    let ErasureKey { external_id, app_user_id, user_id } = key;
    let body = present_fields(json!({
        "external_id": external_id, "app_user_id": app_user_id, "user_id": user_id, "reason": reason, "by": by,
    }));
    let path = customers(client, &app).await?;
    let report = client.post(&format!("{path}/erase"), &body).await?;
    let answer = until_removed(client, &path, report).await?;
    if client.json {
        return Ok(table::answer(client, &answer));
    }
    print_report(&answer);
    Ok(ExitCode::SUCCESS)
}

/// How often a report is read until the names are removed, and the time between.
const READS: usize = 60;
const BETWEEN_READS: Duration = Duration::from_secs(1);

/// Reads the report until the names are removed, for a minute at most: the service goes on by itself.
async fn until_removed(client: &Client, path: &str, mut report: Value) -> anyhow::Result<Value> {
    for _ in 0..READS {
        if !report["removed_at"].is_null() {
            break;
        }
        tokio::time::sleep(BETWEEN_READS).await;
        let id = report["id"].as_str().unwrap_or_default();
        report = client.get(&format!("{path}/erase/{}", segment(id)), &[]).await?;
    }
    Ok(report)
}

/// The columns of the destinations of a report.
const DESTINATIONS: [table::Column; 4] =
    [("destination", "destination_id"), ("status", "status"), ("attempts", "attempts"), ("why", "error")];

/// Prints a report: what was done, the changed rows by table, and the destinations.
fn print_report(report: &Value) {
    table::line(if report["removed_at"].is_null() {
        "The names are being removed; what was recorded before is sent with them until its `stage` is done."
    } else {
        "The names are removed."
    });
    let mut about = report.clone();
    if let Some(about) = about.as_object_mut() {
        about.remove("destinations");
    }
    table::fields(&about);
    table::line("");
    let destinations = json!({ "items": report["destinations"] });
    table::list(&destinations, &DESTINATIONS, "No destination of the app keeps users.");
}

/// The columns of the active entitlements.
const ENTITLEMENTS: [table::Column; 5] = [
    ("entitlement", "entitlement_ref_id"),
    ("name", "name"),
    ("until", "expiration"),
    ("sku", "sku_ref_id"),
    ("store", "purchase_platform"),
];

/// The columns of the purchases.
const PURCHASES: [table::Column; 6] = [
    ("purchase", "collapse_key"),
    ("state", "state"),
    ("active", "is_active"),
    ("expires", "expires_at"),
    ("sku", "sku"),
    ("announced", "announced_at"),
];

/// Prints a state: where it is from, the customer, the entitlements and the purchases.
fn print_state(Exchange { answer: state, .. }: &Exchange) {
    if let Some(note) = state["announcement"]["note"].as_str() {
        table::line(note);
    }
    let mut about = state.clone();
    if let Some(about) = about.as_object_mut() {
        about.retain(|name, _| !matches!(name.as_str(), "active_entitlements" | "purchases" | "devices"));
    }
    table::fields(&about);
    table::line("");
    if state["active_entitlements"].is_array() {
        let items = json!({ "items": state["active_entitlements"] });
        table::list(&items, &ENTITLEMENTS, "No active entitlements.");
    }
    table::line("");
    table::list(
        &json!({ "items": state["purchases"] }),
        &PURCHASES,
        "No purchases in this environment; `--environment sandbox` shows test purchases.",
    );
}
