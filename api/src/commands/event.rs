//! `settle event`: the events that were recorded.

use super::client::{Page, Remote, segment};
use super::table::{self, Column};
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use std::process::ExitCode;

/// The columns of a list of events.
pub const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("type", "type"),
    ("revision", "revision"),
    ("created", "created_at"),
    ("collapse key", "collapse_key"),
];

/// Events: what was announced to destinations, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle event list --purchase COLLAPSE_KEY
Next: `settle delivery list --purchase COLLAPSE_KEY` shows their deliveries. With --json the bodies are printed.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show one event with its body, as a receiver gets it.
    #[command(after_help = "\
Example:
  settle event show EVENT_ID
Next: `settle explain event EVENT_ID` shows which destinations received it, which did not, and why.")]
    Show {
        /// The event's id, `event_id` in the body that a receiver got.
        id: String,
    },
    /// List events.
    #[command(after_help = "\
Example:
  settle event list --purchase COLLAPSE_KEY
Next: `settle explain event EVENT_ID` shows which destinations received one, which did not, and why.")]
    List {
        /// Only those of this purchase (its collapse key).
        #[arg(long, value_name = "COLLAPSE_KEY")]
        purchase: Option<String>,
        /// Only those of this type.
        #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(domain::event::types()))]
        event_type: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

/// Runs one subcommand.
pub async fn event(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let (purchase, event_type, page) = match &options.verb {
        Verb::Show { id } => {
            let event = client.get(&format!("/v1/events/{}", segment(id)), &[]).await?;
            return Ok(table::answer(&client, &event));
        }
        Verb::List { purchase, event_type, page } => (purchase, event_type, page),
    };
    let answer =
        client.get("/v1/events", &page.query_with(&[("collapse_key", purchase), ("type", event_type)])).await?;
    let nothing = match purchase {
        Some(_) => "No event of this purchase: `settle explain purchase RECEIPT` shows why.",
        None if event_type.is_some() => "No event of this type.",
        None => "No events yet: try `settle sample`.",
    };
    Ok(table::answer_list(&client, &answer, COLUMNS, nothing))
}
