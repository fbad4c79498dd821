//! `settle explain`: prints the explanation of the API as a tree of sentences.

use super::drawn::{Exchange, Resource, Shows, Verb, Verbs};
use super::{layout, table};
use serde_json::Value;

pub const EXPLANATION: Shows = Shows::Own(print);

const NOTIFICATION: Verb = Verb::get(
    "notification",
    "/v1/explain/notifications/{message_id}",
    "The outcome of a store's message, and the events that followed",
    "\
Example:
  settle explain notification 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11
Next: `settle explain purchase COLLAPSE_KEY` explains the whole purchase that it names.",
)
.shows(EXPLANATION);

const PURCHASE: Verb = Verb::get(
    "purchase",
    "/v1/explain/purchases/{collapse_key}",
    "A purchase with its notifications, events and deliveries",
    "\
Example:
  settle explain purchase RECEIPT
Next: `settle resend purchase RECEIPT` sends again what did not arrive.",
)
.shows(EXPLANATION);

const EVENT: Verb = Verb::get(
    "event",
    "/v1/explain/events/{event_id}",
    "What caused an event, which destinations received it, which did not, and why",
    "\
Example:
  settle explain event EVENT_ID      (in what a receiver got: `id` of a `user.*` event, `attributes.event_id` of a
                                     `purchase.updated`, or the header `webhook-id`)
Next: `settle resend event EVENT_ID` sends it again.",
)
.shows(EXPLANATION);

const DESTINATION: Verb = Verb::get(
    "destination",
    "/v1/explain/destinations/{destination_id}",
    "The state of a destination, what is pending for it and what failed",
    "\
Example:
  settle explain destination ID
Next: `settle destination probe ID` tries at once; `settle resend failed --destination ID` sends again what failed.",
)
.shows(EXPLANATION);

pub const RESOURCE: Resource = Resource {
    name: "explain",
    about: "Why something is as it is: notification, outcome, revision, events, deliveries, attempts, in sentences",
    help: "\
Example:
  settle explain purchase RECEIPT
  settle explain notification 3f0c3a5e-7d38-5f6e-9d3c-0f6a4e6f2b11      (the message id, as the store named it)
  settle explain event EVENT_ID      (or the `webhook-id` that a receiver got)
  settle explain destination ID
Next: `settle resend --help` sends again what did not arrive. --json prints the same as data.",
    verbs: Verbs::Named(&[NOTIFICATION, PURCHASE, EVENT, DESTINATION]),
};

fn print(Exchange { answer, .. }: &Exchange) {
    let mut lines = Vec::new();
    indent(answer, 0, &mut lines);
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
