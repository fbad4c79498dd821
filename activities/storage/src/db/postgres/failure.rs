//! Errors of tokio-postgres, as diesel's.

use crate::db::error::{DEADLOCK, FULL_DISK, NO_LOCK, OTHER_SCHEMA};
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};
use tokio_postgres::error::{DbError, ErrorPosition, Severity, SqlState};

/// The error of diesel for one of the server or of the connection.
pub fn of(error: &tokio_postgres::Error) -> Error {
    let Some(cause) = error.as_db_error() else {
        let text = crate::db::error::chain(error);
        return Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(text));
    };
    Error::DatabaseError(kind(cause.code()), Box::new(Refusal(cause.clone())))
}

/// The error of a `COMMIT` that rolled back.
pub fn rolled_back() -> Error {
    let text = "the transaction was rolled back: a statement of it was refused".to_owned();
    Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text))
}

/// The error of a request that is not answered in time.
pub fn silent() -> Error {
    Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new("the server does not answer".to_owned()))
}

/// Whether the server refused a statement, and the session goes on.
pub fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|cause| cause.parsed_severity() == Some(Severity::Error))
}

/// Whether a statement was only refused because an earlier one of its transaction was.
pub fn is_aftermath(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

fn kind(code: &SqlState) -> DatabaseErrorKind {
    match *code {
        SqlState::UNIQUE_VIOLATION => DatabaseErrorKind::UniqueViolation,
        SqlState::FOREIGN_KEY_VIOLATION => DatabaseErrorKind::ForeignKeyViolation,
        SqlState::RESTRICT_VIOLATION => DatabaseErrorKind::RestrictViolation,
        SqlState::EXCLUSION_VIOLATION => DatabaseErrorKind::ExclusionViolation,
        SqlState::T_R_SERIALIZATION_FAILURE => DatabaseErrorKind::SerializationFailure,
        SqlState::READ_ONLY_SQL_TRANSACTION => DatabaseErrorKind::ReadOnlyTransaction,
        SqlState::NOT_NULL_VIOLATION => DatabaseErrorKind::NotNullViolation,
        SqlState::CHECK_VIOLATION => DatabaseErrorKind::CheckViolation,
        _ => DatabaseErrorKind::Unknown,
    }
}

/// What the server says about a refused statement.
struct Refusal(DbError);

impl DatabaseErrorInformation for Refusal {
    fn message(&self) -> &str {
        self.0.message()
    }

    fn details(&self) -> Option<&str> {
        self.0.detail()
    }

    fn hint(&self) -> Option<&str> {
        match *self.0.code() {
            SqlState::DISK_FULL => Some(FULL_DISK),
            SqlState::LOCK_NOT_AVAILABLE => Some(NO_LOCK),
            SqlState::T_R_DEADLOCK_DETECTED => Some(DEADLOCK),
            SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN => Some(OTHER_SCHEMA),
            _ => self.0.hint(),
        }
    }

    fn table_name(&self) -> Option<&str> {
        self.0.table()
    }

    fn column_name(&self) -> Option<&str> {
        self.0.column()
    }

    fn constraint_name(&self) -> Option<&str> {
        self.0.constraint()
    }

    fn statement_position(&self) -> Option<i32> {
        match self.0.position()? {
            ErrorPosition::Original(position) | ErrorPosition::Internal { position, .. } => (*position).try_into().ok(),
        }
    }
}
