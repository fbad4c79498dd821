//! `settle destination redeliver`: what is dead is owed again, page by page.

use crate::commands::client::Client;
use crate::commands::redeliver::{Bulk, Pages};
use serde_json::json;
use std::process::ExitCode;

/// Which destination.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination redeliver ID --dry-run
Next: `settle destination show ID` shows what is owed to it.")]
pub struct Redeliver {
    /// The destination's id.
    id: String,
    #[command(flatten)]
    pages: Pages,
}

/// Redelivers everything that is dead, page by page.
pub async fn redeliver(client: &Client, options: &Redeliver) -> anyhow::Result<ExitCode> {
    let bulk = Bulk {
        client,
        path: "/v1/redeliveries".to_owned(),
        body: json!({ "failed": true, "destination_id": options.id }),
        counted: "checked",
        unit: "dead deliveries checked",
        pages: &options.pages,
        flags: String::new(),
    };
    bulk.run().await
}
