//! `settle app`: the apps of the installation.

use super::client::{Client, Page, segment};
use super::confirm::Confirm;
use super::import::{self, Import};
use super::rates::{self, Rates};
use super::sales::{self, Sales};
use super::table::{self, Column};
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

const COLUMNS: &[Column] = &[("id", "id"), ("name", "name"), ("created", "created_at")];

/// Apps: the owners of platforms and destinations.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle app create \"My game\"
  settle app import purchases.csv --platform ID      purchases that were made before
  settle app rates rates.csv --app ID                rates of exchange, for prices in USD
  settle app import-sales sales.csv --app ID         what was paid, by the store's sales report
Next: connect its store with `settle platform create --app ID …`, and add a receiver with
`settle destination create --app ID …`.")]
pub enum Verb {
    /// Create an app.
    #[command(after_help = "\
Example:
  settle app create \"My game\"
Next: connect its store with `settle platform create --app ID …`.")]
    Create {
        /// Its name, for people.
        name: String,
    },
    /// List the apps.
    #[command(after_help = "\
Example:
  settle app list
Next: `settle platform list --app ID` and `settle destination list --app ID` show what belongs to one.")]
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Show one app.
    #[command(after_help = "\
Example:
  settle app show ID
Next: `settle purchase list --platform PLATFORM_ID` shows what was bought in it.")]
    Show {
        /// The app's id.
        id: String,
    },
    /// Give an app another name.
    #[command(after_help = "\
Example:
  settle app rename ID \"Our game\"
Next: nothing else changes; `settle app list` shows the name.")]
    Rename {
        /// The app's id.
        id: String,
        /// The new name.
        name: String,
    },
    /// Adopt purchases from before the platform was connected: each is verified, and announced once as
    /// purchase.updated.
    ///
    /// Running it again continues where it stopped: known purchases are skipped. A wrong line is reported, the others
    /// are imported, and the exit code is 1.
    Import(Import),
    /// Add rates of exchange, from which price_in_usd of what is settled afterwards is computed.
    Rates(Rates),
    /// Import a store's sales report: exact prices and refunds, and corrections of what was announced.
    ///
    /// A file with a wrong line is refused as a whole, and each wrong line is named with its column. Exits with 1 when
    /// transactions remain whose payment is not known.
    ImportSales(Sales),
    /// Delete an app. Its notifications and events stay in the ledger.
    #[command(after_help = "\
Example:
  settle app delete ID
Next: its platforms and destinations are deleted too: stores are answered 404, and nothing more is sent.")]
    Delete {
        /// The app's id.
        id: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Runs one subcommand.
pub async fn app(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    let path = |id: &str| format!("/v1/apps/{}", segment(id));
    let answer = match verb {
        Verb::Create { name } => client.post("/v1/apps", &json!({ "name": name })).await?,
        Verb::List { page } => {
            let answer = client.get("/v1/apps", &page.query()).await?;
            return Ok(table::answer_list(client, &answer, COLUMNS, "No apps yet: `settle app create NAME`."));
        }
        Verb::Show { id } => client.get(&path(&id), &[]).await?,
        Verb::Rename { id, name } => client.patch(&path(&id), &json!({ "name": name })).await?,
        Verb::Import(wanted) => return import::import(client, &wanted).await,
        Verb::Rates(wanted) => return rates::rates(client, &wanted).await,
        Verb::ImportSales(wanted) => return sales::sales(client, &wanted).await,
        Verb::Delete { id, confirm } => {
            confirm.prompt(&format!("App {id} is deleted, with its platforms and destinations."))?;
            client.delete(&path(&id)).await?
        }
    };
    Ok(table::answer(client, &answer))
}
