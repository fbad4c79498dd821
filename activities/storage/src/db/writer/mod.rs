//! The grouping writer: the threads of a process that write; on SQLite there is one, see `purpose.rs`.
//!
//! A thread takes all jobs that wait, runs them in one transaction and answers after the commit, so that one fsync serves
//! many (group commit). Each job has a savepoint of its own, so that a failed job is rolled back alone. After a
//! transient error (a deadlock, a lost connection) the group is rolled back and run again in smaller parts, until the
//! job that fails is alone. A database that refuses everything fails the whole group after a few transactions. A panic
//! in a job is such an error too: no thread ends by it, and no caller waits for ever.

use crate::db::checkpoint::Checkpoints;
use crate::db::config::Database;
use crate::db::connection::AnyConnection;
use crate::db::epoch::{self, EpochAhead};
use crate::db::error::{Error, chain};
use crate::db::fault;
use crate::db::statement::Statement;
use diesel::QueryResult;
use domain::{DestinationId, Timestamp};
pub use failures::NextTransaction;
use failures::{Stopped, catch};
pub use job::Items;
use job::{Batch, Job, Work};
use order::{Order, Settled};
use purpose::Purpose;
pub use purpose::{Faults, JobKind};
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

mod failures;
mod job;
pub mod order;
mod purpose;
#[cfg(test)]
mod tests;

/// Maximum number of queued jobs; further callers wait until there is room.
const MAX_QUEUED_JOBS: usize = 4096;
/// Maximum number of jobs in a group.
const MAX_GROUP_JOBS: usize = 1024;
/// A group with this many items takes no further job.
const MAX_GROUP_ITEMS: usize = 4096;
/// After this time a transaction starts no further job; the rest of its group is run in the next transaction.
const MAX_TRANSACTION_TIME: Duration = Duration::from_millis(250);
/// Maximum number of tries of a job that is run alone.
const MAX_TRIES: usize = 4;
/// Maximum number of transactions of a group that are rolled back one after the other; then the rest of the group is
/// answered. It is enough to find one failing job among [`MAX_GROUP_JOBS`].
const MAX_UNDONE: usize = 16;

/// The slots that a transaction holds of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldSlots {
    /// The first one that the next claim of the transaction may take.
    pub first: i64,
    /// Number of leases that the transaction has in it.
    pub leases: i64,
}

/// The context of a job: the transaction's connection, and the time of its group.
pub struct Write<'c> {
    /// The connection, in a transaction.
    pub connection: &'c mut AnyConnection,
    /// The present time by the clock that stamps rows.
    pub now: Timestamp,
    /// When the transaction had begun, by the monotonic clock of this process; a little before `now`.
    pub began: Instant,
    /// Whether the job is the first one that is run by itself in the transaction.
    pub is_first: bool,
    /// The slots that the transaction holds of each destination; see `delivery::slots`.
    pub slots: BTreeMap<DestinationId, HeldSlots>,
    /// The epoch, once it was read in the transaction.
    epoch: Option<i64>,
    last: Vec<Last>,
}

/// A statement that is run at the end of a transaction.
struct Last {
    order: String,
    statement: Statement<'static>,
}

impl Write<'_> {
    /// The epoch of the database as of this transaction, in which it is read once. If the database was restored or
    /// failed over, the transaction fails; the writer raises the epoch and runs its jobs again.
    pub fn epoch(&mut self) -> Result<i64, Error> {
        if let Some(epoch) = self.epoch {
            return Ok(epoch);
        }
        let epoch = epoch::read(self.connection)?;
        self.epoch = Some(epoch);
        Ok(epoch)
    }

    /// Reads the epoch with the next statement whose result is needed; `None` if it is known. [`Self::remember_epoch`]
    /// fetches it.
    pub fn epoch_ahead(&mut self) -> Result<Option<EpochAhead>, Error> {
        if self.epoch.is_some() { Ok(None) } else { epoch::read_ahead(self.connection).map(Some) }
    }

    /// Remembers the epoch that was read ahead.
    pub fn remember_epoch(&mut self, ahead: EpochAhead) -> Result<(), Error> {
        self.epoch = Some(ahead.fetch(self.connection)?);
        Ok(())
    }

    /// Raises the epoch; returns the new one.
    pub fn raise_epoch(&mut self) -> Result<i64, Error> {
        // The savepoint of this job may be rolled back, so the new epoch is not remembered.
        self.epoch = None;
        epoch::raise(self.connection, self.now)
    }

    /// Runs a statement at the end of the transaction, unless the job fails. For a row that jobs of many purchases
    /// write: it is locked for a short time, and all processes lock such rows in the order of these texts.
    pub fn run_last(&mut self, order: String, statement: Statement<'static>) {
        self.last.push(Last { order, statement });
    }

    fn finish(mut self) -> Result<(), Error> {
        self.last.sort_by(|one, other| one.order.cmp(&other.order));
        self.last.into_iter().try_for_each(|last| last.statement.later(self.connection))
    }
}

/// A handle to the writer. The threads end when the last handle is dropped.
#[derive(Clone)]
pub struct Writer {
    /// The queue of each thread.
    queues: Arc<[mpsc::Sender<Box<dyn Job>>]>,
}

impl Writer {
    /// Starts the threads, the first one on a connection that is open already. The others connect for their first jobs.
    pub fn start(database: &Database, connection: AnyConnection, clock: fn() -> Timestamp) -> Result<Self, Error> {
        let threads = if connection.is_shared() { purpose::threads() } else { vec![Purpose::Admin] };
        let mut connection = Some(connection);
        let mut queues = Vec::with_capacity(threads.len());
        for purpose in threads {
            let (queue, jobs) = mpsc::channel(MAX_QUEUED_JOBS);
            let connection = connection.take().map(|connection| prepared(connection, purpose)).transpose();
            let state = Thread {
                database: database.clone(),
                purpose,
                connection: connection.map_err(Error::of_query)?,
                clock,
                checkpoints: Checkpoints::start(database)?,
                transaction: MAX_TRANSACTION_TIME,
            };
            thread::Builder::new()
                .name("storage-writer".to_owned())
                .spawn(move || state.work(jobs))
                .map_err(Error::unavailable)?;
            queues.push(queue);
        }
        Ok(Self { queues: queues.into() })
    }

    /// Runs `work` in the next group. `work` may run more than once before it is committed.
    pub async fn write<T, F>(&self, kind: JobKind, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Work { kind, order: None, work, result: None, reply: Some(reply) })).await?;
        answer.await.map_err(Error::unavailable)?
    }

    /// Like [`Self::write`], for a job that locks the user of a purchase.
    pub async fn write_ordered<T, F>(&self, kind: JobKind, order: Order, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Work { kind, order: Some(order), work, result: None, reply: Some(reply) })).await?;
        answer.await.map_err(Error::unavailable)?
    }

    /// Writes items together with those of all waiting jobs that use the same function. `work` returns one result for
    /// each item, in order; it may run more than once before it is committed.
    pub async fn write_items<I, O, F>(&self, kind: JobKind, items: Items<I>, work: F) -> Result<Vec<O>, Error>
    where
        I: Send + 'static,
        O: Send + 'static,
        F: Fn(&mut Write<'_>, &[&I]) -> Result<Vec<O>, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let Items { items, weight } = items;
        self.enqueue(Box::new(Batch { kind, items, weight, work, result: None, reply: Some(reply) })).await?;
        answer.await.map_err(Error::unavailable)?
    }

    async fn enqueue(&self, job: Box<dyn Job>) -> Result<(), Error> {
        let settled = job.order().map(|order| order.settled.key);
        let queue = if self.queues.len() == 1 { 0 } else { job.kind().thread(settled) };
        let queue = self.queues.get(queue).ok_or_else(|| Error::unavailable(Stopped))?;
        queue.send(job).await.map_err(|_| Error::unavailable(Stopped))
    }
}

struct Thread {
    database: Database,
    purpose: Purpose,
    connection: Option<AnyConnection>,
    clock: fn() -> Timestamp,
    checkpoints: Option<Checkpoints>,
    /// After this time a transaction starts no further job.
    transaction: Duration,
}

/// How a transaction ended, for all the jobs in it.
enum TransactionResult {
    /// The first jobs, at least one, are committed; each job's own error is in the list.
    Committed(Vec<Option<Error>>),
    /// Rolled back after a transient error.
    Undone(Undone),
    /// The database cannot be reached.
    Unreachable(Error),
    /// The commit itself failed: its result is unknown, so nothing is run again.
    Unknown(Error),
}

/// A transient error that rolled back a transaction.
struct Undone {
    /// The index of the job that failed, if it was run by itself.
    index: Option<usize>,
    error: Error,
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        Self { index: None, error }
    }
}

impl Thread {
    fn work(mut self, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut group = vec![first];
            let mut items = group[0].items();
            while group.len() < MAX_GROUP_JOBS && items < MAX_GROUP_ITEMS {
                let Ok(job) = jobs.try_recv() else { break };
                items += job.items();
                group.push(job);
            }
            if let Err(panicked) = catch(|| self.write_group(&mut group)) {
                self.connection = None;
                answer_all(&mut group, &panicked);
            }
        }
    }

    fn write_group(&mut self, group: &mut [Box<dyn Job>]) {
        if let Err(error) = sort(group, self.connection.as_mut()) {
            tracing::debug!(error = chain(&error), "a group of jobs is in no order: a deadlock rolls it back");
        }
        self.commit_group(group);
        if let (Some(checkpoints), Some(connection)) = (&self.checkpoints, &mut self.connection) {
            checkpoints.finish(connection);
        }
    }

    /// Runs a group in as many transactions as it needs, and answers all its jobs. After a rolled back transaction the
    /// next one has the jobs before the one that failed, or half of them where that is not known, and then again more.
    fn commit_group(&mut self, mut group: &mut [Box<dyn Job>]) {
        let (mut length, mut undone, mut tries) = (group.len(), 0, 0);
        while !group.is_empty() {
            length = length.clamp(1, group.len());
            let (done, errors) = match self.transact(&mut group[..length]) {
                TransactionResult::Committed(errors) => {
                    undone = 0;
                    (errors.len(), errors)
                }
                TransactionResult::Unreachable(error) | TransactionResult::Unknown(error) => {
                    return answer_all(group, &error);
                }
                TransactionResult::Undone(Undone { index, error }) => {
                    undone += 1;
                    tries += usize::from(length == 1);
                    if undone >= MAX_UNDONE {
                        return answer_all(group, &error);
                    }
                    if tries < MAX_TRIES {
                        length = index.unwrap_or(length / 2);
                        continue;
                    }
                    (1, vec![Some(error)])
                }
            };
            let (first, rest) = group.split_at_mut(done);
            answer(first, errors);
            (group, length, tries) = (rest, length.saturating_mul(2), 0);
        }
    }

    /// The open connection, or a new one.
    fn connect(&mut self) -> Result<&mut AnyConnection, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = AnyConnection::to(&self.database).map_err(Error::unavailable)?;
                prepared(connection, self.purpose).map_err(Error::unavailable)?
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Runs as many of these jobs in one transaction as its time allows.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> TransactionResult {
        let (clock, transaction) = (self.clock, self.transaction);
        let connection = match self.connect() {
            Ok(connection) => connection,
            Err(error) => return TransactionResult::Unreachable(error),
        };
        let errors = match catch(|| run(connection, jobs, clock, transaction)) {
            Ok(Ok(errors)) => errors,
            Err(panicked) => {
                self.connection = None;
                return TransactionResult::Undone(panicked.into());
            }
            Ok(Err(failed)) => {
                let is_usable = connection.abandon().is_ok() && !connection.is_lost();
                // If the epoch cannot be raised, the next try of the job does it.
                if !is_usable || (epoch::is_other_lineage(&failed.error) && epoch::renew(connection, clock).is_err()) {
                    self.connection = None;
                }
                return TransactionResult::Undone(failed);
            }
        };
        let jobs = &mut jobs[..errors.len()];
        let is_early = |job: &&mut Box<dyn Job>| {
            job.kind().faults().and_then(|faults| faults.early_answer).is_some_and(fault::is_planted)
        };
        jobs.iter_mut().filter(is_early).for_each(|job| job.answer(None));
        kill_at(jobs, |faults| faults.before_commit);
        let committed = connection.commit();
        kill_at(jobs, |faults| faults.after_commit);
        match committed {
            Ok(()) => TransactionResult::Committed(errors),
            Err(cause) => {
                let error = Error::of_query(cause);
                if connection.is_undone() {
                    if connection.abandon().is_err() {
                        self.connection = None;
                    }
                    return TransactionResult::Undone(Undone { index: None, error });
                }
                // The state of the connection is unknown, so it is not used again.
                self.connection = None;
                TransactionResult::Unknown(Error::unavailable(error))
            }
        }
    }
}

/// A connection for jobs of this purpose.
fn prepared(mut connection: AnyConnection, purpose: Purpose) -> QueryResult<AnyConnection> {
    connection.prepare_to_write()?;
    if purpose.is_by_key() {
        connection.plan_for_any_values()?;
    }
    Ok(connection)
}

/// Sorts the jobs of a group, so that all processes lock what several jobs share in the same order and do not deadlock:
/// destinations by their ids, for settlings users by theirs. Users are only read for several settlings, and where other processes write too.
///
/// # Errors
/// The users could not be read: the jobs are sorted by their kinds alone.
fn sort(group: &mut [Box<dyn Job>], connection: Option<&mut AnyConnection>) -> Result<(), Error> {
    group.sort_by_key(|job| job.kind());
    let orders: Vec<Order> = group.iter().filter_map(|job| job.order()).collect();
    let (Some(connection), [first, _, ..]) = (connection.filter(|one| one.is_shared()), orders.as_slice()) else {
        return Ok(());
    };
    let settled: Vec<Settled> = orders.iter().map(|order| order.settled).collect();
    let users = (first.find)(connection, &settled)?;
    group.sort_by_cached_key(|job| (job.kind(), job.order().and_then(|order| users.get(&order.settled.key))));
    Ok(())
}

/// Begins a transaction and runs jobs in it: those with items together, the others until `transaction` is over. Returns
/// the errors of the jobs that were run, which are the first ones.
fn run(
    connection: &mut AnyConnection,
    jobs: &mut [Box<dyn Job>],
    clock: fn() -> Timestamp,
    transaction: Duration,
) -> Result<Vec<Option<Error>>, Undone> {
    connection.begin().map_err(Error::of_query)?;
    let began = Instant::now();
    let now = connection.now(clock)?;
    let (slots, last) = (BTreeMap::new(), Vec::new());
    let mut write = Write { connection, now, began, is_first: true, slots, epoch: None, last };
    let batch = jobs.iter().find_map(|job| batch(job.as_ref()));
    let is_in_batch = |job: &dyn Job| batch.is_some() && self::batch(job) == batch;
    let is_together = write_together(&mut write, jobs, is_in_batch)?;
    let mut errors = Vec::with_capacity(jobs.len());
    let alone = jobs.len() == 1;
    for (index, job) in jobs.iter_mut().enumerate() {
        if is_together && is_in_batch(job.as_ref()) {
            errors.push(None);
            continue;
        }
        if !errors.is_empty() && began.elapsed() > transaction {
            break;
        }
        let last = write.last.len();
        let error = match run_one(&mut write, job.as_mut(), alone) {
            Err(error) if !write.is_first && NextTransaction::is_cause(&error) => {
                write.connection.roll_back().map_err(Error::of_query)?;
                write.last.truncate(last);
                break;
            }
            result => result.map_err(|error| Undone { index: Some(index), error })?,
        };
        write.is_first = false;
        if error.is_some() {
            write.last.truncate(last);
        }
        errors.push(error);
    }
    write.finish()?;
    Ok(errors)
}

/// The type of a job that has items; `None` for a job that is run by itself.
fn batch(job: &dyn Job) -> Option<TypeId> {
    (job.items() > 0).then(|| (job as &dyn Any).type_id())
}

/// Writes the items of all these jobs together. Returns false when an item cannot be stored, or when there is only one
/// such job: then each job is run by itself.
fn write_together(
    write: &mut Write<'_>,
    jobs: &mut [Box<dyn Job>],
    is_in_batch: impl Fn(&dyn Job) -> bool,
) -> Result<bool, Error> {
    let mut jobs: Vec<&mut dyn Job> = jobs.iter_mut().map(AsMut::as_mut).filter(|job| is_in_batch(&**job)).collect();
    let Some((first, others)) = jobs.split_first_mut().filter(|(_, others)| !others.is_empty()) else {
        return Ok(false);
    };
    write.connection.begin().map_err(Error::of_query)?;
    match first.run(write, others) {
        Ok(()) => write.connection.commit().map_err(Error::of_query).map(|()| true),
        Err(error @ Error::Unavailable(_)) => Err(error),
        Err(_) => {
            write.last.clear();
            write.connection.roll_back().map_err(Error::of_query).map(|()| false)
        }
    }
}

/// Runs one job in a savepoint, or in the transaction itself if it is the only job there. The outer error rolls back
/// the whole transaction.
fn run_one(write: &mut Write<'_>, job: &mut dyn Job, alone: bool) -> Result<Option<Error>, Error> {
    if alone {
        return match job.run(write, &mut []) {
            Ok(()) => Ok(None),
            Err(error @ Error::Unavailable(_)) => Err(error),
            Err(error) => {
                write.connection.roll_back().map_err(Error::of_query)?;
                write.connection.begin().map_err(Error::of_query)?;
                Ok(Some(error))
            }
        };
    }
    write.connection.begin().map_err(Error::of_query)?;
    match job.run(write, &mut []) {
        Ok(()) => write.connection.commit().map_err(Error::of_query).map(|()| None),
        Err(error @ Error::Unavailable(_)) => Err(error),
        Err(error) => write.connection.roll_back().map_err(Error::of_query).map(|()| Some(error)),
    }
}

fn answer(jobs: &mut [Box<dyn Job>], errors: Vec<Option<Error>>) {
    for (job, error) in jobs.iter_mut().zip(errors) {
        job.answer(error);
    }
}

fn answer_all(jobs: &mut [Box<dyn Job>], error: &Error) {
    for job in jobs {
        job.answer(Some(error.clone()));
    }
}

fn kill_at(jobs: &[Box<dyn Job>], point: impl Fn(Faults) -> &'static str) {
    let points: BTreeSet<&str> = jobs.iter().filter_map(|job| job.kind().faults()).map(point).collect();
    points.into_iter().for_each(fault::kill_at);
}
