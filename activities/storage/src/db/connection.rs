//! Connections to either database, and the settings of each.

use crate::config::Database;
use crate::error::Error;
use crate::postgres::{PostgresConnection, QueuedQuery};
use crate::time_limit;
use crate::waits::{self, Step};
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::{Connection, ConnectionError, ConnectionResult, QueryResult, SqliteConnection};
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

/// The advisory lock of PostgreSQL that a process holds while it sets up the installation. The number is arbitrary.
const INSTALLATION_LOCK: i64 = 0x5E77_1E00;

const READER_CACHE_KIB: u32 = 8 * 1024;
const WRITER_CACHE_KIB: u32 = 128 * 1024;
/// Length of the log, in pages (512 MiB), at which SQLite copies it in a commit, because the checkpoint thread has not.
const CHECKPOINT_PAGES: u32 = 128 * 1024;
/// The size that the log's file keeps when the log starts over: overwriting a file syncs faster than extending it.
const WAL_BYTES: u32 = 128 * 1024 * 1024;

#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    Postgres(PostgresConnection),
    Sqlite(SqliteConnection),
}

impl AnyConnection {
    /// Connects and applies the session's settings.
    pub fn to(database: &Database) -> ConnectionResult<Self> {
        let _waits = waits::begin(Step::Connect);
        match database {
            Database::Sqlite(path) => {
                time_limit::install();
                let mut connection = SqliteConnection::establish(&file_name(path)?)?;
                connection
                    .batch_execute(&sqlite_settings())
                    .map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(Self::Sqlite(connection))
            }
            Database::Postgres(url) => {
                let mut connection = PostgresConnection::establish(url)?;
                connection
                    .batch_execute(&postgres_settings())
                    .map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(Self::Postgres(connection))
            }
        }
    }

    /// Connects for a few short statements: neither connecting nor an answer may take longer than `limit`. `None` for
    /// SQLite.
    pub fn briefly(database: &Database, limit: Duration) -> ConnectionResult<Option<Self>> {
        let Database::Postgres(url) = database else {
            return Ok(None);
        };
        let mut connection = PostgresConnection::briefly(url, limit)?;
        let timeout = format!("SET statement_timeout = {}", limit.as_millis());
        connection
            .batch_execute(&timeout)
            .map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(Some(Self::Postgres(connection)))
    }

    /// Sets up the writing connection of SQLite: a cache for the pages of a big group, commits that leave the
    /// checkpoints to `checkpoint.rs`, and zeros over deleted content, so that no free page contains an erased name.
    pub fn prepare_to_write(&mut self) -> QueryResult<()> {
        if self.is_shared() {
            return Ok(());
        }
        self.batch_execute(&format!(
            "PRAGMA cache_size = -{WRITER_CACHE_KIB}; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; \
             PRAGMA journal_size_limit = {WAL_BYTES}; PRAGMA secure_delete = ON"
        ))
    }

    /// Makes PostgreSQL plan each statement only once, for any values. For statements that find rows by a purchase, a
    /// user or a lane: otherwise PostgreSQL would plan some of them for each run, which costs more than running them.
    pub fn plan_for_any_values(&mut self) -> QueryResult<()> {
        if self.is_shared() {
            self.batch_execute("SET plan_cache_mode = force_generic_plan")
        } else {
            Ok(())
        }
    }

    /// Returns whether several processes may write at the same time.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Sends the next statement with the one after it, on PostgreSQL and in a transaction. Its error becomes that of
    /// the later statement.
    pub fn defer_next(&mut self) {
        if let Self::Postgres(connection) = self {
            connection.defer_next();
        }
    }

    /// Sends the query of `load` with the statement after it, on PostgreSQL and in a transaction. Returns the queued
    /// query, whose rows [`Self::fetch_next`] fetches; `None` if nothing was sent.
    pub fn ahead(
        &mut self,
        load: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<Option<QueuedQuery>, Error> {
        match self {
            Self::Postgres(connection) => connection.run_next_ahead(),
            Self::Sqlite(_) => return Ok(None),
        }
        let loaded = load(self);
        let Self::Postgres(connection) = self else {
            return Ok(None);
        };
        let queued = connection.queued();
        loaded.map(|()| queued)
    }

    /// Makes the next query fetch the rows of this one, which was run ahead.
    pub fn fetch_next(&mut self, queued: QueuedQuery) {
        if let Self::Postgres(connection) = self {
            connection.fetch_next(queued);
        }
    }

    /// Returns whether a statement that was sent with a `COMMIT` was refused, so that the transaction rolled back.
    pub const fn is_undone(&self) -> bool {
        matches!(self, Self::Postgres(connection) if connection.is_undone())
    }

    /// Begins a transaction that writes, or a savepoint in one.
    pub fn begin(&mut self) -> QueryResult<()> {
        let _waits = waits::begin(Step::Begin);
        // An error of `BEGIN` is reported by the next statement, so `BEGIN` needs no round trip of its own.
        self.defer_next();
        if self.depth() > 0 {
            return <Self as Connection>::TransactionManager::begin_transaction(self);
        }
        match self {
            Self::Sqlite(connection) => {
                AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN IMMEDIATE")
            }
            Self::Postgres(connection) => AnsiTransactionManager::begin_transaction(connection),
        }
    }

    /// Commits the innermost transaction or savepoint.
    pub fn commit(&mut self) -> QueryResult<()> {
        let _waits = waits::begin(Step::Commit);
        <Self as Connection>::TransactionManager::commit_transaction(self)
    }

    /// Rolls back the innermost transaction or savepoint.
    pub fn roll_back(&mut self) -> QueryResult<()> {
        let _waits = waits::begin(Step::Rollback);
        <Self as Connection>::TransactionManager::rollback_transaction(self)
    }

    /// Rolls back the transaction with all its savepoints. If that fails, the connection must not be used again.
    pub fn abandon(&mut self) -> QueryResult<()> {
        while self.depth() > 0 {
            self.roll_back()?;
        }
        Ok(())
    }

    /// Runs `write` in a transaction of its own, outside of the writer.
    pub fn in_transaction<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.begin().map_err(Error::of_query)?;
        let result = write(self);
        let closed = if result.is_ok() {
            self.commit()
        } else {
            self.roll_back()
        };
        closed.map_err(Error::of_query)?;
        result
    }

    /// Returns the number of open transactions and savepoints.
    fn depth(&mut self) -> u32 {
        let status = <Self as Connection>::TransactionManager::transaction_manager_status_mut(self);
        status
            .transaction_depth()
            .ok()
            .flatten()
            .map_or(0, std::num::NonZeroU32::get)
    }

    /// Runs `read` in a transaction in which every statement sees the database as of one moment.
    pub fn at_one_moment<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.defer_next();
        <Self as Connection>::TransactionManager::begin_transaction(self)
            .map_err(Error::of_query)?;
        if self.is_shared() {
            let isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
            self.defer_next();
            self.batch_execute(isolation).map_err(Error::of_query)?;
        }
        let result = read(self);
        // Nothing was written, so the answer is not waited for. A rollback fails only with its connection, which the
        // pool then replaces.
        self.defer_next();
        let rolled_back = self.roll_back().map_err(Error::of_query);
        result.and_then(|value| rolled_back.map(|()| value))
    }

    /// Returns whether the connection must be replaced: a transaction was left open, or its session is over, see
    /// [`PostgresConnection::is_over`]. Sends no statement. Called before each reuse of a connection. A connection to
    /// SQLite is an open file, which no error invalidates.
    pub fn is_lost(&mut self) -> bool {
        let is_broken =
            <Self as Connection>::TransactionManager::is_broken_transaction_manager(self);
        is_broken
            || match self {
                Self::Postgres(connection) => connection.is_over(),
                Self::Sqlite(_) => false,
            }
    }

    /// Runs `first` while no other process does so.
    #[track_caller]
    pub fn alone<T>(
        &mut self,
        first: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let place = Location::caller();
        if self.is_shared() {
            let _waits = waits::begin(Step::Statement(place));
            // Many processes may start at the same time.
            self.batch_execute("SET statement_timeout = '60s'; SET lock_timeout = '60s'")
                .map_err(Error::of_query)?;
            self.batch_execute(&format!("SELECT pg_advisory_lock({INSTALLATION_LOCK})"))
                .map_err(Error::of_query)?;
        }
        let result = first(self);
        if self.is_shared() {
            self.batch_execute(&format!("SELECT pg_advisory_unlock({INSTALLATION_LOCK})"))
                .map_err(Error::of_query)?;
            self.batch_execute(&postgres_settings())
                .map_err(Error::of_query)?;
        }
        result
    }
}

/// Returns the name by which SQLite opens this file and no other. A relative name that begins with `file:` would be a
/// URI, and a name that is not UTF-8 would name another file.
fn file_name(path: &Path) -> ConnectionResult<String> {
    let bad = |cause: String| ConnectionError::BadConnection(cause);
    let whole = std::path::absolute(path).map_err(|cause| bad(cause.to_string()))?;
    whole
        .into_os_string()
        .into_string()
        .map_err(|_| bad("SQLite opens only paths that are UTF-8".to_owned()))
}

/// Returns the settings of a connection to SQLite. With WAL and FULL a commit is on the disk when it returns
/// (<https://sqlite.org/pragma.html#pragma_synchronous>).
fn sqlite_settings() -> String {
    let synchronous = if crate::fault::is_planted("storage.durability_off") {
        "OFF"
    } else {
        "FULL"
    };
    format!(
        "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
         PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{READER_CACHE_KIB};"
    )
}

/// Returns the settings of a session on PostgreSQL, which must not depend on the role and its database.
/// `synchronous_commit` is on even if the server's default is weaker: the API answers 200 only for durable writes.
/// PostgreSQL has `transaction_timeout` since release 17.
fn postgres_settings() -> String {
    let commit = if crate::fault::is_planted("storage.durability_off") {
        "off"
    } else {
        "on"
    };
    format!(
        "SET synchronous_commit = {commit}; SET statement_timeout = '15s'; SET lock_timeout = '5s'; \
         SET idle_in_transaction_session_timeout = '30s'; SET default_transaction_isolation = 'read committed'; \
         SET standard_conforming_strings = on; \
         SELECT set_config('transaction_timeout', '0', FALSE)
         WHERE current_setting('transaction_timeout', TRUE) IS NOT NULL"
    )
}
