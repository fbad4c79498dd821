//! `settle explain`: prints the explanation of the API as a tree of sentences.

use super::client::{Client, Remote, segment};
use super::{layout, names, table};
use clap::Subcommand;
use serde_json::Value;
use std::process::ExitCode;

/// Why something is as it is: notification, outcome, revision, events, deliveries, attempts, in sentences.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle explain purchase RECEIPT
  settle explain notification 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11      (the message id, as the store named it)
  settle explain event EVENT_ID      (or the `webhook-id` that a receiver got)
  settle explain destination ID
Next: `settle resend --help` sends again what did not arrive. --json prints the same as data.")]
pub struct Options {
    #[command(subcommand)]
    subject: ExplainSubject,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum ExplainSubject {
    /// The outcome of a store's message, and the events that followed.
    #[command(after_help = "\
Example:
  settle explain notification 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11
Next: `settle explain purchase COLLAPSE_KEY` explains the whole purchase that it names.")]
    Notification {
        /// The store's id of the message.
        message_id: String,
    },
    /// A purchase with its notifications, events and deliveries.
    #[command(after_help = "\
Example:
  settle explain purchase RECEIPT
Next: `settle resend purchase RECEIPT` sends again what did not arrive.")]
    Purchase {
        /// Its collapse key, or the store's receipt id.
        collapse_key: String,
    },
    /// What caused an event, which destinations received it, which did not, and why.
    #[command(after_help = "\
Example:
  settle explain event EVENT_ID      (in what a receiver got: `id` of a `user.*` event, `attributes.event_id` of a
                                     `purchase.updated`, or the header `webhook-id`)
Next: `settle resend event EVENT_ID` sends it again.")]
    Event {
        /// The event's id, or that of one of its deliveries: the `webhook-id`.
        id: String,
    },
    /// The state of a destination, what is pending for it and what failed.
    #[command(after_help = "\
Example:
  settle explain destination ID
Next: `settle destination probe ID` tries at once; `settle resend failed --destination ID` sends again what failed.")]
    Destination {
        /// The destination's id.
        id: String,
    },
}

/// Explains one thing.
pub async fn explain(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let path = match &options.subject {
        ExplainSubject::Notification { message_id } => format!("notifications/{}", segment(message_id)),
        ExplainSubject::Purchase { collapse_key } => {
            format!("purchases/{}", names::collapse_key(&client, collapse_key).await?)
        }
        ExplainSubject::Event { id } => format!("events/{}", segment(&names::event_id(&client, id).await?)),
        ExplainSubject::Destination { id } => format!("destinations/{}", segment(id)),
    };
    show(&client, &path).await
}

/// Prints the API's explanation of one thing.
pub async fn show(client: &Client, path: &str) -> anyhow::Result<ExitCode> {
    let node = client.get(&format!("/v1/explain/{path}"), &[]).await?;
    if client.json {
        table::json(&node);
    } else {
        let mut lines = Vec::new();
        indent(&node, 0, &mut lines);
        for line in lines.iter().map(|line| layout::short_times(line)) {
            match layout::width() {
                Some(width) => {
                    let below = line.len() - line.trim_start_matches(' ').len() + 2;
                    layout::wrap(&line, width, below).iter().for_each(|line| table::plain(line));
                }
                None => table::plain(&line),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds the sentence of a node, and below it those of its children, indented.
fn indent(node: &Value, depth: usize, lines: &mut Vec<String>) {
    lines.push(format!("{:width$}{}", "", table::field(node, "summary"), width = 2 * depth));
    for next in node.get("then").and_then(Value::as_array).into_iter().flatten() {
        indent(next, depth + 1, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::indent;
    use serde_json::json;

    #[test]
    fn what_came_of_a_thing_stands_below_it() {
        let event = json!({"summary": "event e", "then": [{"summary": "to `hook`: delivered", "then": [{"summary": "attempt 1"}]}]});
        let mut lines = Vec::new();
        indent(&json!({"summary": "purchase k", "then": [{"summary": "RENEWED: settled"}, event]}), 0, &mut lines);
        let expected = ["purchase k", "  RENEWED: settled", "  event e", "    to `hook`: delivered", "      attempt 1"];
        assert_eq!(lines, expected);
    }
}
