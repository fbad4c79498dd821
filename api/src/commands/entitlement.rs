//! `settle entitlement`: the entitlements of the catalogue.

use super::client::{Client, Page, segment};
use super::confirm::Confirm;
use super::product::Scope;
use super::table::{self, Column};
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

const COLUMNS: &[Column] = &[("ref", "ref"), ("name", "name"), ("description", "description"), ("id", "id")];

/// Entitlements: what purchases entitle their owners to.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle entitlement set premium --app ID --name \"Premium\"
Next: add it to products with `settle product set SKU --app ID --entitlement premium`.")]
pub enum Verb {
    /// Add an entitlement, or rename it.
    #[command(after_help = "\
Example:
  settle entitlement set premium --app ID --name \"Premium\"
Next: add it to products: `settle product set SKU --app ID --entitlement premium`.")]
    Set {
        /// Its reference id, in your own system.
        reference: String,
        /// Its name, for people.
        #[arg(long)]
        name: String,
        /// More about it, for people.
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        scope: Scope,
    },
    /// List the entitlements of an app.
    #[command(after_help = "\
Example:
  settle entitlement list --app ID
Next: `settle product list --app ID` shows which products entitle to them.")]
    List {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        page: Page,
    },
    /// Delete an entitlement. It is removed from all products.
    #[command(after_help = "\
Example:
  settle entitlement delete premium --app ID --dry-run
Next: without --dry-run the purchases that had it are settled anew, a few at a time.")]
    Delete {
        /// Its reference id.
        reference: String,
        #[command(flatten)]
        scope: Scope,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Runs one subcommand.
pub async fn entitlement(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    let path = |scope: &Scope, reference: &str| {
        format!("/v1/apps/{}/entitlements/{}{}", segment(&scope.app), segment(reference), scope.query())
    };
    match verb {
        Verb::Set { reference, name, description, scope } => {
            let body = json!({ "name": name, "description": description });
            Ok(scope.concerned(client, &client.put(&path(&scope, &reference), &body).await?))
        }
        Verb::List { app, page } => {
            let answer = client.get(&format!("/v1/apps/{}/entitlements", segment(&app)), &page.query()).await?;
            let nothing = "No entitlements yet: `settle entitlement set --help`.";
            Ok(table::answer_list(client, &answer, COLUMNS, nothing))
        }
        Verb::Delete { reference, scope, confirm } => {
            if !scope.dry_run {
                confirm
                    .prompt(&format!("Entitlement {reference} is deleted, and no product entitles to it any more."))?;
            }
            Ok(scope.concerned(client, &client.delete(&path(&scope, &reference)).await?))
        }
    }
}
