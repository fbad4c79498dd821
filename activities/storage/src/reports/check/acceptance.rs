//! The rules that every accepted notification is stored, and that every stored notification was accepted.
//!
//! An acceptance and its notifications are committed in one transaction. If they are refused together with an
//! unapproved topic, they are also deleted in one transaction. So each row of one table must have its counterpart in
//! the other.

use super::range::{ACCEPTANCES, NOTIFICATIONS, Range};
use crate::inbox::acceptances::{self, Entry, SPAN};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use std::collections::HashSet;

/// Maximum number of notifications that one statement reads.
const MAX_PER_STATEMENT: usize = 512;

row! {
    struct Acceptance {
        seq: i64,
        notifications: String,
    }
}

row! {
    struct StoredNotification {
        seq: i64,
        message_id: String,
    }
}

const ACCEPTED: Sql = statement!(
    "SELECT a.seq, a.notifications FROM acceptances a WHERE {ACCEPTANCES} ORDER BY a.seq"
);

/// Checks the rule `accepted_is_stored`.
pub fn accepted_are_stored(
    connection: &mut AnyConnection,
    range: &Range,
) -> Result<Vec<String>, Error> {
    let acceptances: Vec<Acceptance> = sql(ACCEPTED)
        .bind_all(range.values.clone())
        .all(connection)?;
    let (mut entries, mut broken) = (Vec::new(), Vec::new());
    for acceptance in acceptances {
        match acceptances::read(&acceptance.notifications) {
            Some(more) => entries.extend(more),
            None => broken.push(format!(
                "acceptance {}, which cannot be read",
                acceptance.seq
            )),
        }
    }
    for entries in entries.chunks(MAX_PER_STATEMENT) {
        let stored = stored(connection, entries)?;
        broken.extend(
            entries
                .iter()
                .filter(|(seq, _)| !stored.contains(seq))
                .map(describe),
        );
    }
    Ok(broken)
}

const STORED_OF: Sql = statement!("SELECT seq AS value FROM notifications WHERE seq IN (?*)");

/// Returns the sequence numbers of these entries that are stored.
fn stored(connection: &mut AnyConnection, entries: &[Entry]) -> Result<HashSet<i64>, Error> {
    let stored = sql(STORED_OF)
        .uncached()
        .bind_list(entries.iter().map(|(seq, _)| *seq))
        .values(connection)?;
    Ok(stored.into_iter().collect())
}

fn describe((seq, key): &Entry) -> String {
    match key {
        Some(key) => format!("notification {seq} of purchase {key}"),
        None => format!("notification {seq} of no purchase"),
    }
}

const ACCEPTANCES_AROUND: Sql =
    statement!("SELECT notifications AS value FROM acceptances WHERE seq > ? AND seq <= ?");

const STORED: Sql = statement!(
    "SELECT n.seq, n.message_id FROM notifications n WHERE {NOTIFICATIONS} ORDER BY n.seq"
);

/// Checks the rule `stored_was_accepted`.
pub fn stored_were_accepted(
    connection: &mut AnyConnection,
    range: &Range,
) -> Result<Vec<String>, Error> {
    let stored: Vec<StoredNotification> =
        sql(STORED).bind_all(range.values.clone()).all(connection)?;
    let (Some(first), Some(last)) = (stored.first(), stored.last()) else {
        return Ok(Vec::new());
    };
    let near: Vec<String> = sql(ACCEPTANCES_AROUND)
        .bind(first.seq - SPAN)
        .bind(last.seq)
        .values(connection)?;
    let accepted: HashSet<i64> = near
        .iter()
        .filter_map(|stored| acceptances::read(stored))
        .flatten()
        .map(|(seq, _)| seq)
        .collect();
    Ok(stored
        .into_iter()
        .filter(|row| !accepted.contains(&row.seq))
        .map(|row| row.message_id)
        .collect())
}
