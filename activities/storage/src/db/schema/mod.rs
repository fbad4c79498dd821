//! The schema: its migrations, and a fingerprint of each, which shows whether another build created the tables.
//!
//! The fingerprint of a migration is the SHA-256 of its text. It is recorded when the migration is applied (for a
//! script, in the same transaction) and compared at each start. On PostgreSQL only [`migrate`] changes the schema.
//!
//! Each fingerprint is stored with the oldest release that works with the tables after that migration. So a program
//! that does not know a migration still starts if it is of that release or a later one.

mod apply;
mod migration;
mod progress;

use crate::connection::AnyConnection;
use crate::error::Error;
use crate::preconditions;
use crate::sql::{Sql, statement};
use crate::statement::{row, sql};
pub use apply::Report;
use diesel::connection::SimpleConnection;
use migration::{Migration, Work, release};
pub use progress::Progress;
use semver::Version;
use std::collections::BTreeMap;

/// Creates the table of fingerprints, which exists before the first migration.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS fingerprints (version TEXT NOT NULL PRIMARY KEY, sha256 TEXT NOT NULL, oldest TEXT NOT NULL)";

/// Advice for tables that another build created.
const OTHER_BUILD: &str = "its tables are those of another build of settle, and nothing converts them: export the \
    catalogue with that build (`settle product export`), and begin anew with an empty database";
/// Advice for an SQLite file of another program.
const FOREIGN: &str = "it has tables of another program, and none of settle: name another file";
/// Advice for outdated tables.
const OLDER: &str = "its tables are those of an older settle: run `settle migrate`, or wait for the one that is running";
/// Advice for tables that two releases changed without knowing each other's changes.
const OTHER_LINE: &str = "its tables have steps that this settle does not know, and lack others that it needs: run the \
    release that applied them, or a later one";
/// Advice for a database without tables.
const EMPTY: &str = "it has no tables of settle: run `settle migrate`";

row! {
    struct Fingerprint {
        version: String,
        sha256: String,
        oldest: String,
    }
}

const READ: Sql = statement!("SELECT version, sha256, oldest FROM fingerprints");
/// A table of the first migration.
const FIRST_TABLE: Sql = statement!("SELECT COUNT(*) AS value FROM installation");
const ESTIMATE: Sql = statement!(
    "SELECT CAST(reltuples AS BIGINT) AS value
    FROM pg_class
    WHERE oid = to_regclass(?)"
);

/// A step that `settle migrate` would apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Version and name of the migration.
    pub name: String,
    /// `script`, `index` or `batches`.
    pub kind: &'static str,
    /// The table whose rows the step touches; `None` if it touches none.
    pub table: Option<String>,
    /// Number of rows of that table; `None` if it does not exist yet.
    pub rows: Option<i64>,
    /// Whether the number is the database's estimate.
    pub is_estimate: bool,
}

/// Returns the names of settle's tables on PostgreSQL, including those that do not exist yet.
pub fn tables() -> Result<Vec<String>, Error> {
    let migrations = Migration::all(true)?;
    let created = migrations.iter().flat_map(Migration::tables);
    Ok(created.chain(["fingerprints"]).map(str::to_owned).collect())
}

/// Applies the missing migrations, once no other process migrates.
///
/// # Errors
/// [`Error::Corrupt`] when another build created the tables, or they cannot be created; [`Error::Unavailable`] when
/// other sessions hold locks for too long.
pub fn migrate(connection: &mut AnyConnection, report: Report<'_>) -> Result<(), Error> {
    let migrations = Migration::all(connection.is_shared())?;
    if missing(connection, &migrations)?.is_empty() {
        return Ok(());
    }
    preconditions::check_migrating(connection, &tables()?)?;
    apply::begin(connection, report)?;
    connection.batch_execute(CREATE).map_err(Error::of_query)?;
    // Another process may have applied some of them meanwhile.
    for migration in missing(connection, &migrations)? {
        apply::apply(connection, migration, report)?;
    }
    Ok(())
}

/// Checks that the tables are those of this version.
///
/// # Errors
/// [`Error::Corrupt`] with advice when they are not.
pub fn check(connection: &mut AnyConnection) -> Result<(), Error> {
    let migrations = Migration::all(connection.is_shared())?;
    match missing(connection, &migrations)?.len() {
        0 => Ok(()),
        all if all == migrations.len() => Err(Error::corrupt(EMPTY)),
        _ => Err(Error::corrupt(OLDER)),
    }
}

/// Returns the steps that [`migrate`] would apply.
///
/// # Errors
/// The errors of [`migrate`].
pub fn planned(connection: &mut AnyConnection) -> Result<Vec<Planned>, Error> {
    let migrations = Migration::all(connection.is_shared())?;
    let mut planned = Vec::new();
    for migration in missing(connection, &migrations)? {
        let kind = match migration.work {
            Work::Script(_) => "script",
            Work::Index { .. } => "index",
            Work::Batches { .. } => "batches",
        };
        let counted = migration
            .table
            .as_deref()
            .map(|table| rows(connection, table))
            .transpose()?;
        let (rows, is_estimate) = counted.unwrap_or((None, false));
        planned.push(Planned {
            name: migration.name.clone(),
            kind,
            table: migration.table.clone(),
            rows,
            is_estimate,
        });
    }
    Ok(planned)
}

/// Returns the number of rows of a table, and whether it is an estimate; `None` if there is no such table.
fn rows(connection: &mut AnyConnection, table: &str) -> Result<(Option<i64>, bool), Error> {
    if connection.is_shared() {
        // The estimate is below 0 until the table is first analysed.
        let estimate = sql(ESTIMATE).bind(table).value::<i64>(connection)?;
        if estimate.is_none_or(|rows| rows >= 0) {
            return Ok((estimate, estimate.is_some()));
        }
    }
    match sql(format!("SELECT COUNT(*) AS value FROM {table}"))
        .uncached()
        .value(connection)
    {
        Err(Error::Corrupt { .. }) => Ok((None, false)),
        rows => Ok((rows?, false)),
    }
}

/// Returns the migrations that were not applied.
///
/// # Errors
/// [`Error::Corrupt`] when an applied migration is of another build, or of a release whose tables this release does not
/// work with, or when a missing one would be applied after one that this release does not know.
fn missing<'m>(
    connection: &mut AnyConnection,
    migrations: &'m [Migration],
) -> Result<Vec<&'m Migration>, Error> {
    let applied = applied(connection)?;
    let is_unknown = |version: &str| !migrations.iter().any(|known| known.version == version);
    let unknown: Vec<_> = applied
        .values()
        .filter(|one| is_unknown(&one.version))
        .collect();
    unknown
        .iter()
        .try_for_each(|one| refuse_if_newer(&one.oldest))?;
    let is_other = |known: &Migration| {
        applied
            .get(&known.version)
            .is_some_and(|stored| stored.sha256 != known.fingerprint)
    };
    if migrations.iter().any(is_other) {
        return Err(Error::corrupt(OTHER_BUILD));
    }
    let missing: Vec<_> = migrations
        .iter()
        .filter(|known| !applied.contains_key(&known.version))
        .collect();
    if unknown.is_empty() || missing.is_empty() {
        Ok(missing)
    } else {
        Err(Error::corrupt(OTHER_LINE))
    }
}

/// Refuses tables that need at least the release `oldest`, if this program is of an earlier one.
fn refuse_if_newer(oldest: &str) -> Result<(), Error> {
    let own = release();
    if Version::parse(oldest).is_ok_and(|oldest| oldest <= own) {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "its tables are those of a newer settle, and this one, {own}, does not work with them: run {oldest} or later, or \
         restore the backup from before it was installed, and raise the epoch"
    )))
}

/// Returns the fingerprints of the applied migrations, by version.
fn applied(connection: &mut AnyConnection) -> Result<BTreeMap<String, Fingerprint>, Error> {
    let mut stored = fingerprints(connection)?;
    if stored.is_empty() && has_tables(connection)? {
        // Another process may have created the tables between the two reads.
        stored = fingerprints(connection)?;
        if stored.is_empty() {
            return Err(Error::corrupt(OTHER_BUILD));
        }
    } else if stored.is_empty() && is_foreign(connection)? {
        return Err(Error::corrupt(FOREIGN));
    }
    Ok(stored
        .into_iter()
        .map(|one| (one.version.clone(), one))
        .collect())
}

/// Returns the stored fingerprints; none if their table does not exist.
fn fingerprints(connection: &mut AnyConnection) -> Result<Vec<Fingerprint>, Error> {
    match sql(READ).all::<Fingerprint>(connection) {
        Err(Error::Corrupt { .. }) => Ok(Vec::new()),
        stored => stored,
    }
}

/// Returns whether an SQLite file is another program's. A schema of PostgreSQL may have tables of several programs.
fn is_foreign(connection: &mut AnyConnection) -> Result<bool, Error> {
    if connection.is_shared() {
        return Ok(false);
    }
    let others = "SELECT COUNT(*) AS value FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('fingerprints', \
        'sqlite_sequence', 'sqlite_stat1', 'sqlite_stat4')";
    Ok(sql(others)
        .uncached()
        .value::<i64>(connection)?
        .unwrap_or(0)
        > 0)
}

/// Returns whether there are tables of settle.
fn has_tables(connection: &mut AnyConnection) -> Result<bool, Error> {
    match sql(FIRST_TABLE).value::<i64>(connection) {
        Err(Error::Corrupt { .. }) => Ok(false),
        count => count.map(|_| true),
    }
}
