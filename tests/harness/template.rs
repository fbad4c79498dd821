//! settle's tables without rows, migrated once for the test process: every other database of a test is a copy.

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
