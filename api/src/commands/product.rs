//! `settle product`: the products of the catalogue with their entitlements and prices.

use super::client::{Client, Page, segment};
use super::confirm::Confirm;
use super::table::{self, Column};
use anyhow::Context;
use clap::Subcommand;
use domain::catalogue::Since;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

const COLUMNS: &[Column] = &[("sku", "sku"), ("name", "name"), ("entitlements", "entitlements"), ("prices", "prices")];
const EXPECTED_PRICE: &str = "expected CURRENCY:PRICE such as USD:9.99, or COUNTRY:CURRENCY:PRICE such as DE:EUR:8.99, \
     either with @SINCE such as USD:10.99@2026-03-01";
const UNMAPPED_COLUMNS: &[Column] = &[("sku", "sku"), ("purchases", "purchases")];

/// Which app's catalogue is changed.
#[derive(Debug, clap::Args)]
pub struct Scope {
    /// The app's id.
    #[arg(long)]
    pub app: String,
    /// Change nothing, only count the known purchases that it would concern.
    #[arg(long)]
    pub dry_run: bool,
}

/// Products: what can be bought, its entitlements and its prices.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle product set com.example.monthly --app ID --entitlement premium --price USD:9.99 --price DE:EUR:8.99
  settle product unmapped --app ID
  settle product export --app ID catalogue.json      then edit it, and
  settle product import --app ID catalogue.json --dry-run
Next: purchases of a changed product are settled anew, a few at a time; `settle purchase list` shows them.
A subscription is looked up by the SKU of its term, then by that of its parent.")]
pub enum Verb {
    /// Add a product, or replace it.
    #[command(after_help = "\
Example:
  settle product set com.example.monthly --app ID --entitlement premium --price USD:9.99 --dry-run
  settle product set com.example.monthly --app ID --entitlement premium --price USD:9.99 --price USD:10.99@2026-03-01
Next: without --dry-run the purchases of it are settled anew, a few at a time. Give a raised price as a second one with
its day: without a day it would be the price of all earlier purchases too.")]
    Set {
        /// Its SKU at the store.
        sku: String,
        /// Its name, for people.
        #[arg(long)]
        name: Option<String>,
        /// The reference id of an entitlement of it. Can be given more than once.
        #[arg(long = "entitlement", value_name = "REF", value_delimiter = ',')]
        entitlements: Vec<String>,
        /// The price of one term: `USD:9.99`, or in one country only `DE:EUR:8.99`. With `@2026-03-01` for plans
        /// that began on that day (UTC) or later: those that run keep their price. Can be given more than once.
        #[arg(long = "price", value_name = "[COUNTRY:]CURRENCY:PRICE[@SINCE]")]
        prices: Vec<PriceTag>,
        #[command(flatten)]
        scope: Scope,
    },
    /// List the products of an app.
    #[command(after_help = "\
Example:
  settle product list --app ID
Next: `settle product unmapped --app ID` lists what was bought and is not in it.")]
    List {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        page: Page,
    },
    /// Delete a product.
    #[command(after_help = "\
Example:
  settle product delete com.example.monthly --app ID --dry-run
Next: without --dry-run the purchases of it are settled anew, a few at a time, and announced without it.")]
    Delete {
        /// Its SKU.
        sku: String,
        #[command(flatten)]
        scope: Scope,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// List what was bought and is not in the catalogue.
    #[command(after_help = "\
Example:
  settle product unmapped --app ID
Next: `settle product set SKU --app ID --entitlement REF` puts one into the catalogue.")]
    Unmapped {
        /// The app's id.
        #[arg(long)]
        app: String,
    },
    /// Write all products and entitlements of an app to a file, as JSON.
    #[command(after_help = "\
Example:
  settle product export --app ID catalogue.json
Next: edit it, then `settle product import --app ID catalogue.json --dry-run`.")]
    Export {
        /// The file; standard output without it.
        file: Option<PathBuf>,
        /// The app's id.
        #[arg(long)]
        app: String,
    },
    /// Replace all products and entitlements of an app by those of a file.
    #[command(after_help = "\
Example:
  settle product import --app ID catalogue.json --dry-run
Next: without --dry-run the purchases that it concerns are settled anew, a few at a time.")]
    Import {
        /// A file as `export` writes it.
        file: PathBuf,
        #[command(flatten)]
        scope: Scope,
    },
}

/// A price as it is typed.
#[derive(Debug, Clone)]
pub struct PriceTag(Value);

impl FromStr for PriceTag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (price, since) = text.split_once('@').map_or((text, None), |(price, since)| (price, Some(since)));
        let mut tag = match price.split(':').collect::<Vec<_>>()[..] {
            [currency, price] => json!({ "currency": currency, "price": price }),
            [country, currency, price] => json!({ "country": country, "currency": currency, "price": price }),
            _ => return Err(EXPECTED_PRICE.to_owned()),
        };
        if let Some(since) = since {
            let since: Since = since.parse().map_err(|wrong| format!("{EXPECTED_PRICE}: {wrong}"))?;
            tag["since"] = json!(since);
        }
        Ok(Self(tag))
    }
}

/// Runs one subcommand.
pub async fn product(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Set { sku, name, entitlements, prices, scope } => {
            let prices: Vec<Value> = prices.into_iter().map(|tag| tag.0).collect();
            let body = json!({ "name": name, "entitlements": entitlements, "prices": prices });
            Ok(scope.concerned(client, &client.put(&path(&scope, &sku), &body).await?))
        }
        Verb::Delete { sku, scope, confirm } => {
            if !scope.dry_run {
                confirm.prompt(&format!(
                    "Product {sku} is deleted: its purchases are settled anew, and announced without it."
                ))?;
            }
            Ok(scope.concerned(client, &client.delete(&path(&scope, &sku)).await?))
        }
        Verb::List { app, page } => {
            let answer = client.get(&format!("/v1/apps/{}/products", segment(&app)), &page.query()).await?;
            Ok(table::answer_list(client, &answer, COLUMNS, "No products yet: `settle product set --help`."))
        }
        Verb::Unmapped { app } => {
            let answer = client.get(&format!("{}/unmapped", catalogue(&app)), &[]).await?;
            Ok(table::answer_list(client, &answer, UNMAPPED_COLUMNS, "Every SKU that was bought is in the catalogue."))
        }
        Verb::Export { file, app } => export(client, &app, file.as_deref()).await,
        Verb::Import { file, scope } => {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("{} could not be read", file.display()))?;
            let document: Value = serde_json::from_str(&text)
                .with_context(|| format!("{} is not JSON as `settle product export` writes it", file.display()))?;
            let path = format!("{}{}", catalogue(&scope.app), scope.query());
            Ok(scope.concerned(client, &client.put(&path, &document).await?))
        }
    }
}

impl Scope {
    /// The query of the request.
    pub const fn query(&self) -> &'static str {
        if self.dry_run { "?dry_run=true" } else { "" }
    }

    /// Prints the number of known purchases that the change affects.
    pub fn concerned(&self, client: &Client, answer: &Value) -> ExitCode {
        let count = table::field(answer, "purchases");
        let sentence = if self.dry_run {
            format!("Nothing is changed yet. It would concern {count} known purchases.")
        } else {
            format!("Done. It concerns {count} known purchases; they are settled anew, a few at a time.")
        };
        table::answer_line(client, answer, &sentence)
    }
}

fn path(scope: &Scope, sku: &str) -> String {
    format!("/v1/apps/{}/products/{}{}", segment(&scope.app), segment(sku), scope.query())
}

fn catalogue(app: &str) -> String {
    format!("/v1/apps/{}/catalogue", segment(app))
}

async fn export(client: &Client, app: &str, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let document = client.get(&catalogue(app), &[]).await?;
    let Some(file) = file else {
        table::json(&document);
        return Ok(ExitCode::SUCCESS);
    };
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    std::fs::write(file, format!("{text}\n")).with_context(|| format!("{} could not be written", file.display()))?;
    table::line(&format!("Written to {}: `settle product import` reads it.", file.display()));
    Ok(ExitCode::SUCCESS)
}
