//! `settle alarm`: what needs a person's attention.

use super::client::{Client, Page};
use super::names;
use super::table::{self, Column};
use clap::Subcommand;
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("last", "last_at"),
    ("count", "count"),
    ("kind", "kind"),
    ("platform", "platform"),
    ("first", "at"),
    ("detail", "detail"),
];

/// Alarms: what needs a person's attention, with a count and the last time.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle alarm list
Next: what an alarm is about: `settle platform show ID`, `settle explain destination ID`, `settle audit`.")]
pub enum Verb {
    /// List the alarms, the last raised first.
    #[command(after_help = "\
An alarm stays in the list; one that is raised again with the same text is counted, and moves to the top.

Example:
  settle alarm list --limit 10
Next: for a topic that waits for approval `settle platform topics ID`, for a destination in trouble
`settle explain destination ID`, for tables that disagree `settle audit`.")]
    List {
        #[command(flatten)]
        page: Page,
    },
}

/// Runs one subcommand.
pub async fn alarm(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    let Verb::List { page } = verb;
    let mut answer = client.get("/v1/alarms", &page.query()).await?;
    names::add(client, &mut answer, names::PLATFORM).await;
    Ok(table::answer_list(client, &answer, COLUMNS, "No alarm was ever raised."))
}
