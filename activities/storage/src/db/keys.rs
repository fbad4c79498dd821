//! The table of encryption keys. A key is registered by the first transaction that encrypts with it, so that a key that
//! was only configured leaves nothing. A retired key keeps its row, so that it never encrypts again.

use crate::connection::AnyConnection;
use crate::error::Error;
use crate::sql::{Sql, insert, statement};
use crate::statement::{row, sql};
use domain::Timestamp;

row! {
    struct KeyRow {
        retired_at: Option<Timestamp>,
    }
}

const LOCK: Sql = statement!("SELECT retired_at FROM encryption_keys WHERE id = ? FOR SHARE");
const KEYS: Sql = statement! {"
    SELECT id AS value
    FROM encryption_keys
    WHERE retired_at IS NULL
    ORDER BY created_at, id
"};

/// Registers a key that a transaction encrypts with, and locks its row (shared) until the end of the transaction: the
/// key is retired before or after the transaction, never during it. A shared lock of the row is enough, because a key
/// that is being retired is an older one, with which only processes that were not restarted yet encrypt, and rarely.
///
/// # Errors
/// [`Error::Corrupt`] when the key is retired.
pub fn hold(connection: &mut AnyConnection, id: &str, now: Timestamp) -> Result<(), Error> {
    let found: Option<KeyRow> = sql(LOCK).bind(id).first(connection)?;
    let row = match found {
        Some(row) => row,
        None => {
            insert!(
                encryption_keys {
                    id,
                    created_at: now
                },
                "ON CONFLICT DO NOTHING"
            )
            .run(connection)?;
            sql(LOCK).bind(id).one(connection, "key")?
        }
    };
    match row.retired_at {
        None => Ok(()),
        Some(_) => Err(retired(connection, id)?),
    }
}

/// Returns the error of a process that would encrypt with a retired key.
fn retired(connection: &mut AnyConnection, id: &str) -> Result<Error, Error> {
    let present: Vec<String> = sql(KEYS).values(connection)?;
    let present: Vec<&str> = present.iter().map(String::as_str).collect();
    Ok(Error::corrupt(format!(
        "the key `{id}`, the first one of SETTLE_KEY, is retired and must not encrypt again: list {} first and omit \
         `{id}`; to rotate the key again, create another one (`openssl rand -hex 32`)",
        listed(&present)
    )))
}

/// Checks at the start of a process that it has each key that something may be encrypted with, and that the first of
/// its keys is not retired.
pub fn check(connection: &mut AnyConnection, known: &[&str]) -> Result<(), Error> {
    let missing = missing(connection, known)?;
    if missing.is_empty() {
        return check_newest(connection, known.first().copied().unwrap_or_default());
    }
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    Err(Error::corrupt(format!(
        "its secrets are encrypted with another key: {} is missing, SETTLE_KEY has {}; name every key, the newest first",
        listed(&missing),
        listed(known)
    )))
}

/// Checks that the key with which a process encrypts is not retired.
pub fn check_newest(connection: &mut AnyConnection, id: &str) -> Result<(), Error> {
    let row: Option<KeyRow> = sql(LOCK).bind(id).first(connection)?;
    match row.and_then(|row| row.retired_at) {
        None => Ok(()),
        Some(_) => Err(retired(connection, id)?),
    }
}

/// Returns the ids of the keys that something may be encrypted with, except those in `known`.
pub fn missing(connection: &mut AnyConnection, known: &[&str]) -> Result<Vec<String>, Error> {
    let stored: Vec<String> = sql(KEYS).values(connection)?;
    Ok(stored
        .into_iter()
        .filter(|id| !known.contains(&id.as_str()))
        .collect())
}

pub fn listed(ids: &[&str]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
    quoted.join(", ")
}
