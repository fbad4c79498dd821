//! `settle destination redeliver`: what is dead is owed again, page by page.

use crate::commands::client::{Client, Remote};
use crate::commands::redeliver::{Bulk, Pages, answer};
use serde_json::{Map, Value};
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
pub async fn redeliver(client: &Client, remote: &Remote, options: &Redeliver) -> anyhow::Result<ExitCode> {
    let mut body = Map::new();
    body.insert("failed".to_owned(), Value::Bool(true));
    body.insert("destination_id".to_owned(), options.id.as_str().into());
    let bulk = Bulk {
        client,
        path: "/v1/redeliveries".to_owned(),
        body,
        counted: "checked",
        unit: "dead deliveries checked",
        pages: &options.pages,
        flags: String::new(),
    };
    let done = bulk.run().await?;
    Ok(answer(remote, "checked", &done, &options.pages))
}
