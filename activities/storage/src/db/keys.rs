//! The table of the keys that secrets are encrypted with. A key is registered by the first transaction that encrypts with
//! it, so that one that was only named leaves nothing.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use domain::Timestamp;

const LOCK: Sql = statement!("SELECT id AS value FROM encryption_keys WHERE id = ? FOR SHARE");
const REGISTER: Sql = statement! {"
    INSERT INTO encryption_keys (id, created_at)
    VALUES (?, ?)
    ON CONFLICT DO NOTHING
"};
const KEYS: Sql = statement!("SELECT id AS value FROM encryption_keys ORDER BY created_at, id");

/// Registers a key that a transaction encrypts with, and locks its row (shared) until the end of the transaction: it is
/// turned out before or after it, never in between.
pub fn hold(connection: &mut AnyConnection, id: &str, now: Timestamp) -> Result<(), Error> {
    let known: Option<String> = sql(LOCK).bind(id).value(connection)?;
    if known.is_none() {
        sql(REGISTER).bind(id).bind(now).run(connection)?;
        let _: Option<String> = sql(LOCK).bind(id).value(connection)?;
    }
    Ok(())
}

/// Checks at the start of a process that it has each key that something may be encrypted with.
pub fn check(connection: &mut AnyConnection, known: &[&str]) -> Result<(), Error> {
    let missing = missing(connection, known)?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    Err(Error::corrupt(format!(
        "its secrets are encrypted with another key: {} is missing, SETTLE_KEY has {}; name every key, the newest first",
        listed(&missing),
        listed(known)
    )))
}

/// The ids of the keys that something may be encrypted with, without these.
pub fn missing(connection: &mut AnyConnection, known: &[&str]) -> Result<Vec<String>, Error> {
    let stored: Vec<String> = sql(KEYS).values(connection)?;
    Ok(stored.into_iter().filter(|id| !known.contains(&id.as_str())).collect())
}

/// Ids in a sentence.
pub fn listed(ids: &[&str]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
    quoted.join(", ")
}
