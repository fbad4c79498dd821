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

/// What a notification can have as its outcome, and what stands for none.
const OUTCOMES: [&str; 8] =
    ["open", "settled", "no_change", "duplicate", "refused", "discarded", "unknown", "given_up"];

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
  settle notification list --outcome refused --from 2026-11-01T00:00:00Z
Next: `settle explain notification MESSAGE_ID` shows the events that followed one.")]
    List {
        /// Only those of this platform.
        #[arg(long, value_name = "ID")]
        platform: Option<String>,
        /// Only those with this outcome; `open` for those without one.
        #[arg(long, value_parser = OUTCOMES)]
        outcome: Option<String>,
        /// Only those accepted at this time or later.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
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
        Verb::List { platform, outcome, from, page } => {
            let filter = [("platform_id", platform), ("outcome", outcome), ("from", from)];
            let mut answer = client.get("/v1/notifications", &page.query_with(&filter)).await?;
            if !options.remote.json {
                names::add(&client, &mut answer, names::PLATFORM).await;
            }
            let nothing = match platform {
                _ if outcome.is_some() || from.is_some() => "No notification matches.",
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
