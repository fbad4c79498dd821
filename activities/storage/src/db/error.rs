//! Errors as decisions: who must act, and whether a retry can help.

use crate::refusal::Refusal;
use diesel::result::DatabaseErrorInformation;
use std::path::PathBuf;
use std::sync::Arc;

/// The hint that marks PostgreSQL's error `disk_full`, because diesel's errors have no field for its code.
pub const FULL_DISK: &str = "the disk of the database is full";
/// The hint that marks the error of a statement with a table or column that PostgreSQL does not have.
pub const OTHER_SCHEMA: &str = "the tables are not those of this version";
/// SQLite's messages about an unknown table or column.
const SQLITE_OTHER_SCHEMA: [&str; 3] = [
    "no such table: ",
    "no such column: ",
    " has no column named ",
];
/// The hint that marks the error of a statement that waited for a lock until its timeout.
pub const NO_LOCK: &str = "another session has locked it";
/// The hint that marks the error of a statement that PostgreSQL ended, because its session and another one waited for
/// each other.
pub const DEADLOCK: &str = "another session waits for this one";
/// SQLite's messages for `SQLITE_FULL` and `SQLITE_IOERR` (<https://sqlite.org/rescode.html>).
const SQLITE_FULL: &str = "database or disk is full";
const SQLITE_IO: &str = "disk I/O error";

/// Subject of [`Error::Missing`] if a row names another one that does not exist.
const PARENT: &str = "parent";

/// The technical cause behind an [`Error`].
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a call of storage failed. Nothing was written; only after [`Error::Unavailable`] it is unknown whether the call
/// was committed. Every call is idempotent and may be repeated.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached or is overloaded. The caller retries; no further action is needed.
    #[error("the database is not available at the moment, try again")]
    Unavailable(#[source] Cause),
    /// Another process works on this SQLite file. The operator must stop it, or use PostgreSQL.
    #[error("{0} is in use by another process: stop it, or use PostgreSQL to run more than one")]
    Locked(PathBuf),
    /// The named thing does not exist. The caller must name another.
    #[error("there is no such {what}")]
    Missing {
        /// The kind of thing that was named.
        what: &'static str,
    },
    /// The request conflicts with what is stored. The caller must change it.
    #[error("the {what} cannot be stored: {detail}")]
    Conflict {
        /// The kind of thing that was to be stored.
        what: &'static str,
        detail: String,
    },
    /// The cursor does not belong to this list. The caller must begin at the first page.
    #[error("`cursor` must be the `next_cursor` of the page before")]
    Cursor,
    /// The settings of the named thing do not allow the call. The caller must change them first.
    #[error("{0}")]
    Unsuitable(String),
    /// The app has platforms of several stores, and the request names none of these stores. The caller must name one.
    #[error("`store` must be one of the app's: {}", .0.join(", "))]
    WrongStore(Vec<String>),
    /// A value cannot be stored. The caller must repair it.
    #[error("`{field}` cannot be stored: {detail}")]
    Invalid {
        /// The field, as the API names it.
        field: &'static str,
        detail: String,
    },
    /// Another transaction wrote the same row first. The caller retries; no further action is needed.
    #[error("another transaction wrote the same row at the same time, try again")]
    Raced(#[source] Cause),
    /// The database refuses the change or the statement, however often it is tried. The operator must act; the source
    /// of the data still has it.
    #[error("{refusal}")]
    Refused {
        /// Kind of refusal, and how the operator resolves it.
        refusal: Refusal,
        source: Cause,
    },
    /// The device's secret is missing or wrong. Its app must send the secret, or create a new device.
    #[error("the device is not verified")]
    Unproved(#[source] Unproved),
    /// This process lacks a key that values are encrypted or hashed with, so it cannot determine whether a value
    /// exists. The operator must restart it with the key; a retry at another process succeeds.
    #[error("this process lacks the key {}: start it with SETTLE_KEY as the other processes have it", .0.join(", "))]
    MissingKeys(Vec<String>),
    /// The database or its key is not as expected. The operator must act; a retry does not help.
    #[error("the database cannot be used: {what}")]
    Corrupt {
        /// Description of the found and the expected value.
        what: String,
        /// The cause, when there is one beyond `what`.
        #[source]
        source: Option<Cause>,
    },
}

/// Why a device's request is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    #[error(
        "`Settle-Device-Secret` is missing: send the secret with which the device was created. A device without one \
         may call only `events`: create a new id with a secret"
    )]
    Missing,
    /// The device was created without a secret.
    #[error(
        "the device was created without a secret and may call only `events`: create a new id with a secret"
    )]
    Never,
    /// The request shows another secret than that of the device.
    #[error(
        "`Settle-Device-Secret` is not the secret with which the device was created; if it is lost, create a new id \
         with a secret"
    )]
    Other,
}

/// Returns the text of an error with all its causes on one line, for logs and for display.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Error {
    pub fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(cause))
    }

    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt {
            what: what.into(),
            source: None,
        }
    }

    pub fn corrupt_by(
        what: impl Into<String>,
        cause: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Corrupt {
            what: what.into(),
            source: Some(Arc::new(cause)),
        }
    }

    /// Converts the error of a failed statement. A unique violation becomes [`Error::Raced`]: a caller that expects one
    /// recognizes it with [`Error::is_taken`]; any other one is the result of a race, and a retry succeeds.
    pub(crate) fn of_query(cause: diesel::result::Error) -> Self {
        use diesel::result::DatabaseErrorKind::{ForeignKeyViolation, UniqueViolation};
        match cause {
            diesel::result::Error::DatabaseError(ForeignKeyViolation, _) => {
                Self::Missing { what: PARENT }
            }
            diesel::result::Error::DatabaseError(UniqueViolation, _) => {
                Self::Raced(Arc::new(cause))
            }
            diesel::result::Error::DeserializationError(_) => {
                Self::corrupt_by("a row is not as this version expects it", cause)
            }
            diesel::result::Error::DatabaseError(_, ref refusal)
                if is_of_schema(refusal.as_ref()) =>
            {
                Self::corrupt_by("a table or a column is missing", cause)
            }
            cause => match Refusal::of(&cause) {
                Some(refusal) => Self::Refused {
                    refusal,
                    source: Arc::new(cause),
                },
                None => Self::unavailable(cause),
            },
        }
    }

    /// Returns whether the request is wrong, so that no repetition of it can succeed. Any other error may pass or be
    /// repaired; then the same request succeeds.
    pub fn is_of_request(&self) -> bool {
        match self {
            // A row that another row names, not the request: it will be created later, or was removed.
            Self::Missing { what } => *what != PARENT,
            Self::Conflict { .. }
            | Self::Cursor
            | Self::Unsuitable(_)
            | Self::WrongStore(_)
            | Self::Invalid { .. }
            | Self::Unproved(_) => true,
            Self::Unavailable(_)
            | Self::Raced(_)
            | Self::Locked(_)
            | Self::Refused { .. }
            | Self::MissingKeys(_)
            | Self::Corrupt { .. } => false,
        }
    }

    /// Returns whether the database refuses this, however often it is tried.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Returns whether a statement failed because the disk of the database is full. The operator must make room.
    pub fn is_of_full_disk(&self) -> bool {
        self.is_of(|message, hint| message == SQLITE_FULL || hint == Some(FULL_DISK))
    }

    /// Returns whether SQLite could not read or write a file.
    pub(crate) fn is_of_disk(&self) -> bool {
        self.is_of(|message, _| message == SQLITE_IO)
    }

    /// Returns whether a statement of PostgreSQL waited for a lock until its timeout. The lock may be held for minutes.
    pub(crate) fn is_of_lock(&self) -> bool {
        self.is_of(|_, hint| hint == Some(NO_LOCK))
    }

    /// Returns whether PostgreSQL ended a statement because of a deadlock. The other session continues.
    pub(crate) fn is_of_deadlock(&self) -> bool {
        self.is_of(|_, hint| hint == Some(DEADLOCK))
    }

    /// Returns whether a statement failed with a message and hint that `is_wanted` accepts, also if that error is the
    /// cause of another [`Error::Unavailable`].
    fn is_of(&self, is_wanted: fn(&str, Option<&str>) -> bool) -> bool {
        let Self::Unavailable(cause) = self else {
            return false;
        };
        match (
            cause.downcast_ref::<diesel::result::Error>(),
            cause.downcast_ref::<Self>(),
        ) {
            (Some(diesel::result::Error::DatabaseError(_, cause)), _) => {
                is_wanted(cause.message(), cause.hint())
            }
            (_, Some(cause)) => cause.is_of(is_wanted),
            _ => false,
        }
    }

    /// Returns [`Error::Conflict`] with the taken name if this is a unique violation, else this error.
    pub fn or_taken(self, what: &'static str, name: &str) -> Self {
        if self.is_taken() {
            Self::taken(what, name)
        } else {
            self
        }
    }

    /// Returns [`Error::Conflict`] with the taken name.
    pub fn taken(what: &'static str, name: &str) -> Self {
        Self::Conflict {
            what,
            detail: format!("the name `{name}` is taken, choose another"),
        }
    }

    /// Returns whether a statement failed with a unique violation: the row that it inserts exists already.
    pub const fn is_taken(&self) -> bool {
        matches!(self, Self::Raced(_))
    }
}

/// Returns whether a statement names a table or column that the database does not have.
fn is_of_schema(refusal: &dyn DatabaseErrorInformation) -> bool {
    refusal.hint() == Some(OTHER_SCHEMA)
        || SQLITE_OTHER_SCHEMA
            .iter()
            .any(|text| refusal.message().contains(text))
}
