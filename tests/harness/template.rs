//! settle's empty tables, migrated once per test process: all other databases of tests are copies.

use super::folder::Folder;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use storage::Database;

/// Copies a SQLite file with settle's tables to `file`.
///
/// # Panics
/// When it cannot be created.
pub fn sqlite(file: &Path) {
    static TEMPLATE: LazyLock<PathBuf> = LazyLock::new(|| {
        let file = Folder::of_process("template").join("settle.sqlite");
        storage::create_tables(&Database::Sqlite(file.clone())).expect("settle's tables");
        file
    });
    std::fs::copy(&*TEMPLATE, file).expect("a copy of the SQLite file");
}
