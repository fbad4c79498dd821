//! `settle delivery`: one event to one destination, with its attempts.

use super::client::{Client, Page, segment};
use super::names;
use super::table::{self, Column};
use clap::Subcommand;
use std::process::ExitCode;

/// The columns of a list of deliveries.
pub const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("event", "event_type"),
    ("event id", "event_id"),
    ("revision", "revision"),
    ("status", "status"),
    ("attempts", "attempts"),
    ("next due", "next_due_at"),
    ("last error", "last_error"),
    ("destination", "destination"),
];
const ATTEMPT_COLUMNS: &[Column] = &[
    ("number", "number"),
    ("started", "started_at"),
    ("ms", "latency_ms"),
    ("status", "status"),
    ("class", "class"),
    ("error", "error"),
    ("response", "response"),
];

/// Deliveries: one event to one destination, with its attempts.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle delivery list --status failed
  settle delivery attempts DELIVERY_ID
Next: `settle resend failed --dry-run` counts what could be sent again; `settle explain event EVENT_ID` shows why it failed.")]
pub enum Verb {
    /// List deliveries.
    #[command(after_help = "\
Example:
  settle delivery list --status failed --destination ID
Next: `settle delivery attempts DELIVERY_ID` shows the answers.")]
    List {
        /// Only those of this purchase (its collapse key).
        #[arg(long, value_name = "COLLAPSE_KEY")]
        purchase: Option<String>,
        /// Only those to this destination.
        #[arg(long, value_name = "ID")]
        destination: Option<String>,
        /// Only those in this state.
        #[arg(long, value_parser = ["pending", "waiting", "delivered", "superseded", "skipped", "failed"])]
        status: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show what is sent: the body, and the names of the headers. Needs the role `support`.
    #[command(after_help = "\
Example:
  settle delivery request DELIVERY_ID
Next: `settle delivery attempts DELIVERY_ID` shows the answers.")]
    Request {
        /// The delivery's id, which the receiver sees as `webhook-id`.
        id: String,
    },
    /// List the attempts of one delivery: when, how long, and the answer.
    #[command(after_help = "\
Example:
  settle delivery attempts DELIVERY_ID
Next: `settle resend event EVENT_ID` sends it again.")]
    Attempts {
        /// The delivery's id, which the receiver sees as `webhook-id`.
        id: String,
    },
}

/// Runs one subcommand.
pub async fn delivery(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List { purchase, destination, status, page } => {
            let filter = [("collapse_key", &purchase), ("destination_id", &destination), ("status", &status)];
            let mut answer = client.get("/v1/deliveries", &page.query_with(&filter)).await?;
            names::add(client, &mut answer, names::DESTINATION).await;
            let is_filtered = filter.iter().any(|(_, value)| value.is_some());
            let nothing = if is_filtered { "No delivery matches." } else { "No deliveries yet: try `settle sample`." };
            Ok(table::answer_list(client, &answer, COLUMNS, nothing))
        }
        Verb::Request { id } => {
            let answer = client.get(&format!("/v1/deliveries/{}/request", segment(&id)), &[]).await?;
            Ok(table::answer(client, &answer))
        }
        Verb::Attempts { id } => {
            let answer = client.get(&format!("/v1/deliveries/{}/attempts", segment(&id)), &[]).await?;
            Ok(table::answer_list(client, &answer, ATTEMPT_COLUMNS, "Nothing was sent yet."))
        }
    }
}
