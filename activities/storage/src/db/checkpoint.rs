//! Checkpoints of SQLite's write-ahead log (WAL), on a thread of their own instead of inside the writer's commits.
//!
//! A checkpoint copies the log's pages into the database file and syncs both; a commit that triggers one waits for all
//! of it. So this thread copies the pages often, while they are few, in the mode that takes no lock of the writer
//! (PASSIVE, <https://sqlite.org/c3ref/wal_checkpoint_v2.html>). The log starts over only after all its pages were
//! copied, which may never happen while the writer keeps adding pages. So when the log is long, the writer copies the
//! rest itself between two groups, when hardly anything is left.

use crate::config::Database;
use crate::connection::AnyConnection;
use crate::error::Error;
use crate::sql::{Sql, statement};
use crate::statement::{row, sql};
use crate::waits::{Step, Waits};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Interval at which the thread copies the log.
const INTERVAL: Duration = Duration::from_millis(250);
/// A log with this many pages is long: 64 MiB of 4 KiB pages.
const LONG_LOG_PAGES: i64 = 16 * 1024;

row! {
    struct Progress {
        log: i64,
    }
}

/// A handle to the thread that copies. The thread ends when the handle is dropped.
pub struct Checkpoints {
    is_long: Arc<AtomicBool>,
    _end: Sender<Infallible>,
}

impl Checkpoints {
    /// Starts the thread. `None` for PostgreSQL, which does its checkpoints itself.
    pub fn start(database: &Database, waits: &Waits) -> Result<Option<Self>, Error> {
        if matches!(database, Database::Postgres(_)) {
            return Ok(None);
        }
        let connection = AnyConnection::to(database).map_err(Error::unavailable)?;
        let (end, stopped) = channel();
        let is_long = Arc::new(AtomicBool::new(false));
        let (flag, waits) = (Arc::clone(&is_long), waits.clone());
        thread::Builder::new()
            .name("storage-checkpoint".to_owned())
            .spawn(move || repeat(connection, &flag, &stopped, &waits))
            .map_err(Error::unavailable)?;
        Ok(Some(Self { is_long, _end: end }))
    }

    /// Copies the rest of a long log on the writer's connection, so that the next commit starts the log over.
    pub fn finish(&self, writer: &mut AnyConnection) {
        if self.is_long.swap(false, Ordering::Relaxed) {
            log_failure(copy(writer));
        }
    }
}

fn repeat(
    mut connection: AnyConnection,
    is_long: &AtomicBool,
    stopped: &Receiver<Infallible>,
    waits: &Waits,
) {
    while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let call = waits.call("checkpoint", Step::Code);
        let _entered = call.enter();
        let pages = log_failure(copy(&mut connection));
        is_long.store(pages >= LONG_LOG_PAGES, Ordering::Relaxed);
    }
}

const CHECKPOINT: Sql = statement!("PRAGMA wal_checkpoint(PASSIVE)");

/// Copies as many pages as it can without waiting for another connection; returns the number of pages in the log.
fn copy(connection: &mut AnyConnection) -> Result<i64, Error> {
    let progress: Option<Progress> = sql(CHECKPOINT).first(connection)?;
    Ok(progress.map_or(0, |progress| progress.log))
}

/// Logs a failed copy. The pages stay in the log and are copied later; until then the log grows.
fn log_failure(copied: Result<i64, Error>) -> i64 {
    copied.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "the log of the database cannot be copied into it; is the disk full?");
        0
    })
}
