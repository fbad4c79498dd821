//! `settle alarm`: what needs a person's attention.

use super::client::{Client, Page, segment};
use super::names;
use super::table::{self, Column};
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("last", "last_at"),
    ("count", "count"),
    ("kind", "kind"),
    ("platform", "platform"),
    ("first", "at"),
    ("detail", "detail"),
    ("note", "note"),
    ("id", "id"),
];

/// Alarms: what needs a person's attention, with a count and the last time.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle alarm list --open
  settle alarm acknowledge ALARM_ID --note \"the new secret is set\"
Next: what an alarm is about: `settle platform show ID`, `settle explain destination ID`, `settle check`.")]
pub enum Verb {
    /// List the alarms, the last raised first.
    #[command(after_help = "\
An alarm stays in the list; one that is raised again with the same text is counted, moves to the top and is open again.

Example:
  settle alarm list --limit 10
  settle alarm list --open
Next: for a topic that waits for approval `settle platform topics ID`, for a destination in trouble
`settle explain destination ID`, for tables that disagree `settle check`. `settle alarm acknowledge ID` closes one.")]
    List {
        /// Only those that nobody acknowledged since they were raised last.
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        page: Page,
    },
    /// Show one alarm.
    #[command(after_help = "\
Example:
  settle alarm show ALARM_ID
Next: `settle alarm acknowledge ID --note TEXT`.")]
    Show {
        /// The alarm's id.
        id: String,
    },
    /// Note that you know of an alarm. Raised again, it is open again.
    #[command(after_help = "\
Example:
  settle alarm acknowledge ALARM_ID --note \"the new secret is set\"
Next: `settle audit-log --operation alarm.acknowledge` shows who did so.")]
    Acknowledge {
        /// The alarm's id.
        id: String,
        /// What was found, or what is done about it.
        #[arg(long)]
        note: String,
    },
}

/// Runs one subcommand.
pub async fn alarm(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List { open, page } => {
            let only = open.then(|| "true".to_owned());
            let mut answer = client.get("/v1/alarms", &page.query_with(&[("open", &only)])).await?;
            names::add(client, &mut answer, names::PLATFORM).await;
            let nothing = if open { "No alarm is open." } else { "No alarm was ever raised." };
            Ok(table::answer_list(client, &answer, COLUMNS, nothing))
        }
        Verb::Show { id } => Ok(table::answer(client, &client.get(&path(&id), &[]).await?)),
        Verb::Acknowledge { id, note } => {
            let answer = client.post(&format!("{}/acknowledge", path(&id)), &json!({ "note": note })).await?;
            Ok(table::answer(client, &answer))
        }
    }
}

fn path(id: &str) -> String {
    format!("/v1/alarms/{}", segment(id))
}
