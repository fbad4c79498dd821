//! Converts errors of tokio-postgres to errors of diesel.

use crate::error::{DEADLOCK, FULL_DISK, NO_LOCK, OTHER_SCHEMA, chain};
use crate::refusal::Refusal as Permanent;
use diesel::ConnectionError;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};
use tokio_postgres::error::{DbError, ErrorPosition, Severity, SqlState};

/// The reason for not using a read-only server.
pub const READ_ONLY: &str =
    "the server accepts no writes: it is a standby, or its `default_transaction_read_only` is on";

/// Converts an error of the server or of the connection to one of diesel.
pub fn of(error: &tokio_postgres::Error) -> Error {
    let Some(cause) = error.as_db_error() else {
        let text = chain(error);
        return Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(text));
    };
    Error::DatabaseError(kind(cause.code()), Box::new(Refusal(cause.clone())))
}

/// Returns why no session was opened. A user or database that the server does not know or does not admit is an error of
/// the URL.
pub fn of_connecting(error: &tokio_postgres::Error) -> ConnectionError {
    let text = chain(error);
    match error.code() {
        Some(code) if is_of_url(code) => ConnectionError::InvalidConnectionUrl(text),
        // The error of tokio-postgres if `target_session_attrs` is `read-write`.
        None if text.ends_with("database does not allow writes") => {
            ConnectionError::BadConnection(READ_ONLY.to_owned())
        }
        _ => ConnectionError::BadConnection(text),
    }
}

/// Returns whether a user, a password or a database is refused.
fn is_of_url(code: &SqlState) -> bool {
    code.code().starts_with("28")
        || [
            SqlState::INVALID_CATALOG_NAME,
            SqlState::INSUFFICIENT_PRIVILEGE,
        ]
        .contains(code)
}

/// Returns the error of a `COMMIT` that rolled back.
pub fn rolled_back() -> Error {
    let text = "the transaction was rolled back: a statement of it was refused".to_owned();
    Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text))
}

/// Returns the error of a request that is not answered in time.
pub fn silent() -> Error {
    Error::DatabaseError(
        DatabaseErrorKind::UnableToSendCommand,
        Box::new("the server does not answer".to_owned()),
    )
}

/// Returns whether the server refused a statement, but the session continues.
pub fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|cause| cause.parsed_severity() == Some(Severity::Error))
}

/// Returns whether a statement was only refused because an earlier one of its transaction was.
pub fn is_aftermath(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

/// Returns whether a session must not be used after this error, by any caller. The session is broken or the server ends
/// it; the server accepts no writes, for example after a fail-over; or its permissions, search path or prepared
/// statements date from before a change. The next session may connect to another host.
pub fn ends_session(error: &tokio_postgres::Error) -> bool {
    let Some(cause) = error.as_db_error() else {
        return true;
    };
    cause.parsed_severity() != Some(Severity::Error) || is_of_session(cause.code())
}

/// Returns whether a statement is refused because of its session or server: another one may run it.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn is_of_session(code: &SqlState) -> bool {
    // Connection exceptions, missing rights to connect, and sessions that an operator ends.
    let is_of_class = ["08", "28", "57P"]
        .iter()
        .any(|class| code.code().starts_with(class));
    is_of_class
        || [
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::INSUFFICIENT_PRIVILEGE,
            // A statement is no longer prepared, or its result has had other types since a migration.
            SqlState::INVALID_SQL_STATEMENT_NAME,
            SqlState::DUPLICATE_PSTATEMENT,
            SqlState::FEATURE_NOT_SUPPORTED,
            // The transaction that was begun is no longer open.
            SqlState::NO_ACTIVE_SQL_TRANSACTION,
            // An object that is not found may be in another search path.
            SqlState::INVALID_SCHEMA_NAME,
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_COLUMN,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::INTERNAL_ERROR,
        ]
        .contains(code)
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

/// The server's error about a refused statement.
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
            ref code => Permanent::of_code(code.code())
                .map(Permanent::mark)
                .or_else(|| self.0.hint()),
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
            ErrorPosition::Original(position) | ErrorPosition::Internal { position, .. } => {
                (*position).try_into().ok()
            }
        }
    }
}
