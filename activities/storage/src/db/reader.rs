//! The pool of reading connections. Their calls block, so they run on Tokio's blocking threads.

use crate::db::config::Database;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::time_limit;
use crate::db::waits::{Step, Waits};
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What the connections of a pool are for, and the maximum number that is open.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    purpose: &'static str,
    connections: usize,
}

/// For pages, lists and the rest.
pub const GENERAL: Pool = Pool { purpose: "read", connections: 6 };
/// Only ingress uses these: no other reader stands before a notification.
pub const INGRESS: Pool = Pool { purpose: "read_ingress", connections: 2 };
/// Only requests of devices use these: they stand before no page, and no page before them.
pub const DEVICES: Pool = Pool { purpose: "read_devices", connections: 2 };
/// Only `/readyz` uses this: whoever asks whether the process is healthy waits for no list.
pub const HEALTH: Pool = Pool { purpose: "read_health", connections: 1 };

/// Maximum duration of a statement of a reader on SQLite, as PostgreSQL's `statement_timeout`. That of a list is shorter.
const LIMIT: Duration = Duration::from_secs(15);

/// A bounded number of reading connections.
#[derive(Clone)]
pub struct Readers {
    purpose: &'static str,
    database: Database,
    /// The open connections that no read uses.
    idle: Arc<Mutex<Vec<AnyConnection>>>,
    /// One for each connection: a read waits for a permit asynchronously, so that it blocks no thread meanwhile.
    permits: Arc<Semaphore>,
    /// The lock file of an SQLite database: the lock is held as long as a handle exists.
    lock: Option<Arc<File>>,
    waits: Waits,
    /// How many times ten thousand steps its statements took on SQLite, for tests of what a read costs.
    #[cfg(feature = "fail-points")]
    pub ticks: Arc<std::sync::atomic::AtomicU64>,
}

impl Readers {
    /// Whether other processes use the database, too: it is PostgreSQL.
    pub const fn is_shared(&self) -> bool {
        self.lock.is_none()
    }

    /// A pool without open connections: each is opened when it is first needed.
    pub fn new(database: Database, lock: Option<Arc<File>>, pool: Pool, waits: Waits) -> Self {
        let Pool { purpose, connections } = pool;
        Self {
            purpose,
            database,
            idle: Arc::default(),
            permits: Arc::new(Semaphore::new(connections)),
            lock,
            waits,
            #[cfg(feature = "fail-points")]
            ticks: Arc::default(),
        }
    }

    /// Runs `read` on a reading connection.
    pub async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, Error> + Send + 'static,
    {
        let call = self.waits.call(self.purpose, Step::Pool);
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(Error::unavailable)?;
        let readers = self.clone();
        let work = move || {
            let _permit = permit;
            let _entered = call.enter();
            let limited = time_limit::limit(LIMIT);
            let mut connection = readers.connection()?;
            let result = read(&mut connection);
            #[cfg(feature = "fail-points")]
            readers.ticks.fetch_add(limited.ticks(), std::sync::atomic::Ordering::Relaxed);
            drop(limited);
            readers.keep(connection);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::unavailable)?
    }

    /// An open connection that was not lost since it was used last, or a new one.
    fn connection(&self) -> Result<AnyConnection, Error> {
        loop {
            let newest = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = newest else {
                return AnyConnection::to(&self.database).map_err(Error::unavailable);
            };
            if !connection.is_lost() {
                return Ok(connection);
            }
        }
    }

    fn keep(&self, mut connection: AnyConnection) {
        if !connection.is_lost() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
