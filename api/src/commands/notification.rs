//! `settle notification`: everything that its table of verbs cannot express.

use super::client::Client;
use super::drawn::{Exchange, Hook};
use super::table::{self, Column};

pub const HOOKS: &[(&str, Hook)] = &[("show", Hook::Print(print))];

/// The columns of the table of a message's notifications, which were all accepted at the same time.
const COLUMNS: &[Column<'_>] = &[
    ("type", "type"),
    ("outcome", "outcome"),
    ("waiting for", "waiting_for"),
    ("revision", "revision"),
    ("reason", "reason"),
    ("collapse key", "collapse_key"),
];

fn print(_: &Client, Exchange { answer, .. }: &Exchange) {
    let field = |name| table::field(answer, name);
    table::line(&format!(
        "Message {}, accepted {}",
        field("message_id"),
        field("accepted_at")
    ));
    table::list(
        answer.get("notifications").unwrap_or(answer),
        COLUMNS,
        "No purchases.",
    );
}
