//! `settle audit-log`: who changed what, when and why.

use super::client::{Page, Remote};
use super::table::{self, Column};
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("at", "at"),
    ("who", "actor"),
    ("key", "key_id"),
    ("what", "operation"),
    ("on", "subject"),
    ("why", "reason"),
    ("before", "before"),
    ("after", "after"),
];

/// The audit log: what persons, keys and scripts changed, the newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An audit entry is written in the transaction of its change, and never removed. It has the changed fields before and
after, without secrets and names of customers.

Examples:
  settle audit-log --app APP_ID --limit 20
  settle audit-log --subject DESTINATION_ID
Next: `settle audit-log --json` prints them whole; `settle key list` shows whose keys they are.")]
pub struct Options {
    /// Only those that concern this app.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Only those on this: the id of a platform, destination, purchase, topic, transfer, key, …
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// Only those of this key.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Only those of this operation, such as `destination.update`.
    #[arg(long)]
    operation: Option<String>,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    remote: Remote,
}

/// Runs it.
pub async fn audit_log(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let Options { app, subject, key, operation, page, .. } = &options;
    let filter = [("app_id", app), ("subject", subject), ("key_id", key), ("operation", operation)];
    let answer = client.get("/v1/audit-log", &page.query_with(&filter)).await?;
    Ok(table::answer_list(&client, &answer, COLUMNS, "No such entry."))
}
