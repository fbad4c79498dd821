//! Applies a migration. On PostgreSQL it blocks other transactions for at most [`LOCK_TIMEOUT`] at a time.
//!
//! A statement that waits for a lock blocks all statements after it, so it gives up soon and is retried later.

use crate::connection::AnyConnection;
use crate::error::Error;
use crate::fault;
use crate::schema::migration::{Migration, Work};
use crate::schema::progress::Progress;
use crate::sql::{Sql, insert, statement};
use crate::statement::sql;
use diesel::connection::SimpleConnection;
use std::time::Duration;
use tokio::time::Instant;

/// The advisory lock of PostgreSQL that a process holds while it migrates. The number is arbitrary.
const MIGRATION_LOCK: i64 = 0x5E77_1E01;
/// Interval at which a process checks whether another one has finished its migrations.
const TURN: Duration = Duration::from_millis(500);

/// Maximum time for which a statement waits for locks of other sessions. Later statements wait behind it.
const LOCK_TIMEOUT: &str = "2s";
/// Maximum time for which the build of an index waits for older transactions. No reader or writer waits behind it.
const INDEX_LOCK_TIMEOUT: &str = "10min";
const ATTEMPTS: u32 = 30;
/// The pause after the first attempt. Each further pause is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Interval between the progress reports of a step.
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);

const TAKE_TURN: Sql = statement!("SELECT pg_try_advisory_lock({MIGRATION_LOCK}) AS value");
/// Counts an index of this name whose build failed or was killed. Such an index is written but never read.
const INVALID: Sql = statement!(
    "SELECT COUNT(*) AS value
    FROM pg_index
    WHERE indexrelid = to_regclass(?) AND NOT indisvalid"
);

/// A function that shows the progress to people who wait.
pub type Report<'a> = &'a mut dyn FnMut(&Progress);

/// Waits until no other process migrates, and prepares a session for migrations. The lock is released with the session.
///
/// The session does not wait for the lock within a statement: it would then have an open transaction, and an index that
/// the other process builds concurrently would wait for that transaction.
pub fn begin(connection: &mut AnyConnection, report: Report<'_>) -> Result<(), Error> {
    if !connection.is_shared() {
        return Ok(());
    }
    let mut is_first = true;
    while sql(TAKE_TURN).value::<bool>(connection)? != Some(true) {
        if is_first {
            report(&Progress::Queued);
        }
        is_first = false;
        std::thread::sleep(TURN);
    }
    set_timeout(connection, LOCK_TIMEOUT)
}

fn set_timeout(connection: &mut AnyConnection, lock_timeout: &str) -> Result<(), Error> {
    let set = format!("SET statement_timeout = 0; SET lock_timeout = '{lock_timeout}'");
    connection.batch_execute(&set).map_err(Error::of_query)
}

/// Applies a migration and records that it is applied. Completes a migration that a killed process left half done.
pub fn apply(
    connection: &mut AnyConnection,
    migration: &Migration,
    report: Report<'_>,
) -> Result<(), Error> {
    let began = Instant::now();
    let mut changed = None;
    match &migration.work {
        Work::Script(text) => patiently(connection, migration, report, |connection| {
            connection.in_transaction(|connection| {
                connection.batch_execute(text).map_err(Error::of_query)?;
                record(connection, migration)
            })
        })?,
        Work::Index { name, statement } => {
            patiently(connection, migration, report, |connection| {
                index(connection, name, statement)
            })?;
            record(connection, migration)?;
        }
        Work::Batches {
            count,
            change,
            rows,
        } => {
            let left = sql(count.as_str())
                .value::<i64>(connection)?
                .unwrap_or_default();
            let (mut done, mut reported) = (0, began);
            loop {
                let batch = patiently(connection, migration, report, |connection| {
                    connection.in_transaction(|connection| {
                        sql(change.as_str()).bind(*rows).run(connection)
                    })
                })?;
                if batch == 0 {
                    break;
                }
                fault::kill_at("migrate.after_batch");
                done += i64::try_from(batch).unwrap_or(i64::MAX);
                if reported.elapsed() >= BETWEEN_REPORTS {
                    reported = Instant::now();
                    let (name, took) = (migration.name.clone(), began.elapsed());
                    report(&Progress::Rows {
                        name,
                        changed: done,
                        left: (left - done).max(0),
                        took,
                    });
                }
            }
            record(connection, migration)?;
            changed = Some(done);
        }
    }
    report(&Progress::Applied {
        name: migration.name.clone(),
        changed,
        took: began.elapsed(),
    });
    fault::kill_at("migrate.after_step");
    Ok(())
}

fn record(connection: &mut AnyConnection, migration: &Migration) -> Result<(), Error> {
    let (version, sha256) = (migration.version.as_str(), migration.fingerprint.as_str());
    let oldest = migration.from.to_string();
    insert!(fingerprints {
        version,
        sha256,
        oldest
    })
    .run(connection)
    .map(drop)
}

/// Builds an index. On PostgreSQL it runs outside transactions, and readers and writers continue meanwhile.
fn index(connection: &mut AnyConnection, name: &str, statement: &str) -> Result<(), Error> {
    if !connection.is_shared() {
        return connection.batch_execute(statement).map_err(Error::of_query);
    }
    set_timeout(connection, INDEX_LOCK_TIMEOUT)?;
    let invalid = sql(INVALID)
        .bind(name)
        .value::<i64>(connection)?
        .unwrap_or_default();
    if invalid > 0 {
        connection
            .batch_execute(&format!("DROP INDEX CONCURRENTLY {name}"))
            .map_err(Error::of_query)?;
    }
    let built = connection.batch_execute(statement).map_err(Error::of_query);
    if let Err(taken) = &built
        && taken.is_taken()
    {
        // The invalid index would still reject rows of writers.
        connection
            .batch_execute(&format!("DROP INDEX CONCURRENTLY {name}"))
            .map_err(Error::of_query)?;
        return Err(Error::corrupt_by(
            format!("the unique index {name} cannot be built: rows are equal"),
            taken.clone(),
        ));
    }
    built?;
    set_timeout(connection, LOCK_TIMEOUT)
}

/// Runs a part of a step, and repeats it while other sessions hold locks that it needs.
///
/// # Errors
/// The error of `part`: after the last attempt if locks are the cause, otherwise at once.
fn patiently<T>(
    connection: &mut AnyConnection,
    migration: &Migration,
    report: Report<'_>,
    mut part: impl FnMut(&mut AnyConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    let (mut attempt, mut wait) = (1, FIRST_PAUSE);
    loop {
        match part(connection) {
            Err(error) if (error.is_of_lock() || error.is_of_deadlock()) && attempt < ATTEMPTS => {
                let (name, is_deadlock) = (migration.name.clone(), error.is_of_deadlock());
                report(&Progress::Blocked {
                    name,
                    is_deadlock,
                    attempt,
                    attempts: ATTEMPTS,
                    wait,
                });
                std::thread::sleep(wait);
                attempt += 1;
                wait = (wait * 2).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}
