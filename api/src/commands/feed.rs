//! `settle feed`: the purchases of an app with the revision of each.

use super::client::{Page, Remote, segment};
use super::table::{self, Column};
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("collapse key", "collapse_key"),
    ("revision", "revision"),
    ("state digest", "state_digest"),
    ("acknowledged", "acknowledged_revision"),
    ("updated", "updated_at"),
];

/// The purchases of an app with revision and digest, for a receiver that compares its table or lost it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A receiver compares `revision` and `state_digest` with what it has, and requests what it lacks:
POST /v1/resends {\"destination_id\": \"ID\", \"collapse_keys\": […]}. It gets exactly one delivery for each.

Example:
  settle feed --app ID --destination ID --limit 500 --json
Next: `settle resend all --destination ID` sends everything to a receiver that lost its table.")]
pub struct Options {
    /// The app's id.
    #[arg(long, value_name = "ID")]
    app: String,
    /// Only purchases that this destination wants, with the acknowledged revision.
    #[arg(long, value_name = "ID")]
    destination: Option<String>,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    remote: Remote,
}

/// Prints one page.
pub async fn feed(options: Options) -> anyhow::Result<ExitCode> {
    let query = options.page.query_with(&[("destination_id", &options.destination)]);
    let client = options.remote.client()?;
    let answer = client.get(&format!("/v1/apps/{}/feed", segment(&options.app)), &query).await?;
    Ok(table::answer_list(&client, &answer, COLUMNS, "No purchases yet."))
}
