//! The transaction of a group, with which its jobs work.

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
    /// The present time, see [`Self::now`].
    pub(super) time: Now,
    /// When the transaction had begun, by the monotonic clock of this process; a little before [`Self::now`].
    pub began: Instant,
    /// Whether the job is the first one that is run by itself in the transaction.
    pub is_first: bool,
    /// Whether it is the last one, because others wait for a lock that it has alone.
    pub is_last: bool,
    /// Whether the job may wait for a user that another transaction has locked. One that may not is set aside after the
    /// error.
    pub may_wait: bool,
    /// The apps whose lock the transaction shares; see `settings::app_lock`.
    pub shared_apps: BTreeSet<AppId>,
    /// The destinations whose lock the transaction shares; see `delivery::destination_lock`.
    pub shared_destinations: BTreeSet<DestinationId>,
    /// The name of who makes the change that is carried out, if it is one of a person, a key or a script.
    pub actor: Option<String>,
    /// The epoch, once it was read in the transaction.
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
    /// Makes the job the only one of its transaction on PostgreSQL, because others wait for a lock that it takes.
    ///
    /// # Errors
    /// Other jobs came before it, so it is run in the next transaction.
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
    /// Returns the present time by the clock that stamps rows, as of the beginning of the transaction: the same one for
    /// all its jobs. It comes with the first statement whose result is needed, so a job calls this after that one.
    pub fn now(&mut self) -> Result<Timestamp, Error> {
        let now = self.time.clone().fetch(self.connection)?;
        self.time = Now::Known(now);
        Ok(now)
    }

    /// Returns the present time as a value of a statement, which costs no round trip: the database puts it in while it
    /// was not fetched.
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

    /// Reads the epoch with the next statement whose result is needed; `None` if it is known. [`Self::remember_epoch`]
    /// fetches it.
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

    /// Takes what an earlier settling of the transaction left with [`Self::share`], else a new value. Any other job of
    /// the transaction may change what it was read from, so nothing is left after one.
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

    /// Forgets what a job left that is rolled back.
    pub(super) fn forget(&mut self) {
        self.last.clear();
        self.raised.clear();
        self.forget_shared();
    }

    /// Runs a statement at the end of the transaction, unless the job fails. For a row that jobs of many purchases
    /// write: it is locked for a short time, and all processes lock such rows in the order of these texts.
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

    /// Executes the statements of the end; returns the kinds of the alarms that are raised.
    pub(super) fn finish(mut self) -> Result<Vec<String>, Error> {
        self.last.sort_by(|one, other| one.order.cmp(&other.order));
        self.last
            .into_iter()
            .try_for_each(|last| last.statement.later(self.connection))?;
        Ok(self.raised)
    }
}
