//! The disk of the database: whether it is full, as this process's writes found, and on SQLite how much of it is free.
//! Callers read a flag in memory.

use crate::config::Database;
use crate::connection::AnyConnection;
use crate::error::Error;
use crate::fault;
use diesel::connection::SimpleConnection;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Free space in bytes below which a full disk counts as the cause of an I/O error.
const NEARLY_FULL_BYTES: u64 = 1024 * 1024;
/// The largest number of pages of an SQLite file (<https://sqlite.org/limits.html>).
const MOST_PAGES: u32 = 4_294_967_294;

/// State of the disk.
#[derive(Debug)]
pub struct Disk {
    /// The file of an SQLite database. `None` for PostgreSQL: of a server's disk only its errors are known.
    file: Option<PathBuf>,
    is_full: AtomicBool,
    /// When a write last failed for lack of space.
    full_at: Mutex<Option<Instant>>,
}

/// The space on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still use.
    pub free: u64,
    pub total: u64,
}

impl Disk {
    /// Returns the disk of a database, which counts as not full until a write finds no room.
    pub fn of(database: &Database) -> Self {
        let file = match database {
            Database::Sqlite(file) => Some(file.clone()),
            Database::Postgres(_) => None,
        };
        Self {
            file,
            is_full: AtomicBool::new(false),
            full_at: Mutex::default(),
        }
    }

    /// Returns whether the last write found no room.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Returns whether a write found no room within this time.
    pub fn was_full(&self, now: Instant, within: Duration) -> bool {
        let full_at = *self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        full_at.is_some_and(|full_at| now.saturating_duration_since(full_at) < within)
    }

    /// Reads the space on the disk from the operating system. `None` for a server's disk, and if the system does not
    /// answer.
    pub fn space(&self) -> Option<Space> {
        let found = rustix::fs::statvfs(self.file.as_ref()?).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Space {
            free: bytes(found.f_bavail),
            total: bytes(found.f_blocks),
        })
    }

    /// Notes why a write failed. Returns whether the disk is full, so that trying again does not help.
    pub fn note_failure(&self, error: &Error) -> bool {
        let is_full = error.is_of_full_disk()
            || (error.is_of_disk()
                && self
                    .space()
                    .is_some_and(|space| space.free < NEARLY_FULL_BYTES));
        if is_full {
            *self.full_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            self.is_full.store(true, Ordering::Relaxed);
        }
        is_full
    }

    pub fn note_written(&self) {
        self.is_full.store(false, Ordering::Relaxed);
    }
}

/// Keeps the file of an SQLite database from growing while a test plants this fault: SQLite fails as on a full disk.
/// `is_limited` is whether the connection has such a limit already.
pub fn limit(
    connection: &mut AnyConnection,
    database: &Database,
    is_limited: &mut bool,
) -> Result<(), Error> {
    let Database::Sqlite(file) = database else {
        return Ok(());
    };
    let is_planted = fault::is_planted_for("storage.full", file.display());
    if is_planted || *is_limited {
        let pages = if is_planted { 1 } else { MOST_PAGES };
        connection
            .batch_execute(&format!("PRAGMA max_page_count = {pages}"))
            .map_err(Error::of_query)?;
        *is_limited = is_planted;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::result::{DatabaseErrorKind, Error::DatabaseError};

    fn error(text: &str) -> Error {
        Error::of_query(DatabaseError(
            DatabaseErrorKind::Unknown,
            Box::new(text.to_owned()),
        ))
    }

    #[test]
    fn a_write_without_room_marks_the_disk_until_one_succeeds() {
        let disk = Disk::of(&Database::Postgres(String::new()));
        let hour = Duration::from_secs(3600);
        assert!(!disk.note_failure(&error("database is locked")) && !disk.is_full());
        let unknown = Error::unavailable(error("database or disk is full"));
        assert!(
            disk.note_failure(&unknown),
            "also of a commit with an unknown result"
        );
        assert!(disk.is_full() && disk.was_full(Instant::now(), hour));
        disk.note_written();
        assert!(!disk.is_full() && disk.was_full(Instant::now(), hour));
        assert!(!disk.was_full(Instant::now() + hour, hour));
    }

    #[test]
    fn a_disk_error_counts_as_full_where_little_is_free() {
        let disk = Disk::of(&Database::Sqlite(std::env::temp_dir()));
        let space = disk.space().expect("the system answers");
        assert!(space.free <= space.total && space.total > 0);
        assert_eq!(
            disk.note_failure(&error("disk I/O error")),
            space.free < NEARLY_FULL_BYTES
        );
    }
}
