//! `settle destination snapshot`: the newest state of every purchase, and of every user where profiles are kept, for a
//! destination that was created later.

use crate::commands::client::{Client, segment};
use crate::commands::progress::{Pace, bar};
use crate::commands::table;
use anyhow::Context;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Maximum number of purchases that one request checks.
const PAGE: u32 = 200;

/// Which destination, and at which rate.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination snapshot ID --dry-run      (counts the purchases)
  settle destination snapshot ID --rate 50
Next: `settle destination show ID` shows what is still owed. What it is behind with is sent by
`settle destination replay ID`.")]
pub struct Snapshot {
    /// The destination's id.
    id: String,
    /// Send nothing, only count the purchases.
    #[arg(long)]
    dry_run: bool,
    /// Maximum number of purchases per second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
}

/// Sends a snapshot, page by page.
pub async fn snapshot(client: &Client, options: &Snapshot) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/destinations/{}/snapshot", segment(&options.id));
    let limit = if options.dry_run { PAGE } else { options.rate.min(PAGE) };
    let (bar, mut pace) = (bar("purchases checked", None), Pace::new(options.rate));
    let (mut purchases, mut owed, mut cursor) = (0, 0, Value::Null);
    loop {
        let body = json!({ "limit": limit, "cursor": cursor, "dry_run": options.dry_run });
        let answer = client.post(&path, &body).await.context("run the same command again: nothing is sent twice")?;
        let count = |name: &str| answer[name].as_u64().unwrap_or_default();
        purchases += count("purchases");
        owed += count("owed");
        bar.inc(count("purchases"));
        cursor = answer["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
        if !options.dry_run {
            pace.did(count("owed")).await;
        }
    }
    bar.finish_and_clear();
    if client.json {
        return Ok(table::answer(client, &json!({ "purchases": purchases, "owed": owed })));
    }
    let what = if options.dry_run { "would be sent" } else { "are sent" };
    table::line(&format!(
        "Of {purchases} purchases the newest state of {owed} {what}; the others were sent before, or are not settled yet."
    ));
    Ok(ExitCode::SUCCESS)
}
