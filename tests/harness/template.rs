//! settle's tables without rows, migrated once for the test process: every other database of a test is a copy.

use super::folder::Folder;
use anyhow::anyhow;
use diesel::migration::MigrationConnection;
use diesel::{Connection, SqliteConnection};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The migrations of both databases.
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../activities/storage/migrations");

/// Creates settle's tables in an empty database. `kind` is the folder of its migrations: `postgres` or `sqlite`.
///
/// # Errors
/// When the database refuses them.
pub fn migrate<C>(connection: &mut C, kind: &str) -> anyhow::Result<()>
where
    C: MigrationConnection + MigrationHarness<C::Backend> + 'static,
    FileBasedMigrations: diesel::migration::MigrationSource<C::Backend>,
{
    let migrations = FileBasedMigrations::from_path(Path::new(MIGRATIONS).join(kind))?;
    connection.run_pending_migrations(migrations).map(drop).map_err(|error| anyhow!("{error}"))
}

/// Copies a SQLite file with settle's tables to `file`.
///
/// # Panics
/// When it cannot be created.
pub fn sqlite(file: &Path) {
    static TEMPLATE: LazyLock<PathBuf> = LazyLock::new(|| {
        let file = Folder::of_process("template").join("settle.sqlite");
        let mut connection = SqliteConnection::establish(&file.to_string_lossy()).expect("a SQLite file");
        migrate(&mut connection, "sqlite").expect("settle's tables");
        drop(connection);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("the mode of a new database");
        file
    });
    std::fs::copy(&*TEMPLATE, file).expect("a copy of the SQLite file");
}
