//! The schema: its migrations, and a fingerprint of each, by which tables that another build made are recognized.
//!
//! The fingerprint of a migration is the SHA-256 of its text. It is stored before the migration is applied, so that no
//! process that dies leaves one without the other, and compared at each start.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::secrets::sha256;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use diesel::connection::SimpleConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::collections::BTreeMap;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The version and the text of each migration, as above. The start that applies one which is missing here fails.
const SQLITE_TEXTS: [(&str, &str); 1] =
    [("20261120000000", include_str!("../../migrations/sqlite/2026-11-20-000000_ledger/up.sql"))];
const POSTGRES_TEXTS: [(&str, &str); 1] =
    [("20261120000000", include_str!("../../migrations/postgres/2026-11-20-000000_ledger/up.sql"))];

/// Not part of a migration: it is there before the first one.
const CREATE: &str =
    "CREATE TABLE IF NOT EXISTS fingerprints (version TEXT NOT NULL PRIMARY KEY, sha256 TEXT NOT NULL)";

/// What to do about tables that another build made.
const OTHER_BUILD: &str = "its tables are those of another build of settle, and nothing converts them: export the \
    catalogue with that build (`settle product export`), and begin anew with an empty database";
/// What to do about tables of the future.
const NEWER: &str =
    "its tables are those of a newer settle: run that one, or restore the backup from before it was installed";

type Failure = Box<dyn std::error::Error + Send + Sync>;

row! {
    struct Fingerprint {
        version: String,
        sha256: String,
    }
}

const READ: Sql = statement!("SELECT version, sha256 FROM fingerprints");
const STORE: Sql = statement! {"
    INSERT INTO fingerprints (version, sha256)
    VALUES (?, ?)
    ON CONFLICT (version) DO UPDATE SET sha256 = excluded.sha256
"};

/// Applies the migrations that are missing. No other process does so meanwhile.
///
/// # Errors
/// [`Error::Corrupt`] when another build made the tables, or they cannot be made.
pub fn bring_up_to_date(connection: &mut AnyConnection) -> Result<(), Error> {
    let texts = if connection.is_shared() { &POSTGRES_TEXTS } else { &SQLITE_TEXTS };
    let applied = applied(connection)?;
    if applied.is_empty() {
        connection.batch_execute(CREATE).map_err(Error::of_query)?;
    } else {
        compare(connection, &applied, texts)?;
    }
    for (version, text) in texts.iter().filter(|(version, _)| !applied.iter().any(|one| one == version)) {
        sql(STORE).bind(*version).bind(sha256(text)).run(connection)?;
    }
    let migrated = match connection {
        AnyConnection::Sqlite(connection) => connection.run_pending_migrations(SQLITE).map(drop),
        AnyConnection::Postgres(connection) => connection.run_pending_migrations(POSTGRES).map(drop),
    };
    migrated.map_err(unusable)?;
    let applied = self::applied(connection)?;
    compare(connection, &applied, texts)
}

/// The versions of the migrations that were applied.
fn applied(connection: &mut AnyConnection) -> Result<Vec<String>, Error> {
    let versions = match connection {
        AnyConnection::Sqlite(connection) => connection.applied_migrations(),
        AnyConnection::Postgres(connection) => connection.applied_migrations(),
    };
    // A connection may be lost here as anywhere.
    let failed = |cause: Failure| cause.downcast().map_or_else(unusable, |cause| Error::of_query(*cause));
    Ok(versions.map_err(failed)?.iter().map(ToString::to_string).collect())
}

fn unusable(cause: Failure) -> Error {
    Error::Corrupt { what: "its tables cannot be brought up to date".to_owned(), source: Some(cause.into()) }
}

/// Compares what was applied with the texts of this build.
fn compare(connection: &mut AnyConnection, applied: &[String], texts: &[(&str, &str)]) -> Result<(), Error> {
    let stored = sql(READ).all::<Fingerprint>(connection).map_err(|error| match error {
        // Builds before the fingerprints had no such table.
        Error::Corrupt { source, .. } => Error::Corrupt { what: OTHER_BUILD.to_owned(), source },
        other => other,
    })?;
    let stored: BTreeMap<String, String> = stored.into_iter().map(|one| (one.version, one.sha256)).collect();
    for version in applied {
        let Some((_, text)) = texts.iter().find(|(known, _)| known == version) else {
            return Err(Error::corrupt(NEWER));
        };
        if stored.get(version) != Some(&sha256(text)) {
            return Err(Error::corrupt(OTHER_BUILD));
        }
    }
    Ok(())
}
