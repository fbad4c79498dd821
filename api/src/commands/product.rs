//! `settle product`: the products of the catalogue with their entitlements and prices.

use super::client::{Client, segment};
use super::drawn::{DRY_RUN, Exchange, Flag, Resource, Shows, Verb, Verbs};
use super::names;
use super::table::{self, Column};
use anyhow::Context;
use clap::FromArgMatches;
use domain::catalogue::Since;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

const COLUMNS: &[Column] = &[("sku", "sku"), ("name", "name"), ("entitlements", "entitlements"), ("prices", "prices")];
const UNMAPPED_COLUMNS: &[Column] = &[("sku", "sku"), ("purchases", "purchases")];
const EXPECTED_PRICE: &str = "expected CURRENCY:PRICE such as USD:9.99, or COUNTRY:CURRENCY:PRICE such as DE:EUR:8.99, \
     either with @SINCE such as USD:10.99@2026-03-01";

const PRICES: Flag = Flag::of("prices")
    .named("price")
    .value("[COUNTRY:]CURRENCY:PRICE[@SINCE]")
    .help(
        "The price of one term: `USD:9.99`, or in one country only `DE:EUR:8.99`. With `@2026-03-01` for plans that began \
         on that day (UTC) or later: those that run keep their price. Can be typed more than once",
    )
    .parsed(price);

const ENTITLEMENTS: Flag = Flag::of("entitlements")
    .named("entitlement")
    .value("REF")
    .help("The reference id of an entitlement of it. Can be typed more than once");

const SET: Verb = Verb::put(
    "set",
    "/v1/apps/{app_id}/products/{sku}",
    "Add a product, or replace it",
    "\
Example:
  settle product set com.example.monthly --app ID --entitlement premium --price USD:9.99 --dry-run
  settle product set com.example.monthly --app ID --entitlement premium --price USD:9.99 --price USD:10.99@2026-03-01
Next: without --dry-run the purchases of it are settled anew, a few at a time. Give a raised price as a second one with
its day: without a day it would be the price of all earlier purchases too.",
)
.flags(&[DRY_RUN, ENTITLEMENTS, PRICES])
.shows(Shows::Sentence(affected));

const LIST: Verb = Verb::get(
    "list",
    "/v1/apps/{app_id}/products",
    "List the products of an app",
    "\
Example:
  settle product list --app ID
Next: `settle product unmapped --app ID` lists what was bought and is not in it.",
)
.list(COLUMNS, "No products yet: `settle product set --help`.", "No product matches.");

const DELETE: Verb = Verb::delete(
    "delete",
    "/v1/apps/{app_id}/products/{sku}",
    "Delete a product",
    "\
Example:
  settle product delete com.example.monthly --app ID --dry-run
Next: without --dry-run the purchases of it are settled anew, a few at a time, and announced without it.",
)
.flags(&[DRY_RUN])
.confirm("Product {} is deleted: its purchases are settled anew, and announced without it.")
.shows(Shows::Sentence(affected));

const UNMAPPED: Verb = Verb::get(
    "unmapped",
    "/v1/apps/{app_id}/catalogue/unmapped",
    "List what was bought and is not in the catalogue",
    "\
Example:
  settle product unmapped --app ID
Next: `settle product set SKU --app ID --entitlement REF` puts one into the catalogue.",
)
.list(UNMAPPED_COLUMNS, "Every SKU that was bought is in the catalogue.", "No SKU matches.");

const EXPORT: Verb = Verb::own::<Export>(
    "export",
    "Write all products and entitlements of an app to a file, as JSON",
    "\
Example:
  settle product export --app ID catalogue.json
Next: edit it, then `settle product import --app ID catalogue.json --dry-run`.",
    |matches, client| Box::pin(async { export(client, Export::from_arg_matches(matches)?).await }),
);

const IMPORT: Verb = Verb::own::<Import>(
    "import",
    "Replace all products and entitlements of an app by those of a file",
    "\
Example:
  settle product import --app ID catalogue.json --dry-run
Next: without --dry-run the purchases that it concerns are settled anew, a few at a time.",
    |matches, client| Box::pin(async { import(client, Import::from_arg_matches(matches)?).await }),
);

pub const RESOURCE: Resource = Resource {
    name: "product",
    about: "Products: what can be bought, its entitlements and its prices",
    help: "\
Example:
  settle product set com.example.monthly --app ID --entitlement premium --price USD:9.99 --price DE:EUR:8.99
  settle product unmapped --app ID
  settle product export --app ID catalogue.json      then edit it, and
  settle product import --app ID catalogue.json --dry-run
Next: purchases of a changed product are settled anew, a few at a time; `settle purchase list` shows them.
A subscription is looked up by the SKU of its term, then by that of its parent.",
    verbs: Verbs::Named(&[SET, LIST, DELETE, UNMAPPED, EXPORT, IMPORT]),
};

#[derive(Debug, clap::Args)]
struct Export {
    /// The file; standard output without it.
    file: Option<PathBuf>,
    /// The app's id or name.
    #[arg(long)]
    app: String,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// A file as `export` writes it.
    file: PathBuf,
    /// The app's id or name.
    #[arg(long)]
    app: String,
    /// Change nothing, only count the known purchases that it would affect.
    #[arg(long)]
    dry_run: bool,
}

/// A price as it is typed.
fn price(text: &str) -> Result<Value, String> {
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
    Ok(tag)
}

/// How many known purchases a change of the catalogue affects.
pub fn affected(exchange: &Exchange) -> String {
    affected_purchases(&exchange.answer, exchange.typed.contains_key("dry_run"))
}

fn affected_purchases(answer: &Value, is_dry: bool) -> String {
    let count = table::field(answer, "purchases");
    if is_dry {
        format!("Nothing is changed yet. It would affect {count} known purchases.")
    } else {
        format!("Done. It affects {count} known purchases; they are settled anew, a few at a time.")
    }
}

async fn catalogue(client: &Client, app: &str) -> anyhow::Result<String> {
    Ok(format!("/v1/apps/{}/catalogue", segment(&names::app_id(client, app).await?)))
}

async fn export(client: &Client, Export { file, app }: Export) -> anyhow::Result<ExitCode> {
    let document = client.get(&catalogue(client, &app).await?, &[]).await?;
    let Some(file) = file else {
        table::json(&document);
        return Ok(ExitCode::SUCCESS);
    };
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    std::fs::write(&file, format!("{text}\n")).with_context(|| format!("{} could not be written", file.display()))?;
    table::line(&format!("Written to {}: `settle product import` reads it.", file.display()));
    Ok(ExitCode::SUCCESS)
}

async fn import(client: &Client, Import { file, app, dry_run }: Import) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} could not be read", file.display()))?;
    let document: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not JSON as `settle product export` writes it", file.display()))?;
    let query = [("dry_run", dry_run.then(|| "true".to_owned()))];
    let answer = client.change("PUT", &catalogue(client, &app).await?, &query, &document).await?;
    Ok(table::answer_line(client, &answer, &affected_purchases(&answer, dry_run)))
}
