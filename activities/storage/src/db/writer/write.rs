//! The transaction of a group, as its jobs use it.

use crate::alarm::NewAlarm;
use crate::clock::Now;
use crate::connection::AnyConnection;
use crate::epoch::{self, EpochAhead};
use crate::error::Error;
use crate::statement::{Statement, Value};
use crate::writer::failures::NextTransaction;
use domain::{AppId, DestinationId, Timestamp};
use std::any::Any;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// The context of a job: the transaction's connection, and the time of its group.
pub struct Write<'c> {
    pub connection: &'c mut AnyConnection,
    /// The current time, see [`Self::now`].
    pub(super) time: Now,
    /// When the transaction began, by this process's monotonic clock; a little before [`Self::now`].
    pub began: Instant,
    /// Whether the job is the first one that is run by itself in the transaction.
    pub is_first: bool,
    /// Whether the job is the last one, because other transactions wait for a lock that it holds exclusively.
    pub is_last: bool,
    /// Whether the job may wait for a user that another transaction has locked. A job that may not wait gets an error
    /// and is set aside.
    pub may_wait: bool,
    /// The apps whose lock the transaction shares; see `settings::app_lock`.
    pub shared_apps: BTreeSet<AppId>,
    /// The destinations whose lock the transaction shares; see `delivery::destination_lock`.
    pub shared_destinations: BTreeSet<DestinationId>,
    /// The name of the person, key or script that makes the current change, if one does.
    pub actor: Option<String>,
    /// The epoch, once the transaction has read it.
    pub(super) epoch: Option<i64>,
    pub(super) last: Vec<Last>,
    /// The kinds of the alarms that the transaction raises, counted once it is committed.
    raised: Vec<String>,
    /// Data that settlings of the transaction share, see [`Self::take_shared`].
    shared: Option<Box<dyn Any>>,
}

/// A statement that is run at the end of a transaction.
pub(super) struct Last {
    order: String,
    statement: Statement<'static>,
}

impl<'c> Write<'c> {
    /// Makes the job the only one of its transaction on PostgreSQL, because other transactions wait for a lock that it
    /// takes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when other jobs ran before it in the transaction; it is then run in the next one.
    pub fn run_alone(&mut self) -> Result<(), Error> {
        if self.connection.is_shared() {
            if !self.is_first {
                return Err(Error::unavailable(NextTransaction));
            }
            self.is_last = true;
        }
        Ok(())
    }

    /// Returns the context of a transaction that has begun.
    pub(super) fn begun(connection: &'c mut AnyConnection, time: Now, began: Instant) -> Self {
        Self {
            connection,
            time,
            began,
            is_first: true,
            is_last: false,
            may_wait: true,
            shared_apps: BTreeSet::new(),
            shared_destinations: BTreeSet::new(),
            actor: None,
            epoch: None,
            last: Vec::new(),
            raised: Vec::new(),
            shared: None,
        }
    }
}

impl Write<'_> {
    /// Returns the current time by the clock that stamps rows, as of the beginning of the transaction, so that it is
    /// the same for all jobs. It is fetched with the first statement whose result is needed, so a job should call this
    /// after that statement.
    pub fn now(&mut self) -> Result<Timestamp, Error> {
        let now = self.time.clone().fetch(self.connection)?;
        self.time = Now::Known(now);
        Ok(now)
    }

    /// Returns the current time as a value of a statement. It costs no round trip: until the time is fetched, the
    /// database inserts it.
    pub fn now_value(&self) -> Value<'static> {
        match self.time {
            Now::Known(now) => now.into(),
            Now::Running(_) => Value::Now,
        }
    }

    /// Returns the epoch of the database as of this transaction, in which it is read once. If the database was restored
    /// or failed over, the transaction fails; the writer raises the epoch and runs its jobs again.
    pub fn epoch(&mut self) -> Result<i64, Error> {
        if let Some(epoch) = self.epoch {
            return Ok(epoch);
        }
        let epoch = epoch::read(self.connection)?;
        self.epoch = Some(epoch);
        Ok(epoch)
    }

    /// Reads the epoch with the next statement whose result is needed; `None` if it is known already.
    /// [`Self::remember_epoch`] fetches it.
    pub fn epoch_ahead(&mut self) -> Result<Option<EpochAhead>, Error> {
        if self.epoch.is_some() {
            Ok(None)
        } else {
            epoch::read_ahead(self.connection).map(Some)
        }
    }

    /// Remembers the epoch that was read ahead.
    pub fn remember_epoch(&mut self, ahead: EpochAhead) -> Result<(), Error> {
        self.epoch = Some(ahead.fetch(self.connection)?);
        Ok(())
    }

    /// Raises the epoch; returns the new one.
    pub fn raise_epoch(&mut self) -> Result<i64, Error> {
        self.epoch = None;
        let now = self.now()?;
        epoch::raise(self.connection, now)
    }

    /// Takes the value that an earlier settling of the transaction left with [`Self::share`], or else a default one.
    /// Any other job may change the rows from which the value was read, so the value is discarded before such a job.
    pub fn take_shared<T: Default + 'static>(&mut self) -> T {
        let shared = self
            .shared
            .take()
            .and_then(|shared| shared.downcast::<T>().ok());
        shared.map_or_else(T::default, |shared| *shared)
    }

    /// Leaves a value for the next settlings of the transaction.
    pub fn share<T: 'static>(&mut self, value: T) {
        self.shared = Some(Box::new(value));
    }

    /// Discards the data that settlings share.
    pub fn forget_shared(&mut self) {
        self.shared = None;
    }

    /// Discards everything that a rolled back job left here.
    pub(super) fn forget(&mut self) {
        self.last.clear();
        self.raised.clear();
        self.forget_shared();
    }

    /// Runs a statement at the end of the transaction, unless the job fails. For a row that jobs of many purchases
    /// write: so it is locked only briefly, and all processes lock such rows in the order of the texts `order`.
    pub fn run_last(&mut self, order: String, statement: Statement<'static>) {
        self.last.push(Last { order, statement });
    }

    /// Raises an alarm at the end of the transaction, and counts it once that is committed.
    pub fn raise(&mut self, alarm: NewAlarm<'_>) -> Result<(), Error> {
        let statement = alarm.statement(self.now()?);
        self.run_last(alarm.order(), statement);
        self.raised.push(alarm.kind.to_owned());
        Ok(())
    }

    /// Runs the statements for the end of the transaction; returns the kinds of the raised alarms.
    pub(super) fn finish(mut self) -> Result<Vec<String>, Error> {
        self.last.sort_by(|one, other| one.order.cmp(&other.order));
        self.last
            .into_iter()
            .try_for_each(|last| last.statement.later(self.connection))?;
        Ok(self.raised)
    }
}
