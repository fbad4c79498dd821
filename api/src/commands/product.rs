//! `settle product` and `settle entitlement`: everything that the tables of their verbs cannot express.

use super::client::{Client, read_as, segment};
use super::drawn::{Exchange, Hook};
use super::{names, table};
use anyhow::Context;
use clap::{Args, FromArgMatches};
use domain::catalogue::Since;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

const EXPECTED_PRICE: &str = "expected CURRENCY:PRICE such as USD:9.99, or COUNTRY:CURRENCY:PRICE such as DE:EUR:8.99, \
     either with @SINCE such as USD:10.99@2026-03-01";

pub const HOOKS: &[(&str, Hook)] = &[
    ("set", Hook::Parse("prices", price)),
    ("set", Hook::Sentence(affected)),
    ("delete", Hook::Sentence(affected)),
    (
        "export",
        Hook::Own(Export::augment_args, |matches, client| {
            Box::pin(async { export(client, Export::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "import",
        Hook::Own(Import::augment_args, |matches, client| {
            Box::pin(async { import(client, Import::from_arg_matches(matches)?).await })
        }),
    ),
];

pub const OF_ENTITLEMENTS: &[(&str, Hook)] = &[
    ("set", Hook::Sentence(affected)),
    ("delete", Hook::Sentence(affected)),
];

#[derive(Debug, clap::Args)]
struct Export {
    /// The file [default: standard output].
    file: Option<PathBuf>,
    /// The app's id or name.
    #[arg(long)]
    app: String,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// A file written by `export`.
    file: PathBuf,
    /// The app's id or name.
    #[arg(long)]
    app: String,
    /// Change nothing; only count the affected purchases.
    #[arg(long)]
    dry_run: bool,
}

/// Parses a price as it is typed.
fn price(text: &str) -> Result<Value, String> {
    let (price, since) = text
        .split_once('@')
        .map_or((text, None), |(price, since)| (price, Some(since)));
    // A comma separates prices, so digits alone are the rest of a price typed with a decimal comma.
    if !text.is_empty() && text.chars().all(|letter| letter.is_ascii_digit()) {
        return Err("expected a price with a decimal point: USD:9.99".to_owned());
    }
    let mut tag = match price.split(':').collect::<Vec<_>>()[..] {
        [currency, price] => json!({ "currency": currency, "price": price }),
        [country, currency, price] => {
            json!({ "country": country, "currency": currency, "price": price })
        }
        _ => return Err(EXPECTED_PRICE.to_owned()),
    };
    if let Some(since) = since {
        let since: Since = since
            .parse()
            .map_err(|wrong| format!("{EXPECTED_PRICE}: {wrong}"))?;
        tag["since"] = json!(since);
    }
    Ok(tag)
}

/// Returns how many known purchases a change of the catalogue affects, as a sentence.
fn affected(exchange: &Exchange) -> String {
    affected_purchases(&exchange.answer, exchange.typed.contains_key("dry_run"))
}

/// The effect of a change of the catalogue.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Affected {
    purchases: i64,
    warnings: Vec<String>,
}

fn affected_purchases(answer: &Value, is_dry: bool) -> String {
    let Affected {
        purchases: count,
        warnings,
    } = read_as(answer).unwrap_or_default();
    let sentence = if count == 0 && !is_dry {
        "Done. This affects no purchases.".to_owned()
    } else if is_dry {
        format!("Nothing was changed. This would affect {count} purchases.")
    } else {
        format!("Done. This affects {count} purchases, which will be re-settled gradually.")
    };
    warnings.into_iter().fold(sentence, |text, warning| {
        format!("{text}\nWarning: {warning}.")
    })
}

async fn catalogue(client: &Client, app: &str) -> anyhow::Result<String> {
    Ok(format!(
        "/v1/apps/{}/catalogue",
        segment(&names::app_id(client, app).await?)
    ))
}

async fn export(client: &Client, Export { file, app }: Export) -> anyhow::Result<ExitCode> {
    let document = client.get(&catalogue(client, &app).await?, &[]).await?;
    let Some(file) = file else {
        table::json(&document);
        return Ok(ExitCode::SUCCESS);
    };
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    std::fs::write(&file, format!("{text}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    table::line(&format!(
        "Written to {}; `settle product import` reads it.",
        file.display()
    ));
    Ok(ExitCode::SUCCESS)
}

async fn import(
    client: &Client,
    Import { file, app, dry_run }: Import,
) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let document: Value = serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is not JSON from `settle product export`",
            file.display()
        )
    })?;
    let query = [("dry_run", dry_run.then(|| "true".to_owned()))];
    let answer = client
        .change("PUT", &catalogue(client, &app).await?, &query, &document)
        .await?;
    Ok(table::answer_line(
        client,
        &answer,
        &affected_purchases(&answer, dry_run),
    ))
}
