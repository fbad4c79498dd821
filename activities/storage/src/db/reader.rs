//! The pool of reading connections. Their calls block, so they run on Tokio's blocking threads.

use crate::db::config::Database;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use diesel::r2d2::{ManageConnection, NopErrorHandler, Pool, R2D2Connection};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Maximum number of open reading connections.
pub const CONNECTIONS: u32 = 6;
/// Maximum number of those that only ingress uses: no other reader stands before a notification.
pub const INGRESS_CONNECTIONS: u32 = 2;
/// Maximum number of those that only requests of devices use: they stand before no page, and no page before them.
pub const DEVICE_CONNECTIONS: u32 = 2;
/// How long a read waits for a connection.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A bounded number of reading connections.
#[derive(Clone)]
pub struct Readers {
    pool: Pool<Connections>,
    /// One for each connection: a read waits for a permit asynchronously, so that it blocks no thread meanwhile.
    permits: Arc<Semaphore>,
    /// The lock file of an SQLite database: the lock is held as long as a handle exists.
    lock: Option<Arc<File>>,
}

/// Opens and checks the pool's connections.
#[derive(Debug)]
pub struct Connections(Database);

impl ManageConnection for Connections {
    type Connection = AnyConnection;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, Self::Error> {
        AnyConnection::to(&self.0).map_err(diesel::r2d2::Error::ConnectionError)
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), Self::Error> {
        connection.ping().map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, connection: &mut AnyConnection) -> bool {
        connection.is_lost()
    }
}

impl Readers {
    /// Whether other processes use the database, too: it is PostgreSQL.
    pub const fn is_shared(&self) -> bool {
        self.lock.is_none()
    }

    /// A pool without open connections: each is opened when it is first needed.
    pub fn new(database: Database, lock: Option<Arc<File>>, connections: u32) -> Self {
        // A file needs no check. Pinging a server costs a round trip, and avoids an error on the first read after the
        // server's restart.
        let is_remote = matches!(database, Database::Postgres(_));
        let pool = Pool::builder()
            .max_size(connections)
            .min_idle(Some(0))
            .connection_timeout(TIMEOUT)
            .test_on_check_out(is_remote)
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(Connections(database));
        Self { pool, permits: Arc::new(Semaphore::new(connections as usize)), lock }
    }

    /// Runs `read` on a reading connection.
    pub async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, Error> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(Error::unavailable)?;
        let pool = self.pool.clone();
        let work = move || {
            let _permit = permit;
            let mut connection = pool.get().map_err(Error::unavailable)?;
            read(&mut connection)
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::unavailable)?
    }
}
