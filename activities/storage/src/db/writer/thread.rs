//! A thread of the writer: takes jobs in groups, and runs a group in transactions.

use super::aside::Aside;
use super::failures::catch;
use super::group::{find_owners, is_aside, is_settling, lock_owners, refuse, sort};
use super::job::Job;
use super::park::block_until;
use super::purpose::{Faults, Purpose};
use super::write::Write;
use crate::alarm;
use crate::checkpoint::Checkpoints;
use crate::config::Database;
use crate::connection::AnyConnection;
use crate::disk::{self, Disk};
use crate::epoch;
use crate::error::{Error, chain};
use crate::fault;
use crate::refusal::Refusal;
use crate::waits::WaitNote;
use diesel::QueryResult;
use domain::Timestamp;
use std::any::{Any, TypeId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub type Queue = mpsc::Receiver<Box<dyn Job>>;

/// Maximum number of jobs in a group.
pub const MAX_GROUP_JOBS: usize = 1024;
/// Maximum number of tries of a job that is run alone.
const MAX_TRIES: usize = 4;
/// Maximum number of consecutive transactions of a group that are rolled back; then the rest of the group gets the
/// error. It suffices to find one failing job among [`MAX_GROUP_JOBS`].
pub const MAX_UNDONE: usize = 16;

/// A job that was refused a lock within this time did not wait for it, because it locks its user without waiting.
const SOON: Duration = Duration::from_secs(1);

/// The limits of one transaction of a thread.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A group with this many items takes no further job. One statement may write all of them, and no time limit
    /// interrupts it.
    pub items: usize,
    /// After this time a transaction starts no further job; the rest of its group is run in the next one.
    pub time: Duration,
}

/// Bounds of a thread with only one purpose.
pub const OWN: Bounds = Bounds {
    items: 4096,
    time: Duration::from_millis(250),
};
/// Bounds on SQLite, where acceptances wait for each transaction.
pub const SHARED: Bounds = Bounds {
    items: 64,
    time: Duration::from_millis(10),
};

/// A thread, with its connection and the limits of its transactions.
pub struct Thread {
    pub database: Database,
    pub purpose: Purpose,
    pub connection: Option<AnyConnection>,
    pub clock: fn() -> Timestamp,
    pub checkpoints: Option<Checkpoints>,
    /// Acceptances, which run before all other jobs on SQLite; empty elsewhere.
    pub acceptances: Queue,
    pub bounds: Bounds,
    pub disk: Arc<Disk>,
    /// Whether a test has limited the size of the database.
    pub is_limited: bool,
    /// The note of what the thread waits for.
    pub place: Arc<WaitNote>,
    /// The jobs that are left to a later group.
    pub aside: Aside,
}

/// Next step of a writer thread.
enum Woken {
    Acceptance(Box<dyn Job>),
    Other(Box<dyn Job>),
    /// Jobs that were set aside are due.
    Due,
}

/// The result of a transaction, for all its jobs.
enum TransactionResult {
    /// The first jobs, at least one, are committed; each job's own error is in the list.
    Committed(Vec<Option<Error>>),
    Undone(Undone),
    Unreachable(Error),
    /// The commit itself failed: its result is unknown, so nothing is run again.
    Unknown(Error),
}

/// An error that rolled back a transaction: a transient one, or that of one job among several.
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
    /// Runs jobs until all their senders are dropped and none is set aside.
    pub fn work(mut self, mut jobs: Queue) {
        let _entered = self.place.enter();
        while let Some(next) = self.next(&mut jobs) {
            let first = match next {
                Woken::Acceptance(first) => {
                    self.accept(first);
                    // Other waiting jobs get their turn after each group of acceptances, however fast the next one
                    // arrives.
                    jobs.try_recv().ok()
                }
                Woken::Other(first) => Some(first),
                Woken::Due => None,
            };
            let mut group = self.aside.take_due(Instant::now());
            if let Some(first) = first {
                gather(&mut group, first, &mut jobs, self.bounds.items);
            }
            if !group.is_empty() {
                self.place.take();
                self.try_write_group(&mut group);
                self.aside.put(group, Instant::now());
            }
        }
    }

    /// Waits for the next job, acceptances first, or until a job that was set aside is due.
    fn next(&mut self, jobs: &mut Queue) -> Option<Woken> {
        let due = self.aside.due();
        let next = block_until(due, async {
            tokio::select! {
                biased;
                Some(acceptance) = self.acceptances.recv() => Some(Woken::Acceptance(acceptance)),
                job = jobs.recv() => job.map(Woken::Other),
            }
        });
        match (next, due) {
            (Some(Some(next)), _) => Some(next),
            (None, _) => Some(Woken::Due),
            (Some(None), due) => due.map(|due| {
                block_until(Some(due), std::future::pending::<()>());
                Woken::Due
            }),
        }
    }

    /// Runs a group of acceptances.
    fn accept(&mut self, first: Box<dyn Job>) {
        self.place.take();
        let mut group = Vec::new();
        gather(&mut group, first, &mut self.acceptances, OWN.items);
        self.try_write_group(&mut group);
    }

    fn try_write_group(&mut self, group: &mut [Box<dyn Job>]) {
        if let Err(panicked) = catch(|| self.write_group(group)) {
            self.connection = None;
            answer_all(group, &panicked);
        }
    }

    fn write_group(&mut self, group: &mut [Box<dyn Job>]) {
        if let Err(error) = find_owners(group, self.connection.as_mut(), &self.aside) {
            tracing::debug!(
                error = chain(&error),
                "a group of jobs is in no order: a deadlock rolls it back"
            );
        }
        // An SQLite file has no other writers, so no job is set aside.
        if matches!(self.database, Database::Postgres(_)) {
            self.aside.limit(group);
        }
        sort(group);
        let taken = group.partition_point(|job| !is_aside(job.as_ref()));
        self.commit_group(&mut group[..taken]);
        if let (Some(checkpoints), Some(connection)) = (&self.checkpoints, &mut self.connection) {
            checkpoints.finish(connection);
        }
    }

    /// Runs a group in as many transactions as it needs, and answers all its jobs. After a transaction was rolled back,
    /// the next one has the jobs before the failed one, or half of the jobs if the failed one is unknown; later ones
    /// have more again. A job that fails alone because of a lock is not retried here if its caller retries it: another
    /// session that holds a lock for minutes must not stop the thread. A job whose user is locked is not answered: the
    /// others continue without it. Waiting acceptances run before each transaction.
    pub fn commit_group(&mut self, mut group: &mut [Box<dyn Job>]) {
        let (mut length, mut undone, mut tries) = (group.len(), 0, 0);
        while let Some(first) = group.first() {
            if !first.kind().is_acceptance()
                && let Ok(acceptance) = self.acceptances.try_recv()
            {
                self.accept(acceptance);
            }
            length = length.clamp(1, group.len());
            let began = Instant::now();
            let (done, errors) = match self.transact(&mut group[..length]) {
                TransactionResult::Committed(errors) => {
                    undone = 0;
                    if adds_rows(group, &errors) {
                        self.disk.note_written();
                    }
                    (errors.len(), errors)
                }
                TransactionResult::Unreachable(error) | TransactionResult::Unknown(error) => {
                    self.disk.note_failure(&error);
                    return answer_all(group, &error);
                }
                TransactionResult::Undone(Undone {
                    index: Some(index),
                    error,
                }) if error.is_of_lock() && began.elapsed() < SOON && refuse(group, index) => {
                    let rest = group.partition_point(|job| !is_aside(job.as_ref()));
                    group = &mut group[..rest];
                    continue;
                }
                TransactionResult::Undone(Undone { index, error }) => {
                    undone += 1;
                    tries += usize::from(length == 1);
                    if self.disk.note_failure(&error) || undone >= MAX_UNDONE {
                        return answer_all(group, &error);
                    }
                    let waits_in_vain = error.is_of_lock() && self.purpose.is_tried_again();
                    let is_in_vain = length == 1
                        && (waits_in_vain || (error.is_permanent() && !may_pass(&error)));
                    if !is_in_vain && tries < MAX_TRIES {
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

    /// Runs jobs in one transaction, until its time is over or an acceptance waits.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> TransactionResult {
        let (clock, time) = (self.clock, self.bounds.time);
        let is_acceptance = jobs
            .first()
            .is_some_and(|first| first.kind().is_acceptance());
        let connection = match connect(&mut self.connection, &self.database, self.purpose) {
            Ok(connection) => connection,
            Err(error) => return TransactionResult::Unreachable(error),
        };
        let acceptances = &self.acceptances;
        let is_over =
            |began: Instant| began.elapsed() > time || !(is_acceptance || acceptances.is_empty());
        if let Err(error) = disk::limit(connection, &self.database, &mut self.is_limited) {
            return TransactionResult::Unreachable(error);
        }
        let Ran { errors, raised } = match catch(|| run(connection, jobs, clock, is_over)) {
            Ok(Ok(ran)) => ran,
            Err(panicked) => {
                self.connection = None;
                return TransactionResult::Undone(panicked.into());
            }
            Ok(Err(failed)) => {
                let is_usable = connection.abandon().is_ok();
                // If the epoch cannot be raised now, the next try of the job raises it.
                if !is_usable
                    || (epoch::is_other_lineage(&failed.error)
                        && epoch::renew(connection, clock).is_err())
                {
                    self.connection = None;
                }
                return TransactionResult::Undone(failed);
            }
        };
        let jobs = &mut jobs[..errors.len()];
        let is_early = |job: &&mut Box<dyn Job>| {
            let planted = job
                .kind()
                .faults()
                .and_then(|faults| faults.early_answer)
                .is_some_and(fault::is_planted);
            planted && !is_aside(job.as_ref())
        };
        jobs.iter_mut()
            .filter(is_early)
            .for_each(|job| job.answer(None));
        kill_at(jobs, |faults| faults.before_commit);
        let committed = connection.commit();
        kill_at(jobs, |faults| faults.after_commit);
        match committed {
            Ok(()) => {
                raised.iter().for_each(|kind| alarm::count(kind));
                TransactionResult::Committed(errors)
            }
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

/// Adds a job to a group, and as many waiting jobs as the group may have.
fn gather(group: &mut Vec<Box<dyn Job>>, first: Box<dyn Job>, queue: &mut Queue, max_items: usize) {
    let mut items = first.items();
    group.push(first);
    while group.len() < MAX_GROUP_JOBS && items < max_items {
        let Ok(job) = queue.try_recv() else { break };
        items += job.items();
        group.push(job);
    }
}

/// Returns the open connection if it is usable, else a new one.
fn connect<'c>(
    open: &'c mut Option<AnyConnection>,
    database: &Database,
    purpose: Purpose,
) -> Result<&'c mut AnyConnection, Error> {
    let usable = open
        .take()
        .and_then(|mut connection| (!connection.is_lost()).then_some(connection));
    let connection = match usable {
        Some(connection) => connection,
        None => {
            let connection = AnyConnection::to(database).map_err(Error::unavailable)?;
            prepared(connection, purpose).map_err(Error::unavailable)?
        }
    };
    Ok(open.insert(connection))
}

/// Prepares a connection for jobs of this purpose.
pub fn prepared(mut connection: AnyConnection, purpose: Purpose) -> QueryResult<AnyConnection> {
    connection.prepare_to_write()?;
    if purpose.is_by_key() {
        connection.plan_for_any_values()?;
    }
    Ok(connection)
}

/// The effect of a transaction before its commit.
struct Ran {
    /// The results of the jobs that were run, which are the first of the group.
    errors: Vec<Option<Error>>,
    /// The kinds of the alarms that the transaction raises.
    raised: Vec<String>,
}

/// Begins a transaction and runs jobs in it: those with items together, then the others until `is_over`. A job that
/// fails among others undoes the transaction, because savepoints would cost two statements and a subtransaction per
/// job.
fn run(
    connection: &mut AnyConnection,
    jobs: &mut [Box<dyn Job>],
    clock: fn() -> Timestamp,
    is_over: impl Fn(Instant) -> bool,
) -> Result<Ran, Undone> {
    connection.begin().map_err(Error::of_query)?;
    let began = Instant::now();
    let time = connection.now_ahead(clock)?;
    let mut write = Write::begun(connection, time, began);
    let batch = jobs.iter().find_map(|job| batch(job.as_ref()));
    let is_in_batch = |job: &dyn Job| batch.is_some() && self::batch(job) == batch;
    let is_together = write_together(&mut write, jobs, is_in_batch)?;
    lock_owners(&mut write, jobs)?;
    let mut errors = Vec::with_capacity(jobs.len());
    let alone = jobs.len() == 1;
    for (index, job) in jobs.iter_mut().enumerate() {
        if (is_together && is_in_batch(job.as_ref())) || is_aside(job.as_ref()) {
            errors.push(None);
            continue;
        }
        if !errors.is_empty() && (write.is_last || is_over(began)) {
            break;
        }
        if !is_settling(job.as_ref()) {
            write.forget_shared();
        }
        write.may_wait = job.order().is_none();
        match job.run(&mut write, &mut []) {
            Ok(()) => errors.push(None),
            // The job's own error: its writes are rolled back, and the transaction contains nothing else.
            Err(error) if alone && !may_pass(&error) => {
                write.forget();
                write.connection.roll_back().map_err(Error::of_query)?;
                write.connection.begin().map_err(Error::of_query)?;
                errors.push(Some(error));
            }
            Err(error) => {
                return Err(Undone {
                    index: Some(index),
                    error,
                });
            }
        }
        write.is_first = false;
    }
    let raised = write.finish()?;
    Ok(Ran { errors, raised })
}

/// Returns whether one of these jobs added rows; `errors` are their results.
fn adds_rows(jobs: &[Box<dyn Job>], errors: &[Option<Error>]) -> bool {
    let adds = |job: &dyn Job| job.kind().adds_rows() && !is_aside(job);
    jobs.iter()
        .zip(errors)
        .any(|(job, error)| error.is_none() && adds(job.as_ref()))
}

/// Returns the type of a job that has items; `None` for a job that is run by itself.
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
    let mut jobs: Vec<&mut dyn Job> = jobs
        .iter_mut()
        .map(AsMut::as_mut)
        .filter(|job| is_in_batch(&**job))
        .collect();
    let Some((first, others)) = jobs
        .split_first_mut()
        .filter(|(_, others)| !others.is_empty())
    else {
        return Ok(false);
    };
    write.connection.begin().map_err(Error::of_query)?;
    match first.run(write, others) {
        Ok(()) => write
            .connection
            .commit()
            .map_err(Error::of_query)
            .map(|()| true),
        Err(error) if may_pass(&error) => Err(error),
        Err(_) => {
            write.forget();
            write
                .connection
                .roll_back()
                .map_err(Error::of_query)
                .map(|()| false)
        }
    }
}

/// Returns whether the same job may succeed in another transaction, or in another session, which may have other rights.
const fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable(_)
            | Error::Raced(_)
            | Error::Refused {
                refusal: Refusal::Rights,
                ..
            }
    )
}

fn answer(jobs: &mut [Box<dyn Job>], errors: Vec<Option<Error>>) {
    for (job, error) in jobs
        .iter_mut()
        .zip(errors)
        .filter(|(job, _)| !is_aside(job.as_ref()))
    {
        job.answer(error);
    }
}

fn answer_all(jobs: &mut [Box<dyn Job>], error: &Error) {
    for job in jobs {
        job.answer(Some(error.clone()));
    }
}

fn kill_at(jobs: &[Box<dyn Job>], point: impl Fn(Faults) -> &'static str) {
    let points: BTreeSet<&str> = jobs
        .iter()
        .filter_map(|job| job.kind().faults())
        .map(point)
        .collect();
    points.into_iter().for_each(fault::kill_at);
}
