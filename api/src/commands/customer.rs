//! `settle customer`: the users who own purchases, and the app's own ids of them.

use super::client::{Client, segment};
use super::table;
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

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
    };
    Ok(table::answer(client, &answer))
}
