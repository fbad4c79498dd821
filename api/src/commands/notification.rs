//! `settle notification`: the messages of stores, and the outcome of each.

use super::client::{Page, Remote, segment};
use super::names;
use super::table::{self, Column};
use clap::Subcommand;
use std::process::ExitCode;

/// The columns of the notifications of one message, which was accepted at one time.
const COLUMNS: &[Column] = &[
    ("type", "type"),
    ("outcome", "outcome"),
    ("waiting for", "waiting_for"),
    ("revision", "revision"),
    ("reason", "reason"),
    ("collapse key", "collapse_key"),
];

const LIST_COLUMNS: &[Column] = &[
    ("message", "message_id"),
    ("type", "type"),
    ("accepted", "accepted_at"),
    ("outcome", "outcome"),
    ("waiting for", "waiting_for"),
    ("revision", "revision"),
    ("reason", "reason"),
    ("platform", "platform"),
    ("receipt", "receipt_id"),
];

/// Notifications: the messages of stores, and their outcomes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle notification list
  settle notification show 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11   (the store's message id)
Next: `settle explain notification MESSAGE_ID` shows the events that followed.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the notifications that were accepted, the newest first, each with its outcome or what it waits for.
    #[command(after_help = "\
Example:
  settle notification list --platform ID --limit 20
Next: `settle explain notification MESSAGE_ID` shows the events that followed one.")]
    List {
        /// Only those of this platform.
        #[arg(long, value_name = "ID")]
        platform: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show the outcome of one message, or what it waits for.
    #[command(after_help = "\
Example:
  settle notification show 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11
Next: `settle explain notification MESSAGE_ID` shows the events that followed.")]
    Show {
        /// The store's id of the message.
        message_id: String,
    },
}

/// Runs one subcommand.
pub async fn notification(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let message_id = match &options.verb {
        Verb::Show { message_id } => message_id,
        Verb::List { platform, page } => {
            let mut answer = client.get("/v1/notifications", &page.query_with(&[("platform_id", platform)])).await?;
            if !options.remote.json {
                names::add(&client, &mut answer, names::PLATFORM).await;
            }
            let nothing = match platform {
                Some(_) => "No notification of this platform was accepted yet.",
                None => "No notification was accepted yet: try `settle sample`.",
            };
            return Ok(table::answer_list(&client, &answer, LIST_COLUMNS, nothing));
        }
    };
    let answer = client.get(&format!("/v1/notifications/{}", segment(message_id)), &[]).await?;
    if options.remote.json {
        return Ok(table::answer(&client, &answer));
    }
    table::line(&format!("Message {message_id}, accepted {}", table::field(&answer, "accepted_at")));
    table::list(answer.get("notifications").unwrap_or(&answer), COLUMNS, "It concerns no purchase.");
    Ok(ExitCode::SUCCESS)
}
