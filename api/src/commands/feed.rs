//! `settle feed`: which purchases an app has and how far each is.

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

/// Which purchases an app has, how far each is and its digest: for a receiver that lost its table or doubts it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A receiver compares `revision` and `state_digest` with what it has, and asks for what it lacks:
POST /v1/destinations/ID/replay {\"collapse_keys\": […]}. One delivery comes for each, and no other.

Example:
  settle feed --app ID --destination ID --limit 500 --json
Next: `settle destination replay ID --all` sends everything, to a receiver that has nothing left.")]
pub struct Options {
    /// The app's id.
    #[arg(long, value_name = "ID")]
    app: String,
    /// Only what this destination wants, with what it acknowledged.
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
    let answer = options.remote.client()?.get(&format!("/v1/apps/{}/feed", segment(&options.app)), &query).await?;
    Ok(table::answer_list(&options.remote, &answer, COLUMNS, "Nothing was told yet."))
}
