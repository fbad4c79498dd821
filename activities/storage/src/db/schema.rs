//! The schema: its migrations, one text of each for both databases, and a fingerprint of each, by which tables that another
//! build made are recognized.
//!
//! The fingerprint of a migration is the SHA-256 of its text. It is stored before the migration is applied, so that no
//! process that dies leaves one without the other, and compared at each start.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::secrets::sha256;
use crate::db::sql::{Sql, insert, statement};
use crate::db::statement::{row, sql};
use diesel::backend::Backend;
use diesel::connection::{BoxableConnection, SimpleConnection};
use diesel::migration::{
    self, Migration as DieselMigration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion,
};
use diesel_migrations::MigrationHarness;
use std::collections::BTreeMap;
use std::fmt;

/// The version and the text of each migration. A line that begins with one of [`MARKS`] is for that database alone.
const MIGRATIONS: [(&str, &str); 1] =
    [("20261120000000", include_str!("../../migrations/2026-11-20-000000_ledger.sql"))];
const SQLITE: &str = "--sqlite   ";
const POSTGRES: &str = "--postgres ";
const MARKS: [&str; 2] = [SQLITE, POSTGRES];

/// A migration of one of the databases.
#[derive(Debug, Clone)]
struct Migration {
    version: &'static str,
    text: String,
}

/// Those of one of the databases.
struct Migrations(Vec<Migration>);

impl Migrations {
    /// Of a database that others may use, PostgreSQL, or of SQLite.
    fn of(is_shared: bool) -> Self {
        let own = if is_shared { POSTGRES } else { SQLITE };
        let of_it = |text: &'static str| {
            let line = |line: &'static str| match MARKS.iter().find(|mark| line.starts_with(mark.trim_end())) {
                Some(mark) => (*mark == own).then(|| line.get(mark.len()..).unwrap_or_default()),
                None => Some(line),
            };
            text.lines().filter_map(line).flat_map(|line| [line, "\n"]).collect()
        };
        Self(MIGRATIONS.map(|(version, text)| Migration { version, text: of_it(text) }).to_vec())
    }
}

impl<DB: Backend> MigrationSource<DB> for Migrations {
    fn migrations(&self) -> migration::Result<Vec<Box<dyn DieselMigration<DB>>>> {
        Ok(self.0.iter().cloned().map(|one| Box::new(one) as Box<dyn DieselMigration<DB>>).collect())
    }
}

impl<DB: Backend> DieselMigration<DB> for Migration {
    fn run(&self, connection: &mut dyn BoxableConnection<DB>) -> migration::Result<()> {
        Ok(connection.batch_execute(&self.text)?)
    }

    fn revert(&self, _: &mut dyn BoxableConnection<DB>) -> migration::Result<()> {
        Err("an upgrade is undone by restoring a backup".into())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        self
    }
}

impl MigrationMetadata for Migration {}

impl MigrationName for Migration {
    fn version(&self) -> MigrationVersion<'_> {
        self.version.into()
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version)
    }
}

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
/// Applies the migrations that are missing. No other process does so meanwhile.
///
/// # Errors
/// [`Error::Corrupt`] when another build made the tables, or they cannot be made.
pub fn bring_up_to_date(connection: &mut AnyConnection) -> Result<(), Error> {
    let migrations = Migrations::of(connection.is_shared());
    let applied = applied(connection)?;
    if applied.is_empty() {
        connection.batch_execute(CREATE).map_err(Error::of_query)?;
    } else {
        compare(connection, &applied, &migrations)?;
    }
    for one in migrations.0.iter().filter(|one| !applied.iter().any(|version| version == one.version)) {
        insert!(
            fingerprints { version: one.version, sha256: sha256(&one.text) },
            "ON CONFLICT (version) DO UPDATE SET sha256 = excluded.sha256"
        )
        .run(connection)?;
    }
    let migrated = match connection {
        AnyConnection::Sqlite(connection) => connection.run_pending_migrations(Migrations::of(false)).map(drop),
        AnyConnection::Postgres(connection) => connection.run_pending_migrations(Migrations::of(true)).map(drop),
    };
    migrated.map_err(unusable)?;
    let applied = self::applied(connection)?;
    compare(connection, &applied, &migrations)
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
fn compare(connection: &mut AnyConnection, applied: &[String], migrations: &Migrations) -> Result<(), Error> {
    let stored = sql(READ).all::<Fingerprint>(connection).map_err(|error| match error {
        // Builds before the fingerprints had no such table.
        Error::Corrupt { source, .. } => Error::Corrupt { what: OTHER_BUILD.to_owned(), source },
        other => other,
    })?;
    let stored: BTreeMap<String, String> = stored.into_iter().map(|one| (one.version, one.sha256)).collect();
    for version in applied {
        let Some(known) = migrations.0.iter().find(|known| known.version == version) else {
            return Err(Error::corrupt(NEWER));
        };
        if stored.get(version) != Some(&sha256(&known.text)) {
            return Err(Error::corrupt(OTHER_BUILD));
        }
    }
    Ok(())
}
