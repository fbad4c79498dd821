//! `settle app import-sales`: payments and refunds of a store's sales report.

use super::client::{Client, segment};
use super::progress::bar;
use super::{names, rows, table};
use crate::resources::sales::MAX_TRANSACTIONS;
use crate::stores;
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Maximum number of wrong places that are printed.
const MAX_ERRORS: usize = 20;
/// Transactions of one request: a quarter of the maximum, because the body limit applies too.
const PART: usize = MAX_TRANSACTIONS / 4;

/// The report, and its app.
#[derive(Debug, clap::Args)]
pub struct Sales {
    /// The store's transactional sales report: unpacked CSV whose first line names the columns.
    file: PathBuf,
    /// The app's id or name.
    #[arg(long, value_name = "ID")]
    app: String,
    /// Change nothing; only print what would be matched and corrected.
    #[arg(long)]
    dry_run: bool,
}

/// Checks the whole file, then sends it in parts. If a line is wrong, nothing is sent.
pub async fn sales(client: &Client, options: &Sales) -> anyhow::Result<ExitCode> {
    let name = options.file.display();
    let bytes = std::fs::read(&options.file).with_context(|| format!("cannot read {name}"))?;
    let report = match stores::sales_report(&bytes) {
        Ok(report) => report,
        Err(wrong) => {
            for one in wrong.iter().take(MAX_ERRORS) {
                eprintln!("{}", super::layout::harmless(&one.to_string()));
            }
            bail!("{name}: {} errors, nothing was imported", wrong.len());
        }
    };
    let app = names::app_id(client, &options.app).await?;
    let path = format!(
        "/v1/apps/{}/sales{}",
        segment(&app),
        if options.dry_run { "?dry_run=true" } else { "" }
    );
    let bar = bar(
        "lines read",
        Some(u64::try_from(report.sales.len()).unwrap_or(u64::MAX)),
    );
    let mut whole = json!({ "new": 0, "known": 0, "changed": 0, "matched": 0, "purchases": 0, "unmatched": [],
        "differences": [], "trials": report.trials, "without_receipt": report.without_receipt,
        "dry_run": options.dry_run });
    for part in report.sales.chunks(PART) {
        let lines: Vec<u64> = part.iter().map(|(line, _)| *line).collect();
        let csv = stores::sales_part(part.iter().map(|(_, sale)| sale));
        let sent = client.post_csv(&path, csv).await;
        let answer = rows::answer(sent, "sales", &lines, "known transactions are skipped")?;
        add(&mut whole, &answer);
        bar.inc(u64::try_from(part.len()).unwrap_or_default());
    }
    bar.finish_and_clear();
    print(client, &whole);
    let has_open = !table::items(&whole["unmatched"]).is_empty();
    Ok(if has_open {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn add(whole: &mut Value, part: &Value) {
    for name in ["new", "known", "changed", "matched", "purchases"] {
        let count = |value: &Value| value[name].as_i64().unwrap_or_default();
        whole[name] = json!(count(whole) + count(part));
    }
    for name in ["unmatched", "differences"] {
        let mut all = table::items(&whole[name]).to_vec();
        all.extend(table::items(&part[name]).iter().cloned());
        whole[name] = json!(all);
    }
}

fn print(client: &Client, whole: &Value) {
    if client.json {
        return table::json(whole);
    }
    let count = |name: &str| table::field(whole, name);
    for one in table::items(&whole["differences"]) {
        let field = |name: &str| table::field(one, name);
        table::line(&format!(
            "{} for purchase {}, payment {}: listed {}, reported {}, adjusted by {} USD (transaction {})",
            field("what"),
            field("collapse_key"),
            field("number"),
            field("listed"),
            field("reported"),
            field("usd"),
            field("transaction_id"),
        ));
    }
    for one in table::items(&whole["unmatched"]) {
        let field = |name: &str| table::field(one, name);
        table::line(&format!(
            "{} {} is unmatched ({}) and kept until its payment is known",
            field("kind"),
            field("transaction_id"),
            field("why"),
        ));
    }
    table::line(&format!(
        "{} new, {} known and {} changed transactions, {} matched; skipped {} trials and {} lines without a purchase id.",
        count("new"),
        count("known"),
        count("changed"),
        count("matched"),
        count("trials"),
        count("without_receipt"),
    ));
}
