//! `settle customer`: the users who own purchases, the app's own ids of them, and what they may use.

use super::client::{Client, Page, present_fields, segment};
use super::table::{self, Column};
use clap::Subcommand;
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
    ("platform", "platform_id"),
    ("requested", "requested_at"),
];

/// Customers: the owners of purchases, by your own ids.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle customer name --app ID --external-id 4711 --app-user-id l3HL7XppEMhrOGDnur9-ulvqomrSg6qyODKmah76lJU=
Next: the purchases concerned are settled anew within minutes, and carry the id as last_seen_external_id from then on.
A customer can be named before anything was bought. An id that another customer has already joins the two; a customer who
has another id already keeps it.")]
pub enum Verb {
    /// Name a customer of the store, or the owner of a receipt, by your own id.
    #[command(after_help = "\
Example:
  settle customer name --app ID --external-id 4711 --receipt RECEIPT
Next: `settle purchase list --external-id 4711` shows their purchases.")]
    Name {
        /// The app's id.
        #[arg(long)]
        app: String,
        /// Your id of the customer: a UUID, a SHA-256 or any text.
        #[arg(long, value_name = "ID")]
        external_id: String,
        /// Your app's own id of the customer's device in Amplitude: the `device_id` of this customer's events there.
        #[arg(long, value_name = "ID")]
        analytics_device_id: Option<String>,
        #[command(flatten)]
        owner: Owner,
    },
    /// Show one customer.
    #[command(after_help = "\
Example:
  settle customer show --app ID --external-id 4711
  settle customer show --app ID --user-id USER
Next: `settle purchase list --external-id 4711` shows their purchases.")]
    Show {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        key: CustomerArgs,
    },
    /// Show what a customer may use now, or what was known and announced of them at a time.
    #[command(after_help = "\
Example:
  settle customer state --app ID --external-id 4711
  settle customer state --app ID --external-id 4711 --at 2026-03-01T12:00:00Z
Next: `settle purchase explain KEY` shows why a purchase is as it is.")]
    State {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        name: Name,
        /// The environment whose purchases count.
        #[arg(long, default_value = "production", value_parser = ["production", "sandbox"])]
        environment: String,
        /// A time (RFC 3339) in the past: shows what was announced until then.
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
    /// Erase a customer: remove the names, and ask destinations to delete the user. The ledger stays.
    #[command(after_help = "\
Example:
  settle customer erase --app ID --external-id 4711 --reason \"request 17\" --by support@example.com
Next: what it prints is the report; `settle customer erasure --app ID REPORT` prints it again.")]
    Erase {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        name: Name,
        /// Why. It is stored, so it must not name the customer.
        #[arg(long)]
        reason: String,
        /// Who requests it. It is stored, so it must not name the customer.
        #[arg(long, value_name = "WHO")]
        by: String,
    },
    /// Show the report of a customer who was erased.
    #[command(after_help = "\
Example:
  settle customer erasure --app ID 6b275a67-0bbb-4f3a-99b9-6600bf711993
Next: a destination that is `pending` gets its request again by itself.")]
    Erasure {
        /// The app's id.
        #[arg(long)]
        app: String,
        /// The report's id.
        report: String,
    },
    /// Move a customer with all purchases to the customer with another id of yours.
    #[command(after_help = "\
Example:
  settle customer move --app ID --app-user-id STORE_USER --to 4712 --reason \"named by mistake\"
Next: what gives access is announced by user.subscription.transferred.from and .to; `settle customer undo TRANSFER` takes
it back.")]
    Move {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        key: Key,
        /// Your id of the customer who gets them; a new one makes a new customer.
        #[arg(long, value_name = "ID")]
        to: String,
        #[command(flatten)]
        author: Author,
    },
    /// Take a transfer back: the customer's purchases belong to their former owner again.
    #[command(after_help = "\
Example:
  settle customer undo TRANSFER --reason \"ticket 4711\"
Next: `settle customer transfers USER` lists both transfers.")]
    Undo {
        /// The transfer's id, as in its events.
        transfer: String,
        #[command(flatten)]
        author: Author,
    },
    /// List the logins on devices with receipts of another customer that wait for an answer.
    #[command(after_help = "\
Example:
  settle customer reviews --app ID
Next: `settle customer approve REVIEW` or `settle customer refuse REVIEW`; the alarm `transfer_wanted` names each. Which
logins wait is the platform's setting `--transfers`.")]
    Reviews {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        page: Page,
    },
    /// Give what a device has receipts of to the customer who logged in on it, now and at later logins.
    #[command(after_help = "\
Example:
  settle customer approve REVIEW --reason \"ticket 4711\"
Next: `settle customer undo TRANSFER` takes back what moved; `settle customer refuse REVIEW` ends the permission.")]
    Approve {
        /// The id, as in the alarm.
        review: String,
        #[command(flatten)]
        author: Author,
    },
    /// Leave what a device has receipts of with its owner, now and at later logins.
    #[command(after_help = "\
Example:
  settle customer refuse REVIEW --reason \"ticket 4711\"
Next: `settle customer approve REVIEW` changes the answer.")]
    Refuse {
        /// The id, as in the alarm.
        review: String,
        #[command(flatten)]
        author: Author,
    },
    /// List the newest transfers from and to a user.
    #[command(after_help = "\
Example:
  settle customer transfers USER      (the user_id of `settle customer show`)
Next: `settle customer undo TRANSFER` takes one back.")]
    Transfers {
        /// The user's id.
        user: String,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Name {
    /// Your id of the customer.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// The store's name of the customer.
    #[arg(long, value_name = "ID")]
    app_user_id: Option<String>,
    /// The id of settle.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Author {
    /// Why, for those who look at it later.
    #[arg(long)]
    reason: String,
    /// Who does it [default: cli].
    #[arg(long, default_value = "cli", hide_default_value = true)]
    by: String,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Owner {
    /// The store's name of the customer.
    #[arg(long, value_name = "ID")]
    app_user_id: Option<String>,
    /// A receipt that the customer owns.
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct CustomerArgs {
    /// Your id of the customer.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// The store's name of the customer.
    #[arg(long, value_name = "ID")]
    app_user_id: Option<String>,
    /// A receipt that the customer owns.
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
    /// The id of settle: shows what the purchases give, too.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Key {
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

/// Runs one subcommand.
pub async fn customer(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    let path = |app: &str| format!("/v1/apps/{}/customers", segment(app));
    let answer = match verb {
        Verb::Name { app, external_id, analytics_device_id, owner: Owner { app_user_id, receipt } } => {
            let body = json!({
                "external_id": external_id, "app_user_id": app_user_id, "receipt_id": receipt,
                "analytics_device_id": analytics_device_id,
            });
            client.put(&path(&app), &body).await?
        }
        Verb::Show { app, key: CustomerArgs { user_id: Some(user), .. } } => {
            client.get(&format!("{}/{}", path(&app), segment(&user)), &[]).await?
        }
        Verb::Show { app, key: CustomerArgs { external_id, app_user_id, receipt, user_id: None } } => {
            let query = [("external_id", external_id), ("app_user_id", app_user_id), ("receipt_id", receipt)];
            client.get(&path(&app), &query).await?
        }
        Verb::State { app, name: Name { external_id, app_user_id, user_id }, environment, at } => {
            let names = [("external_id", external_id), ("app_user_id", app_user_id), ("user_id", user_id)];
            let query: Vec<_> = names.into_iter().chain([("environment", Some(environment)), ("at", at)]).collect();
            let state = client.get(&format!("{}/state", path(&app)), &query).await?;
            return Ok(shown_state(client, &state));
        }
        Verb::Erase { app, name: Name { external_id, app_user_id, user_id }, reason, by } => {
            let body = json!({
                "external_id": external_id, "app_user_id": app_user_id, "user_id": user_id, "reason": reason, "by": by,
            });
            let path = path(&app);
            let report = client.post(&format!("{path}/erase"), &present_fields(body)).await?;
            let report = until_removed(client, &path, report).await?;
            return Ok(shown_report(client, &report));
        }
        Verb::Erasure { app, report } => {
            let report = client.get(&format!("{}/erase/{}", path(&app), segment(&report)), &[]).await?;
            return Ok(shown_report(client, &report));
        }
        Verb::Move { app, key: Key { external_id, app_user_id, receipt }, to, author: Author { reason, by } } => {
            let from = json!({ "external_id": external_id, "app_user_id": app_user_id, "receipt_id": receipt });
            let body = json!({ "from": present_fields(from), "external_id": to, "reason": reason, "by": by });
            client.post(&format!("{}/move", path(&app)), &body).await?
        }
        Verb::Undo { transfer, author: Author { reason, by } } => {
            let body = json!({ "reason": reason, "by": by });
            client.post(&format!("/v1/transfers/{}/undo", segment(&transfer)), &body).await?
        }
        Verb::Reviews { app, page } => {
            let answer = client.get(&format!("/v1/apps/{}/transfer-reviews", segment(&app)), &page.query()).await?;
            return Ok(table::answer_list(client, &answer, REVIEWS, "No login waits for an answer."));
        }
        Verb::Approve { review, author } => answer_review(client, &review, "approve", author).await?,
        Verb::Refuse { review, author } => answer_review(client, &review, "refuse", author).await?,
        Verb::Transfers { user } => {
            let answer = client.get("/v1/transfers", &[("user_id", Some(user))]).await?;
            return Ok(table::answer_list(client, &answer, COLUMNS, "Nothing moved from or to this user."));
        }
    };
    Ok(table::answer(client, &answer))
}

async fn answer_review(client: &Client, review: &str, verb: &str, author: Author) -> anyhow::Result<Value> {
    let body = json!({ "reason": author.reason, "by": author.by });
    client.post(&format!("/v1/transfer-reviews/{}/{verb}", segment(review)), &body).await
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
fn shown_report(client: &Client, report: &Value) -> ExitCode {
    if client.json {
        return table::answer(client, report);
    }
    table::line(if report["removed_at"].is_null() {
        "The names are being removed; what was recorded before is sent with them until its `stage` is done."
    } else {
        "The names are removed."
    });
    let mut about = report.clone();
    if let Some(about) = about.as_object_mut() {
        about.remove("destinations");
    }
    table::answer(client, &about);
    table::line("");
    let destinations = json!({ "items": report["destinations"] });
    table::list(&destinations, &DESTINATIONS, "No destination of the app keeps users.");
    ExitCode::SUCCESS
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
fn shown_state(client: &Client, state: &Value) -> ExitCode {
    if client.json {
        return table::answer(client, state);
    }
    if let Some(note) = state["announcement"]["note"].as_str() {
        table::line(note);
    }
    let mut about = state.clone();
    if let Some(about) = about.as_object_mut() {
        about.retain(|name, _| !matches!(name.as_str(), "active_entitlements" | "purchases" | "devices"));
    }
    table::answer(client, &about);
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
    ExitCode::SUCCESS
}
