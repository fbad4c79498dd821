//! The pool of reading connections. Their calls block, so they run on Tokio's blocking threads.

use crate::config::Database;
use crate::connection::AnyConnection;
use crate::error::Error;
use crate::time_limit;
use crate::waits::{Step, Waits};
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Purpose of a pool's connections, and their maximum number.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    purpose: &'static str,
    connections: usize,
}

/// The pool for pages, lists and all other reads.
pub const GENERAL: Pool = Pool {
    purpose: "read",
    connections: 6,
};
/// The pool for ingress only: no other read delays a notification.
pub const INGRESS: Pool = Pool {
    purpose: "read_ingress",
    connections: 2,
};
/// The pool for device requests only: they delay no page, and no page delays them.
pub const DEVICES: Pool = Pool {
    purpose: "read_devices",
    connections: 2,
};
/// The pool for `/readyz` and the time of the last sweep: slow lists delay neither.
pub const HEALTH: Pool = Pool {
    purpose: "read_health",
    connections: 1,
};

/// Maximum duration of a reader's statement on SQLite, like PostgreSQL's `statement_timeout`. Lists have a shorter one.
const LIMIT: Duration = Duration::from_secs(15);

tokio::task_local! {
    static TURNS: Vec<Arc<Semaphore>>;
}

/// Runs `work`, in which each read first takes a permit from each of these semaphores, in order. A read holds its
/// permits until it finishes, even after its caller has stopped waiting. Tasks that `work` spawns take no permits.
pub async fn taking_turns<T>(turns: Vec<Arc<Semaphore>>, work: impl Future<Output = T>) -> T {
    TURNS.scope(turns, work).await
}

/// Waits for the permits that a read of this task needs.
async fn turn() -> Result<Vec<OwnedSemaphorePermit>, Error> {
    let mut permits = Vec::new();
    for one in TURNS.try_with(Clone::clone).unwrap_or_default() {
        permits.push(one.acquire_owned().await.map_err(Error::unavailable)?);
    }
    Ok(permits)
}

/// A bounded number of reading connections.
#[derive(Clone)]
pub struct Readers {
    purpose: &'static str,
    database: Database,
    /// The open connections that no read uses.
    idle: Arc<Mutex<Vec<AnyConnection>>>,
    /// One permit for each connection: a read waits for a permit asynchronously, so that it blocks no thread meanwhile.
    permits: Arc<Semaphore>,
    /// The lock file of an SQLite database: the lock is held as long as a handle exists.
    lock: Option<Arc<File>>,
    waits: Waits,
    /// Number of progress calls (10,000 SQLite steps each), for tests of the cost of reads.
    #[cfg(feature = "fail-points")]
    pub ticks: Arc<std::sync::atomic::AtomicU64>,
}

impl Readers {
    /// Returns whether other processes may use the database too: true for PostgreSQL.
    pub const fn is_shared(&self) -> bool {
        self.lock.is_none()
    }

    /// Returns a pool without open connections: each is opened when it is first needed.
    pub fn new(database: Database, lock: Option<Arc<File>>, pool: Pool, waits: Waits) -> Self {
        let Pool {
            purpose,
            connections,
        } = pool;
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
        let turn = turn().await?;
        let call = self.waits.call(self.purpose, Step::Pool);
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(Error::unavailable)?;
        let readers = self.clone();
        let work = move || {
            let (_permit, _turn) = (permit, turn);
            let _entered = call.enter();
            let limited = time_limit::limit(LIMIT);
            let mut connection = readers.connection()?;
            let result = read(&mut connection);
            #[cfg(feature = "fail-points")]
            readers
                .ticks
                .fetch_add(limited.ticks(), std::sync::atomic::Ordering::Relaxed);
            drop(limited);
            readers.keep(connection);
            result
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(Error::unavailable)?
    }

    /// Returns an idle connection that is not lost, or a new one.
    fn connection(&self) -> Result<AnyConnection, Error> {
        loop {
            let newest = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
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
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GENERAL, Readers, taking_turns};
    use crate::config::Database;
    use crate::waits::Waits;
    use futures::FutureExt as _;
    use std::slice;
    use std::sync::{Arc, mpsc};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_cancelled_read_holds_its_permits_until_it_finishes() {
        let path = std::env::temp_dir().join(format!("settle-turns-{}.db", std::process::id()));
        let readers = Readers::new(
            Database::Sqlite(path.clone()),
            None,
            GENERAL,
            Waits::default(),
        );
        // Two connections that create the file at once may lock each other out.
        readers.read(|_| Ok(())).await.expect("the file is created");
        let only = Arc::new(Semaphore::new(1));
        let turns = || slice::from_ref(&only).to_vec();
        let (go_on, waits) = mpsc::channel::<()>();
        let slow = readers.read(move |_| Ok(waits.recv().is_ok()));
        let mut request = Box::pin(taking_turns(turns(), slow));
        assert!((&mut request).now_or_never().is_none(), "it is under way");
        drop(request);
        let mut next = Box::pin(taking_turns(turns(), readers.read(|_| Ok(()))));
        assert!(
            (&mut next).now_or_never().is_none() && only.available_permits() == 0,
            "the first one is still under way"
        );
        readers
            .read(|_| Ok(()))
            .await
            .expect("a read outside of `taking_turns` takes no permit");
        go_on.send(()).expect("the first one");
        next.await.expect("its turn");
        std::fs::remove_file(path).expect("its file");
    }
}
