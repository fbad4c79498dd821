//! The pool of reading connections. Their calls block, so they run on Tokio's blocking threads.

use crate::db::config::Database;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Maximum number of open reading connections.
pub const CONNECTIONS: usize = 6;
/// Maximum number of those that only ingress uses: no other reader stands before a notification.
pub const INGRESS_CONNECTIONS: usize = 2;
/// Maximum number of those that only requests of devices use: they stand before no page, and no page before them.
pub const DEVICE_CONNECTIONS: usize = 2;

/// A bounded number of reading connections.
#[derive(Clone)]
pub struct Readers {
    database: Database,
    /// The open connections that no read uses.
    idle: Arc<Mutex<Vec<AnyConnection>>>,
    /// One for each connection: a read waits for a permit asynchronously, so that it blocks no thread meanwhile.
    permits: Arc<Semaphore>,
    /// The lock file of an SQLite database: the lock is held as long as a handle exists.
    lock: Option<Arc<File>>,
}

impl Readers {
    /// Whether other processes use the database, too: it is PostgreSQL.
    pub const fn is_shared(&self) -> bool {
        self.lock.is_none()
    }

    /// A pool without open connections: each is opened when it is first needed.
    pub fn new(database: Database, lock: Option<Arc<File>>, connections: usize) -> Self {
        Self { database, idle: Arc::default(), permits: Arc::new(Semaphore::new(connections)), lock }
    }

    /// Runs `read` on a reading connection.
    pub async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, Error> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(Error::unavailable)?;
        let readers = self.clone();
        let work = move || {
            let _permit = permit;
            let mut connection = readers.connection()?;
            let result = read(&mut connection);
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
