//! The configuration of storage.

use domain::{OrgId, Timestamp};
use std::fmt;
use std::path::PathBuf;

#[derive(Clone)]
pub enum Database {
    /// One file, used by one process.
    Sqlite(PathBuf),
    /// A connection URL, for any number of processes.
    Postgres(String),
}

impl fmt::Debug for Database {
    /// Omits the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres([REDACTED])"),
        }
    }
}

/// The key under which secrets are encrypted at rest, with the keys before it, which still decrypt.
#[derive(Clone)]
pub struct Key {
    newest: [u8; 32],
    older: Vec<[u8; 32]>,
}

impl Key {
    /// Returns a key of 32 random bytes, without older ones.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self {
            newest: bytes,
            older: Vec::new(),
        }
    }

    /// Returns this key as the successor of `older` ones.
    #[must_use]
    pub fn after(self, older: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self {
            older: older.into_iter().collect(),
            ..self
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &[u8; 32]> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([REDACTED])")
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    pub database: Database,
    pub key: Key,
    /// The clock that stamps rows on SQLite; PostgreSQL uses its own.
    pub clock: fn() -> Timestamp,
}

/// Facts that were created when the database was first opened, and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installation {
    /// The id of the company that runs the installation.
    pub org_id: OrgId,
}
