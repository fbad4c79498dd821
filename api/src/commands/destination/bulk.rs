//! The subcommands that send many events to one destination, page by page: `redeliver` (failed deliveries), `replay`
//! (newest states) and `snapshot` (initial load).

use super::path;
use crate::commands::client::Client;
use crate::commands::progress::{Pace, bar};
use crate::commands::redeliver::{Bulk, Pages};
use crate::commands::table;
use anyhow::Context;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Maximum number of purchases that one request checks.
const PAGE: u32 = 200;

/// Which destination.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination redeliver ID --dry-run
Next: `settle destination show ID` shows what is pending for it.")]
pub struct Redeliver {
    /// The destination's id.
    id: String,
    #[command(flatten)]
    pages: Pages,
}

/// Sends all failed deliveries again, page by page.
pub async fn redeliver(client: &Client, options: &Redeliver) -> anyhow::Result<ExitCode> {
    let bulk = Bulk {
        client,
        path: "/v1/redeliveries".to_owned(),
        body: json!({ "failed": true, "destination_id": options.id }),
        counted: "checked",
        unit: "failed deliveries checked",
        pages: &options.pages,
        flags: String::new(),
    };
    bulk.run().await
}

/// Which destination, and which purchases.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination replay ID --dry-run      (counts the purchases)
  settle destination replay ID --all          (for a receiver that lost its table)
Next: `settle destination show ID` shows what is still pending.")]
pub struct Replay {
    /// The destination's id.
    id: String,
    /// Every purchase, also those whose newest state it acknowledged: for a receiver that lost its table.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pages: Pages,
}

/// Replays the purchases, page by page.
pub async fn replay(client: &Client, options: &Replay) -> anyhow::Result<ExitCode> {
    let bulk = Bulk {
        client,
        path: format!("{}/replay", path(&options.id)),
        body: json!({ "all": options.all }),
        counted: "purchases",
        unit: "purchases checked",
        pages: &options.pages,
        flags: String::new(),
    };
    bulk.run().await
}

/// Which destination, and at which rate.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination snapshot ID --dry-run      (counts the purchases)
  settle destination snapshot ID --rate 50
Next: `settle destination show ID` shows what is still pending. What it is behind with is sent by
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

/// Sends the newest state of every purchase that was never sent to the destination, page by page.
pub async fn snapshot(client: &Client, options: &Snapshot) -> anyhow::Result<ExitCode> {
    let path = format!("{}/snapshot", path(&options.id));
    let limit = if options.dry_run { PAGE } else { options.rate.min(PAGE) };
    let (bar, mut pace) = (bar("purchases checked", None), Pace::new(options.rate));
    let (mut purchases, mut queued, mut cursor) = (0, 0, Value::Null);
    loop {
        let body = json!({ "limit": limit, "cursor": cursor, "dry_run": options.dry_run });
        let answer = client.post(&path, &body).await.context("run the same command again: nothing is sent twice")?;
        let count = |name: &str| answer[name].as_u64().unwrap_or_default();
        purchases += count("purchases");
        queued += count("pending");
        bar.inc(count("purchases"));
        cursor = answer["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
        if !options.dry_run {
            pace.did(count("pending")).await;
        }
    }
    bar.finish_and_clear();
    let what = if options.dry_run { "would be sent" } else { "are sent" };
    let sentence = format!(
        "Of {purchases} purchases the newest state of {queued} {what}; the others were sent before, or are not settled yet."
    );
    Ok(table::answer_line(client, &json!({ "purchases": purchases, "pending": queued }), &sentence))
}
