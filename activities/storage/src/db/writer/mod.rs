//! The grouping writer: the threads of a process that write (`purpose.rs`); on SQLite there is one.
//!
//! A thread takes all waiting jobs, runs them in one transaction and answers after the commit, so that one fsync serves
//! many jobs (group commit). On SQLite acceptances have a queue of their own: they are run, committed and answered
//! before any other job, whose transactions are short and end as soon as an acceptance waits.
//!
//! A settling or a login whose user another transaction has locked is set aside (`aside.rs`), and so are logins of an
//! app beyond its share. Their group continues without them.
//!
//! No job has a savepoint. After an error of a job, or a transient error (a deadlock, a lost connection), the group is
//! rolled back and run again in smaller parts, first the jobs before the failed one, until the failed job is alone and
//! gets its error. A database that refuses everything fails the whole group after a few transactions; one with a full
//! disk, after the first. A panic in a job is such an error too: it ends no thread, and leaves no caller waiting
//! forever.

use crate::checkpoint::Checkpoints;
use crate::config::Database;
use crate::connection::AnyConnection;
use crate::disk::Disk;
use crate::error::Error;
use crate::waits::{Call, Step, WaitNote, Waits};
use aside::Aside;
use domain::{CollapseKey, Timestamp};
pub use failures::NextTransaction;
use failures::Stopped;
pub use job::Items;
use job::{Batch, Job, MAX_QUEUED_JOBS, Work};
use order::Order;
use purpose::Purpose;
pub use purpose::{Faults, JobKind};
use std::sync::Arc;
use std::thread::Builder;
use thread::{OWN, SHARED, Thread, prepared};
use tokio::sync::{mpsc, oneshot};
pub use write::Write;

mod aside;
mod failures;
mod group;
mod job;
pub mod order;
mod park;
mod purpose;
#[cfg(test)]
mod tests;
mod thread;
mod write;

/// Queue of a thread's jobs.
type Jobs = mpsc::Sender<Box<dyn Job>>;

/// A handle to the writer. The threads end when the last handle is dropped.
#[derive(Clone)]
pub struct Writer {
    /// The queue of acceptances, on SQLite.
    acceptances: Option<Jobs>,
    /// The queue of each thread, and the thread's note of what it waits for.
    queues: Arc<[(Jobs, Arc<WaitNote>)]>,
    /// State of the disk, as the threads see it.
    disk: Arc<Disk>,
    waits: Waits,
}

impl Writer {
    /// Starts the threads, the first one on a connection that is open already. The others connect for their first jobs.
    pub fn start(
        database: &Database,
        connection: AnyConnection,
        clock: fn() -> Timestamp,
        waits: &Waits,
    ) -> Result<Self, Error> {
        let is_one = !connection.is_shared();
        let threads = if is_one {
            vec![Purpose::Admin]
        } else {
            purpose::threads()
        };
        let (accept, acceptances) = mpsc::channel(MAX_QUEUED_JOBS);
        let (mut connection, mut acceptances) = (Some(connection), is_one.then_some(acceptances));
        let disk = Arc::new(Disk::of(database));
        let mut queues = Vec::with_capacity(threads.len());
        for purpose in threads {
            let ((queue, jobs), place) =
                (mpsc::channel(MAX_QUEUED_JOBS), WaitNote::new(Step::Code));
            let connection = connection
                .take()
                .map(|connection| prepared(connection, purpose))
                .transpose();
            let state = Thread {
                database: database.clone(),
                purpose,
                connection: connection.map_err(Error::of_query)?,
                clock,
                checkpoints: Checkpoints::start(database, waits)?,
                acceptances: acceptances.take().unwrap_or_else(|| mpsc::channel(1).1),
                bounds: if is_one { SHARED } else { OWN },
                disk: Arc::clone(&disk),
                is_limited: false,
                place: Arc::clone(&place),
                aside: Aside::default(),
            };
            Builder::new()
                .name("storage-writer".to_owned())
                .spawn(move || state.work(jobs))
                .map_err(Error::unavailable)?;
            queues.push((queue, place));
        }
        Ok(Self {
            acceptances: is_one.then_some(accept),
            queues: queues.into(),
            disk,
            waits: waits.clone(),
        })
    }

    /// Runs `work` in the next group. `work` may run more than once before it is committed.
    pub async fn write<T, F>(&self, kind: JobKind, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.run(kind, Order::of_kind(kind), work).await
    }

    /// Like [`Self::write`], for a job that locks the user of a purchase.
    pub async fn write_ordered<T, F>(
        &self,
        kind: JobKind,
        order: Order,
        work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.run(kind, Some(order), work).await
    }

    /// Writes items together with those of all waiting jobs that use the same function. `work` returns one result for
    /// each item, in order; it may run more than once before it is committed.
    pub async fn write_items<I, O, F>(
        &self,
        kind: JobKind,
        items: Items<I>,
        work: F,
    ) -> Result<Vec<O>, Error>
    where
        I: Send + 'static,
        O: Send + 'static,
        F: Fn(&mut Write<'_>, &[&I]) -> Result<Vec<O>, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let Items { items, weight } = items;
        let job = |call| Batch {
            kind,
            items,
            weight,
            work,
            result: None,
            reply: Some(reply),
            call: Some(call),
        };
        self.enqueue(kind, None, job).await?;
        answer.await.map_err(Error::unavailable)?
    }

    /// Returns the state of the disk, as the threads see it.
    pub const fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    async fn run<T, F>(&self, kind: JobKind, order: Option<Order>, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let settled = order.and_then(|order| order.key());
        let job = |call| Work {
            kind,
            order,
            work,
            result: None,
            reply: Some(reply),
            call: Some(call),
        };
        self.enqueue(kind, settled, job).await?;
        answer.await.map_err(Error::unavailable)?
    }

    async fn enqueue<J: Job>(
        &self,
        kind: JobKind,
        settled: Option<CollapseKey>,
        job: impl FnOnce(Call) -> J,
    ) -> Result<(), Error> {
        let thread = match self.acceptances {
            Some(_) => 0,
            None => kind.thread(settled),
        };
        let (queue, place) = self
            .queues
            .get(thread)
            .ok_or_else(|| Error::unavailable(Stopped))?;
        let queue = self
            .acceptances
            .as_ref()
            .filter(|_| kind.is_acceptance())
            .unwrap_or(queue);
        let call = self.waits.queued(kind.purpose().as_str(), place);
        queue
            .send(Box::new(job(call)))
            .await
            .map_err(|_| Error::unavailable(Stopped))
    }
}
