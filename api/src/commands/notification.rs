//! `settle notification`: what became of one message of a store.

use super::client::{Remote, segment};
use super::table::{self, Column};
use clap::Subcommand;
use std::process::ExitCode;

/// The columns of a list of notifications.
pub const COLUMNS: &[Column] = &[
    ("type", "type"),
    ("accepted", "accepted_at"),
    ("outcome", "outcome"),
    ("waiting for", "waiting_for"),
    ("revision", "revision"),
    ("reason", "reason"),
    ("collapse key", "collapse_key"),
];

/// Notifications: what a store told us, and what became of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle notification show 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11      (the message id, as the store named it)
Next: `settle explain notification MESSAGE_ID` tells what came of it.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what became of one message: its outcome, or what it waits for.
    #[command(after_help = "\
Example:
  settle notification show 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11
Next: `settle explain notification MESSAGE_ID` tells what came of it.")]
    Show {
        /// The message id that the store gave.
        message_id: String,
    },
}

/// Does one verb.
pub async fn notification(options: Options) -> anyhow::Result<ExitCode> {
    let Verb::Show { message_id } = &options.verb;
    let answer = options.remote.client()?.get(&format!("/v1/notifications/{}", segment(message_id)), &[]).await?;
    if options.remote.json {
        return Ok(table::answer(&options.remote, &answer));
    }
    table::line(&format!("Message {message_id}, accepted {}", table::field(&answer, "accepted_at")));
    table::list(answer.get("notifications").unwrap_or(&answer), COLUMNS, "It told nothing about any purchase.");
    Ok(ExitCode::SUCCESS)
}
