//! The handle to a database. Each room adds its methods to [`Store`].
//!
//! A person's change and its audit entry are one transaction: every such change goes through [`Store::change`], which
//! writes both.

use db::audit_log::{Actor, AuditEntry};
use db::claim_backlogs::ClaimBacklogs;
use db::config::{Config, Installation};
use db::connection::AnyConnection;
use db::counts::Counts;
use db::disk::{Disk, Space};
use db::error::Error;
use db::low_mark::LowMarks;
use db::secrets::random_uuid;
use db::sql::{Sql, insert, statement};
use db::startup::{self, OpenDatabase};
use db::statement::sql;
use db::writer::{JobKind, Write};
use domain::{AppId, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A function that returns the settings of a destination of this kind as people see them: without secrets.
pub type ShownSettings = fn(&str, &Value) -> Value;

/// The database of one installation. Clones share it.
#[derive(Clone)]
pub struct Store {
    pub(crate) database: OpenDatabase,
    /// Author of this handle's changes.
    pub(crate) actor: Arc<Actor>,
    /// Counts that this process has not written yet.
    pub(crate) counts: Arc<Counts>,
    /// Recent counts of each platform's pending claims.
    pub(crate) claims: Arc<ClaimBacklogs>,
    /// The positions from which this process reads queues.
    pub(crate) low_marks: Arc<LowMarks>,
    /// Chooses the settings of a destination that the audit log shows.
    pub(crate) shown: ShownSettings,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("installation", &self.database.installation)
            .finish_non_exhaustive()
    }
}

/// Size of a probe's write in bytes: larger than the acceptance of one message.
const FILLER_BYTES: usize = 64 * 1024;

/// Maximum number of rows of counts that one transaction adds to.
pub const MAX_COUNTS: usize = 500;

const REMOVE_PROBES: Sql = statement!("DELETE FROM probes");

/// An id that no row of `installation` has: the id of the only row is 1.
const NO_INSTALLATION: i64 = 0;

const TOUCH: Sql = statement!("UPDATE installation SET epoch = epoch WHERE id = ?");

/// Author of changes that the process makes by itself, without a key.
const PROCESS: &str = "settle";

impl Store {
    /// Opens the database and starts the writer. Migrates the tables of SQLite; those of PostgreSQL are migrated only
    /// by [`migrate`](startup::migrate).
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has this SQLite file open; [`Error::Corrupt`] when another build created
    /// the tables or the key is wrong.
    pub async fn open(config: Config) -> Result<Self, Error> {
        Ok(Self {
            database: startup::open(config).await?,
            actor: Arc::new(Actor::named(PROCESS)),
            counts: Arc::default(),
            claims: Arc::default(),
            low_marks: Arc::new(LowMarks::unused()),
            shown: |_, settings| settings.clone(),
        })
    }

    /// Returns the installation, which was created when the database was opened for the first time.
    pub const fn installation(&self) -> Installation {
        self.database.installation
    }

    /// Returns this handle, whose audit entries contain the settings of destinations as `shown` returns them. Without
    /// it they contain the stored settings.
    #[must_use]
    pub fn showing(self, shown: ShownSettings) -> Self {
        Self { shown, ..self }
    }

    /// Returns the number of progress calls (10,000 SQLite steps each) of reads so far, without those of ingress and
    /// devices.
    #[cfg(feature = "fail-points")]
    pub fn cost_of_reads(&self) -> u64 {
        self.database
            .readers
            .ticks
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Returns the name of the database system, a value of OpenTelemetry's `db.system.name`.
    pub const fn system(&self) -> &'static str {
        if self.database.readers.is_shared() {
            "postgresql"
        } else {
            "sqlite"
        }
    }

    /// Returns the epoch, a part of the ids of events.
    pub async fn epoch(&self) -> Result<i64, Error> {
        self.write(|write| write.epoch()).await
    }

    /// Raises the epoch after a backup was restored; returns the new one. From then on events get ids that were never
    /// used, not even before the backup was restored.
    pub async fn raise_epoch(&self) -> Result<i64, Error> {
        self.change("epoch.raise", |write| {
            let before = write.epoch()?;
            let epoch = write.raise_epoch()?;
            let entry = AuditEntry::on(None, "installation")
                .before(json!({ "epoch": before }))
                .after(json!({ "epoch": epoch }));
            Ok((epoch, Some(entry)))
        })
        .await
    }

    /// Returns the current time by the clock that stamps rows.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        let clock = self.database.clock;
        self.database
            .readers
            .read(move |connection| connection.now(clock))
            .await
    }

    /// Checks that notifications would be accepted now: takes the lock of a write, but writes nothing.
    pub async fn ping(&self) -> Result<(), Error> {
        let touch = |write: &mut Write<'_>| {
            sql(TOUCH)
                .bind(NO_INSTALLATION)
                .run(write.connection)
                .map(drop)
        };
        self.database.writer.write(JobKind::Check, touch).await
    }

    /// Returns what this process knows about the database's disk.
    pub fn disk(&self) -> &Disk {
        self.database.writer.disk()
    }

    /// Returns the free space on the database's disk; `None` if this process cannot see it.
    pub async fn free_space(&self) -> Option<Space> {
        let disk = self.database.writer.disk().clone();
        tokio::task::spawn_blocking(move || disk.space())
            .await
            .ok()
            .flatten()
    }

    /// Writes and removes a row, to find out whether the disk has room.
    pub async fn probe_disk(&self) -> Result<(), Error> {
        let id = random_uuid()?.to_string();
        let add = move |write: &mut Write<'_>| {
            sql(REMOVE_PROBES).run(write.connection)?;
            insert!(probes {
                id: id.as_str(),
                filler: "0".repeat(FILLER_BYTES)
            })
            .run(write.connection)
            .map(drop)
        };
        self.database.writer.write(JobKind::Probe, add).await?;
        self.write(|write| sql(REMOVE_PROBES).run(write.connection).map(drop))
            .await
    }

    /// Checks that this process has every key that other processes encrypt with.
    ///
    /// # Errors
    /// [`Error::MissingKeys`] with the ids of the missing keys.
    pub async fn check_keys(&self) -> Result<(), Error> {
        let secrets = self.database.secrets.clone();
        self.database
            .health_readers
            .read(move |connection| secrets.check(connection))
            .await
    }

    /// Runs `work` in the writer's next transaction. `work` may run more than once before it is committed.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.database.writer.write(JobKind::Other, work).await
    }

    /// Adds these rows to a table of counts, at most [`MAX_COUNTS`] per transaction, since other processes wait for the
    /// rows' locks. The rows must be in the order of their keys.
    ///
    /// # Errors
    /// The error, and the number of rows that were written before it.
    pub(crate) async fn add_counts<R>(
        &self,
        table: &'static str,
        rows: &[R],
        add: fn(&mut Write<'_>, &[R]) -> Result<(), Error>,
    ) -> Result<(), (Error, usize)>
    where
        R: Clone + Send + 'static,
    {
        let mut written = 0;
        for batch in rows.chunks(MAX_COUNTS) {
            let (length, batch) = (batch.len(), batch.to_vec());
            let added = self
                .database
                .writer
                .write(JobKind::Count(table), move |write| add(write, &batch))
                .await;
            added.map_err(|error| (error, written))?;
            written += length;
        }
        Ok(())
    }

    /// Runs `read` on a reading connection.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, Error> + Send + 'static,
    {
        self.database.readers.read(read).await
    }

    /// Runs `read` on a reading connection of ingress, for reads before a store's message is accepted.
    pub(crate) async fn read_for_ingress<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, Error> + Send + 'static,
    {
        self.database.ingress_readers.read(read).await
    }

    /// Runs `read` on a reading connection of devices, for reads that their requests need.
    pub(crate) async fn read_for_devices<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, Error> + Send + 'static,
    {
        self.database.device_readers.read(read).await
    }

    /// Returns this handle, which reads queues from low marks while reads from the beginning take at least `slow`, as
    /// they do on PostgreSQL while a transaction holds an old snapshot (`db/low_mark.rs`).
    #[must_use]
    pub fn with_low_marks(self, slow: Duration) -> Self {
        Self {
            low_marks: Arc::new(LowMarks::new(slow)),
            ..self
        }
    }

    /// Runs `read` on a reading connection, with the current time by the clock that stamps rows.
    pub(crate) async fn read_now<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection, Timestamp) -> Result<T, Error> + Send + 'static,
    {
        let clock = self.database.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            read(connection, now)
        })
        .await
    }

    /// Returns a handle to the database whose changes have audit entries with this actor.
    pub fn by(&self, actor: Actor) -> Self {
        Self {
            actor: Arc::new(actor),
            ..self.clone()
        }
    }

    /// Returns this handle, with the reason for its changes.
    pub fn because(&self, reason: Option<String>) -> Self {
        match reason {
            Some(_) => self.by(Actor {
                reason,
                ..(*self.actor).clone()
            }),
            None => self.clone(),
        }
    }

    /// Returns the author of this handle's changes.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Records an audit entry of an operation that changed no row, such as a signal to a workflow.
    pub async fn record_audit_entry(
        &self,
        operation: &'static str,
        app: Option<AppId>,
        subject: impl ToString + Send,
    ) -> Result<(), Error> {
        let entry = AuditEntry::on(app, subject.to_string());
        self.change(operation, move |_| Ok(((), Some(entry.clone()))))
            .await
    }

    /// Makes a person's change in the writer's next transaction, together with its audit entry. `work` may run more
    /// than once before the commit; it returns no audit entry if it changed nothing.
    pub(crate) async fn change<T, F>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<(T, Option<AuditEntry>), Error> + Send + 'static,
    {
        self.change_in(JobKind::Other, operation, work).await
    }

    /// Like [`Self::change`], in a job of this kind.
    pub(crate) async fn change_in<T, F>(
        &self,
        kind: JobKind,
        operation: &'static str,
        mut work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<(T, Option<AuditEntry>), Error> + Send + 'static,
    {
        let actor = self.actor.clone();
        let change = move |write: &mut Write<'_>| {
            write.actor = Some(actor.stored_name());
            let done = work(write);
            write.actor = None;
            let (answer, entry) = done?;
            if let Some(entry) = entry {
                entry.record(write, &actor, operation)?;
            }
            Ok(answer)
        };
        self.database.writer.write(kind, change).await
    }
}
