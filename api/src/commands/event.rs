//! `settle event`: what was told to the world.

use super::client::{Page, Remote};
use super::table::{self, Column};
use clap::Subcommand;
use std::process::ExitCode;

/// The columns of a list of events.
pub const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("type", "type"),
    ("revision", "revision"),
    ("created", "created_at"),
    ("collapse key", "collapse_key"),
];

/// Events: what was told to the world, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle event list --purchase COLLAPSE_KEY
Next: `settle delivery list --purchase COLLAPSE_KEY` shows to whom they went. With --json the bodies are printed.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List events.
    #[command(after_help = "\
Example:
  settle event list --purchase COLLAPSE_KEY
Next: `settle explain event EVENT_ID` says to whom one went, to whom not, and why.")]
    List {
        /// Only those of this purchase (its collapse key).
        #[arg(long, value_name = "COLLAPSE_KEY")]
        purchase: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

/// Does one verb.
pub async fn event(options: Options) -> anyhow::Result<ExitCode> {
    let Verb::List { purchase, page } = &options.verb;
    let answer = options.remote.client()?.get("/v1/events", &page.query_with(&[("collapse_key", purchase)])).await?;
    Ok(table::answer_list(&options.remote, &answer, COLUMNS, "Nothing was told yet."))
}
