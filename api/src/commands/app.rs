//! `settle app`: the apps of the installation.

use super::client::{Page, Remote, segment};
use super::import::{self, Import};
use super::rates::{self, Rates};
use super::table::{self, Column};
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

const COLUMNS: &[Column] = &[("id", "id"), ("name", "name"), ("created", "created_at")];

/// Apps: whose purchases are settled.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle app create \"My game\"
  settle app import purchases.csv --platform ID      purchases that were made before
  settle app rates rates.csv --app ID                rates of exchange, for prices in USD
Next: connect its store with `settle platform create --app ID …`, and say whom to tell with
`settle destination create --app ID …`.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an app.
    Create {
        /// Its name, for people.
        name: String,
    },
    /// List the apps.
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Show one app.
    Show {
        /// The app's id.
        id: String,
    },
    /// Give an app another name.
    Rename {
        /// The app's id.
        id: String,
        /// The new name.
        name: String,
    },
    /// Adopt purchases that were made before settle listened: each is verified, and told once as purchase.updated.
    ///
    /// Running it again goes on where it stopped: what is known is skipped. A line that is wrong is named, and the
    /// others go on; then the exit code is 1.
    Import(Import),
    /// Add rates of exchange, from which price_in_usd is computed in what is settled from then on.
    Rates(Rates),
    /// Delete an app. What was accepted and told stays in the ledger.
    Delete {
        /// The app's id.
        id: String,
    },
}

/// Does one verb.
pub async fn app(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let answer = match &options.verb {
        Verb::Create { name } => client.post("/v1/apps", &json!({ "name": name })).await?,
        Verb::List { page } => {
            let answer = client.get("/v1/apps", &page.query()).await?;
            return Ok(table::answer_list(&options.remote, &answer, COLUMNS, "No apps yet: `settle app create NAME`."));
        }
        Verb::Show { id } => client.get(&format!("/v1/apps/{}", segment(id)), &[]).await?,
        Verb::Rename { id, name } => {
            client.patch(&format!("/v1/apps/{}", segment(id)), &json!({ "name": name })).await?
        }
        Verb::Import(wanted) => return import::import(&client, &options.remote, wanted).await,
        Verb::Rates(wanted) => return rates::rates(&client, &options.remote, wanted).await,
        Verb::Delete { id } => client.delete(&format!("/v1/apps/{}", segment(id))).await?,
    };
    Ok(table::answer(&options.remote, &answer))
}
