//! `settle destination replay`: the newest state of each purchase, one delivery for each.

use crate::commands::client::{Client, segment};
use crate::commands::redeliver::{Bulk, Pages};
use serde_json::json;
use std::process::ExitCode;

/// Which destination, and which purchases.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination replay ID --dry-run      (counts the purchases)
  settle destination replay ID --all          (for a receiver that lost its table)
Next: `settle destination show ID` shows what is still owed.")]
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
        path: format!("/v1/destinations/{}/replay", segment(&options.id)),
        body: json!({ "all": options.all }),
        counted: "purchases",
        unit: "purchases checked",
        pages: &options.pages,
        flags: String::new(),
    };
    bulk.run().await
}
