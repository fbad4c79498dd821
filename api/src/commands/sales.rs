//! `settle app import-sales`: imports payments and refunds from a store's sales report.

use super::client::{Client, read_as, segment};
use super::progress::bar;
use super::{names, rows, table};
use anyhow::{Context, bail};
use api::resources::sales::MAX_TRANSACTIONS;
use api::stores;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Maximum number of errors that are printed.
const MAX_ERRORS: usize = 20;
/// Number of transactions in one request: a quarter of the maximum, because the body limit applies too.
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

/// The result of the whole file.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    sum: SalesPart,
    trials: u64,
    without_receipt: u64,
    dry_run: bool,
}

/// The response to a part, like [`storage::ImportedSales`], or the sum of several.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SalesPart {
    new: i64,
    known: i64,
    changed: i64,
    matched: i64,
    purchases: i64,
    unmatched: Vec<Unmatched>,
    differences: Vec<Difference>,
}

/// A transaction without a payment, like [`storage::Unmatched`].
#[derive(Debug, Serialize, Deserialize)]
struct Unmatched {
    transaction_id: String,
    kind: String,
    why: String,
    /// Fields that this version does not know, for `--json`.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// A difference between the report and the ledger, like [`storage::Difference`].
#[derive(Debug, Serialize, Deserialize)]
struct Difference {
    transaction_id: Option<String>,
    collapse_key: String,
    number: i64,
    what: String,
    listed: Option<String>,
    reported: Option<String>,
    usd: Option<String>,
    /// Fields that this version does not know, for `--json`.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Validates the whole file, then sends it in parts. If a line has an error, nothing is sent.
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
    let mut whole = Whole {
        sum: SalesPart::default(),
        trials: report.trials,
        without_receipt: report.without_receipt,
        dry_run: options.dry_run,
    };
    for part in report.sales.chunks(PART) {
        let lines: Vec<u64> = part.iter().map(|(line, _)| *line).collect();
        let csv = stores::sales_part(part.iter().map(|(_, sale)| sale));
        let sent = client.post_csv(&path, csv).await;
        let answer = rows::answer(sent, "sales", &lines, "known transactions are skipped")?;
        whole.sum.add(read_as(&answer)?);
        bar.inc(u64::try_from(part.len()).unwrap_or_default());
    }
    bar.finish_and_clear();
    print(client, &whole);
    Ok(if whole.sum.unmatched.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl SalesPart {
    /// Adds the response to another part.
    fn add(&mut self, part: Self) {
        self.new += part.new;
        self.known += part.known;
        self.changed += part.changed;
        self.matched += part.matched;
        self.purchases += part.purchases;
        self.unmatched.extend(part.unmatched);
        self.differences.extend(part.differences);
    }
}

fn print(client: &Client, whole: &Whole) {
    if client.json {
        return table::json(&json!(whole));
    }
    let sum = &whole.sum;
    for one in &sum.differences {
        table::line(&format!(
            "{} for purchase {}, payment {}: listed {}, reported {}, adjusted by {} USD (transaction {})",
            table::shown(&one.what),
            table::shown(&one.collapse_key),
            one.number,
            table::shown_or_dash(one.listed.as_ref()),
            table::shown_or_dash(one.reported.as_ref()),
            table::shown_or_dash(one.usd.as_ref()),
            table::shown_or_dash(one.transaction_id.as_ref()),
        ));
    }
    for one in &sum.unmatched {
        table::line(&format!(
            "{} {} is unmatched ({}) and kept until its payment is known",
            table::shown(&one.kind),
            table::shown(&one.transaction_id),
            table::shown(&one.why),
        ));
    }
    table::line(&format!(
        "{} new, {} known and {} changed transactions, {} matched; skipped {} trials and {} lines without a purchase id.",
        sum.new, sum.known, sum.changed, sum.matched, whole.trials, whole.without_receipt,
    ));
}
