//! `settle customer`: the users who own purchases, and the app's own ids of them.

use super::client::{Client, present_fields, segment};
use super::table::{self, Column};
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("transfer", "transfer_id"),
    ("cause", "cause"),
    ("from", "from.external_id"),
    ("to", "to.external_id"),
    ("at", "created_at"),
    ("by", "by"),
    ("taken back by", "undone_by"),
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
Next: `settle purchase list --external-id 4711` shows their purchases.")]
    Show {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        key: Key,
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
        Verb::Show { app, key: Key { external_id, app_user_id, receipt } } => {
            let query = [("external_id", external_id), ("app_user_id", app_user_id), ("receipt_id", receipt)];
            client.get(&path(&app), &query).await?
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
        Verb::Transfers { user } => {
            let answer = client.get("/v1/transfers", &[("user_id", Some(user))]).await?;
            return Ok(table::answer_list(client, &answer, COLUMNS, "Nothing moved from or to this user."));
        }
    };
    Ok(table::answer(client, &answer))
}
