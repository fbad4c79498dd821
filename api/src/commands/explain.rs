//! `settle explain`: why something is as it is. The words are the API's; here they are put under each other.

use super::client::{Client, Remote, segment};
use super::{layout, purchase, table};
use clap::Subcommand;
use serde_json::Value;
use std::process::ExitCode;

/// Why something is as it is: notification, outcome, revision, events, deliveries, attempts, in words.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle explain purchase RECEIPT
  settle explain notification 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11      (the message id, as the store named it)
  settle explain event EVENT_ID                                        (`event_id` in what a receiver got)
  settle explain destination ID
Next: `settle redeliver --help` sends again what did not arrive. With --json the same is data, with all that is known.")]
pub struct Options {
    #[command(subcommand)]
    subject: Subject,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// What became of a message of a store, and what came of that.
    #[command(after_help = "\
Example:
  settle explain notification 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11
Next: `settle explain purchase COLLAPSE_KEY` tells the whole story of the purchase that it names.")]
    Notification {
        /// The message id that the store gave.
        message_id: String,
    },
    /// The story of a purchase.
    #[command(after_help = "\
Example:
  settle explain purchase RECEIPT
Next: `settle redeliver purchase RECEIPT` sends again what did not arrive.")]
    Purchase {
        /// Its collapse key, or the store's receipt id.
        collapse_key: String,
    },
    /// What caused an event, to whom it went and to whom not, and why.
    #[command(after_help = "\
Example:
  settle explain event EVENT_ID      (the `event_id` in what a receiver got)
Next: `settle redeliver event EVENT_ID` sends it again.")]
    Event {
        /// The event's id.
        id: String,
    },
    /// How a destination fares, what is owed to it and what died on the way.
    #[command(after_help = "\
Example:
  settle explain destination ID
Next: `settle destination probe ID` tries at once; `settle redeliver failed --destination ID` sends again what died.")]
    Destination {
        /// The destination's id.
        id: String,
    },
}

/// Explains one thing.
pub async fn explain(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let path = match &options.subject {
        Subject::Notification { message_id } => format!("notifications/{}", segment(message_id)),
        Subject::Purchase { collapse_key } => format!("purchases/{}", purchase::key(&client, collapse_key).await?),
        Subject::Event { id } => format!("events/{}", segment(id)),
        Subject::Destination { id } => format!("destinations/{}", segment(id)),
    };
    show(&client, &options.remote, &path).await
}

/// Prints what the API says of one thing.
pub async fn show(client: &Client, remote: &Remote, path: &str) -> anyhow::Result<ExitCode> {
    let node = client.get(&format!("/v1/explain/{path}"), &[]).await?;
    if remote.json {
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

/// Its sentence, and below it those of what came of it.
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
