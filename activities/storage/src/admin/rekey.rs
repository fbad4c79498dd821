//! Rotating the encryption key: everything that an older key encrypted or hashed is encrypted and hashed with the
//! newest key, in pages. Each value contains its key's id, so an interrupted rotation continues where it stopped, and
//! values that other processes store in the meantime are included. The older keys are retired in one transaction, which
//! verifies that no value uses them.

use super::erasure::TABLE as ERASURES;
use super::sealed_key::{INGRESS, OLD_INGRESS};
use crate::people::login_secret;
use crate::settings::credential::{SHARED_SECRET, STORE_CREDENTIALS};
use crate::settings::tombstones;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::fault;
use db::keys;
use db::secrets::Secrets;
use db::sql::{Sql, statement};
use db::startup::NAMES_KEY;
use db::statement::{Number, row, sql};
use db::writer::Write;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::json;

#[derive(Clone, Copy)]
struct Column {
    what: &'static str,
    /// The names of the table and of the column.
    #[cfg(feature = "fail-points")]
    name: (&'static str, &'static str),
    /// Purpose of the encryption, which the encryption authenticates together with the row's id.
    purpose: &'static str,
    /// Reads the next values that older keys encrypted, and locks their rows.
    page: Sql,
    /// Replaces a value, unless it changed since it was read.
    replace: Sql,
    /// Counts the values that older keys encrypted.
    count: Sql,
}

/// Builds the [`Column`] of a table whose rows have this id column.
macro_rules! column {
    ($what:literal, $purpose:expr, $table:literal, $id:literal, $column:literal) => {{
        const TABLE: &str = $table;
        const ID: &str = $id;
        const COLUMN: &str = $column;
        Column {
            what: $what,
            #[cfg(feature = "fail-points")]
            name: (TABLE, COLUMN),
            purpose: $purpose,
            page: statement! {"
                SELECT CAST({ID} AS TEXT) AS id, {COLUMN} AS sealed
                FROM {TABLE}
                WHERE {COLUMN} NOT LIKE ? AND CAST({ID} AS TEXT) > ?
                ORDER BY CAST({ID} AS TEXT)
                LIMIT ?
                FOR NO KEY UPDATE
            "},
            replace: statement!(
                "UPDATE {TABLE} SET {COLUMN} = ? WHERE CAST({ID} AS TEXT) = ? AND {COLUMN} = ?"
            ),
            count: statement!("SELECT COUNT(*) AS value FROM {TABLE} WHERE {COLUMN} NOT LIKE ?"),
        }
    }};
}

const COLUMNS: [Column; 10] = [
    column!(
        "the key of tombstones",
        NAMES_KEY.0,
        "installation",
        "id",
        "names_key"
    ),
    column!("ingress keys", INGRESS, "platforms", "id", "ingress_key"),
    column!(
        "old ingress keys",
        OLD_INGRESS,
        "platforms",
        "id",
        "old_ingress_key"
    ),
    column!(
        "secrets of stores",
        SHARED_SECRET,
        "platforms",
        "id",
        "shared_secret"
    ),
    column!(
        "credentials of stores",
        STORE_CREDENTIALS,
        "platforms",
        "id",
        "store_credentials"
    ),
    column!(
        "login secrets",
        login_secret::PURPOSE,
        "platforms",
        "id",
        "login_secret"
    ),
    column!(
        "secrets of destinations",
        "destinations",
        "destinations",
        "id",
        "secret"
    ),
    column!(
        "URLs of pending topics",
        "topics",
        "topics",
        "id",
        "subscribe_url"
    ),
    column!(
        "customers in tombstones",
        tombstones::TABLE,
        "tombstones",
        "tombstone",
        "sealed"
    ),
    column!(
        "names that are being erased",
        ERASURES,
        "erasures",
        "id",
        "names"
    ),
];

/// Returns the tables and columns with secrets, for tests that search for these.
#[cfg(feature = "fail-points")]
pub fn secret_columns() -> Vec<(&'static str, &'static str)> {
    COLUMNS.iter().map(|column| column.name).collect()
}

/// Number of values in one transaction.
const PAGE: i64 = 100;

const SET_HASH: Sql =
    statement!("UPDATE platforms SET ingress_hash = ? WHERE id = ? AND ingress_hash NOT LIKE ?");
const SET_OLD_HASH: Sql = statement!(
    "UPDATE platforms SET old_ingress_hash = ? WHERE id = ? AND old_ingress_hash NOT LIKE ?"
);
const COUNT_HASHES: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM platforms
    WHERE ingress_hash NOT LIKE ? OR old_ingress_hash NOT LIKE ?
"};

row! {
    struct Sealed {
        id: String,
        sealed: String,
    }
}

/// Values that remain to be encrypted or hashed with the newest key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Left {
    pub what: &'static str,
    pub count: i64,
}

/// The position from which a rotation continues. The default is the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TurnCursor {
    column: usize,
    after: String,
    /// Whether an earlier page recorded the audit entry of the rotation.
    is_recorded: bool,
}

/// Result of one page of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// Number of values that are now encrypted with the newest key.
    pub count: i64,
    pub what: &'static str,
    /// Where the next page begins; `None` after the last.
    pub next: Option<TurnCursor>,
}

impl Store {
    /// Returns the id of the key that encrypts.
    pub fn key_id(&self) -> &str {
        self.database.secrets.newest_id()
    }

    /// Returns the ids of the other keys that stored values may still be encrypted with.
    pub async fn older_keys(&self) -> Result<Vec<String>, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| older(connection, &secrets))
            .await
    }

    /// Counts the values that older keys encrypted or hashed. Columns without such values are left out.
    pub async fn left_of_older_keys(&self) -> Result<Vec<Left>, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| left(connection, &secrets))
            .await
    }

    /// Encrypts and hashes the next page of values with the newest key. The first page that changes a value records the
    /// audit entry of the whole rotation.
    pub async fn turn_page(&self, from: TurnCursor) -> Result<Turned, Error> {
        let secrets = self.database.secrets.clone();
        let turned = self
            .change("key.turn", move |write| {
                let turned = turn(write, &secrets, &from)?;
                let is_first = turned.count > 0 && !from.is_recorded;
                let entry = if is_first {
                    Some(entry(older(write.connection, &secrets)?, &secrets))
                } else {
                    None
                };
                Ok((turned, entry))
            })
            .await;
        fault::kill_at("rekey.after_page");
        turned
    }

    /// Retires the older keys if no value uses them; returns their ids. From then on no process can encrypt with them,
    /// and the database can be opened without them.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a value still uses one of them; [`Error::Corrupt`] if the key of this process was
    /// retired.
    pub async fn turn_out_older_keys(&self) -> Result<Vec<String>, Error> {
        let secrets = self.database.secrets.clone();
        self.change("key.turn-out", move |write| {
            keys::check_newest(write.connection, secrets.newest_id())?;
            // A transaction that encrypts with one of the keys holds a shared lock on it until its commit.
            let older: Vec<String> = sql(LOCK_OLDER)
                .bind(secrets.newest_id())
                .values(write.connection)?;
            let left = left(write.connection, &secrets)?;
            if !left.is_empty() {
                let count: i64 = left.iter().map(|left| left.count).sum();
                let detail = format!(
                    "{count} values still have an older key; another process encrypts with it"
                );
                return Err(Error::Conflict {
                    what: "new key",
                    detail,
                });
            }
            if older.is_empty() {
                return Ok((older, None));
            }
            // Only the locked ones: another process may have registered a new key in the meantime.
            sql(RETIRE)
                .uncached()
                .bind(write.now()?)
                .bind_list(older.iter().map(String::as_str))
                .run(write.connection)?;
            let entry = entry(older.clone(), &secrets);
            Ok((older, Some(entry)))
        })
        .await
    }
}

const OLDER_KEYS: &str = "
    SELECT id AS value
    FROM encryption_keys
    WHERE id <> ? AND retired_at IS NULL
    ORDER BY created_at, id";
const OLDER: Sql = statement!("{OLDER_KEYS}");
const LOCK_OLDER: Sql = statement!("{OLDER_KEYS} FOR UPDATE");
const RETIRE: Sql = statement!("UPDATE encryption_keys SET retired_at = ? WHERE id IN (?*)");

fn older(connection: &mut AnyConnection, secrets: &Secrets) -> Result<Vec<String>, Error> {
    sql(OLDER).bind(secrets.newest_id()).values(connection)
}

/// Builds the audit entry of a rotation, with the ids of the keys before and after it.
fn entry(older: Vec<String>, secrets: &Secrets) -> AuditEntry {
    AuditEntry::on(None, "installation")
        .before(json!({ "keys": older }))
        .after(json!({ "keys": [secrets.newest_id()] }))
}

fn left(connection: &mut AnyConnection, secrets: &Secrets) -> Result<Vec<Left>, Error> {
    let (sealed, hashed) = secrets.newest_patterns();
    let mut all = Vec::new();
    for column in COLUMNS {
        let Number { value: count } = sql(column.count)
            .bind(sealed.as_str())
            .one(connection, "count")?;
        all.push(Left {
            what: column.what,
            count,
        });
    }
    let Number { value: count } = sql(COUNT_HASHES)
        .bind(hashed.as_str())
        .bind(hashed.as_str())
        .one(connection, "count")?;
    all.push(Left {
        what: "hashes of ingress keys",
        count,
    });
    all.retain(|left| left.count > 0);
    Ok(all)
}

/// Encrypts the next page of one column's values with the newest key.
fn turn(write: &mut Write<'_>, secrets: &Secrets, from: &TurnCursor) -> Result<Turned, Error> {
    let Some(column) = COLUMNS.get(from.column) else {
        return Ok(Turned {
            count: 0,
            what: "",
            next: None,
        });
    };
    let (sealed, _) = secrets.newest_patterns();
    let page: Vec<Sealed> = sql(column.page)
        .bind((sealed, from.after.as_str(), PAGE))
        .all(write.connection)?;
    let mut count = 0;
    for row in &page {
        count += turn_one(write, secrets, column, row)?;
    }
    let is_full = i64::try_from(page.len()).unwrap_or(PAGE) >= PAGE;
    let is_recorded = from.is_recorded || count > 0;
    let next = match page.last() {
        Some(last) if is_full => Some(TurnCursor {
            column: from.column,
            after: last.id.clone(),
            is_recorded,
        }),
        _ => Some(from.column + 1)
            .filter(|column| *column < COLUMNS.len())
            .map(|column| TurnCursor {
                column,
                after: String::new(),
                is_recorded,
            }),
    };
    Ok(Turned {
        count,
        what: column.what,
        next,
    })
}

/// Encrypts one value with the newest key and, for an ingress key, replaces its hash; returns the number of changed
/// values.
fn turn_one(
    write: &mut Write<'_>,
    secrets: &Secrets,
    column: &Column,
    row: &Sealed,
) -> Result<i64, Error> {
    let plain = secrets.open(column.purpose, &row.id, &row.sealed)?;
    let sealed = secrets.seal(write, (column.purpose, &row.id), &plain)?;
    let replace = sql(column.replace).bind((sealed, row.id.as_str(), row.sealed.as_str()));
    let mut changed = replace.run(write.connection)?;
    let set_hash = match column.purpose {
        INGRESS => Some(SET_HASH),
        OLD_INGRESS => Some(SET_OLD_HASH),
        _ => None,
    };
    if let Some(set_hash) = set_hash {
        let (_, hashed) = secrets.newest_patterns();
        let hash = secrets.newest_hash(INGRESS, plain.expose_secret());
        changed += sql(set_hash)
            .bind((hash, row.id.as_str(), hashed))
            .run(write.connection)?;
    }
    Ok(i64::try_from(changed).unwrap_or(i64::MAX))
}
