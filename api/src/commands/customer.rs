//! `settle customer`: the owners of purchases.

use super::client::{Remote, segment};
use super::table;
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

/// Customers: the owners of purchases, by your own ids.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle customer name --app ID --external-id 4711 --app-user-id l3HL7XppEMhrOGDnur9-ulvqomrSg6qyODKmah76lJU=
Next: the purchases concerned are settled anew within minutes, and carry the id as last_seen_external_id from then on.
A customer can be named before anything was bought. An id that another customer has already joins the two; a customer who
has another id already keeps it.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
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
struct Owner {
    /// The store's name of the customer.
    #[arg(long, value_name = "ID")]
    app_user_id: Option<String>,
    /// A receipt that the customer owns.
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Key {
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

/// Does one verb.
pub async fn customer(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let path = |app: &str| format!("/v1/apps/{}/customers", segment(app));
    let answer = match &options.verb {
        Verb::Name { app, external_id, owner } => {
            let mut body = json!({ "external_id": external_id });
            for (name, value) in [("app_user_id", &owner.app_user_id), ("receipt_id", &owner.receipt)] {
                if let Some(value) = value {
                    body[name] = json!(value);
                }
            }
            client.put(&path(app), &body).await?
        }
        Verb::Show { app, key } => {
            let query = [
                ("external_id", key.external_id.clone()),
                ("app_user_id", key.app_user_id.clone()),
                ("receipt_id", key.receipt.clone()),
            ];
            client.get(&path(app), &query).await?
        }
    };
    Ok(table::answer(&options.remote, &answer))
}
