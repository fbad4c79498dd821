//! The handle to a database. Each room adds its methods to [`Store`].
//!
//! A change of a person and its audit entry are one transaction: [`Store::change`] is the only way of such a change,
//! and it writes both.

use db::audit_log::{Actor, AuditEntry};
use db::claim_backlogs::ClaimBacklogs;
use db::config::{Config, Installation};
use db::connection::AnyConnection;
use db::counts::Counts;
use db::disk::{Disk, Space};
use db::error::Error;
use db::low_mark::LowMarks;
use db::reader::Readers;
use db::secrets::{Secrets, random_uuid};
use db::sql::{Sql, insert, statement};
use db::startup::{self, OpenDatabase};
use db::statement::sql;
use db::writer::{JobKind, Write, Writer};
use domain::{AppId, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Returns the settings of a destination of this kind as people see them: without secrets.
pub type ShownSettings = fn(&str, &Value) -> Value;

/// The database of one installation. Clones share it.
#[derive(Clone)]
pub struct Store {
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) ingress_readers: Readers,
    /// Readers for requests of devices only.
    pub(crate) device_readers: Readers,
    /// For `/readyz` and the time of the last sweep.
    pub(crate) health_readers: Readers,
    pub(crate) secrets: Secrets,
    pub(crate) installation: Installation,
    pub(crate) clock: fn() -> Timestamp,
    /// Author of this handle's changes.
    pub(crate) actor: Arc<Actor>,
    /// Counts of this process that are not written yet.
    pub(crate) counts: Arc<Counts>,
    /// How many claims of devices wait.
    pub(crate) claims: Arc<ClaimBacklogs>,
    /// Where this process begins to read queues.
    pub(crate) low_marks: Arc<LowMarks>,
    /// The settings of destinations in the audit log.
    pub(crate) shown: ShownSettings,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}

/// Size of a probe's write: larger than the acceptance of one message.
const FILLER_BYTES: usize = 64 * 1024;

/// Maximum number of rows of counts that one transaction adds to.
pub const MAX_COUNTS: usize = 500;

const REMOVE_PROBES: Sql = statement!("DELETE FROM probes");

/// The id of no row of `installation`, whose only one has 1.
const NO_INSTALLATION: i64 = 0;

const TOUCH: Sql = statement!("UPDATE installation SET epoch = epoch WHERE id = ?");

/// Author of changes that the process makes by itself, without a key.
const PROCESS: &str = "settle";

impl Store {
    /// Opens the database and starts the writer. Brings the tables of SQLite up to date, and none of PostgreSQL, which
    /// [`migrate`](startup::migrate) does.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has this SQLite file; [`Error::Corrupt`] when the tables
    /// or the key do not fit.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let OpenDatabase {
            writer,
            readers,
            ingress_readers,
            device_readers,
            health_readers,
            secrets,
            installation,
            clock,
        } = startup::open(config).await?;
        Ok(Self {
            writer,
            readers,
            ingress_readers,
            device_readers,
            health_readers,
            secrets,
            installation,
            clock,
            actor: Arc::new(Actor::named(PROCESS)),
            counts: Arc::default(),
            claims: Arc::default(),
            low_marks: Arc::new(LowMarks::unused()),
            shown: |_, settings| settings.clone(),
        })
    }

    /// Returns the installation, which was created when the database was opened for the first time.
    pub const fn installation(&self) -> Installation {
        self.installation
    }

    /// This handle, whose audit entries have the settings of destinations as `shown` returns them; as stored otherwise.
    #[must_use]
    pub fn showing(self, shown: ShownSettings) -> Self {
        Self { shown, ..self }
    }

    /// Returns the number of progress calls (10,000 SQLite steps each) of reads so far, without those of ingress and
    /// devices.
    #[cfg(feature = "fail-points")]
    pub fn cost_of_reads(&self) -> u64 {
        self.readers
            .ticks
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Returns the name of the database system, as OpenTelemetry's `db.system.name` has it.
    pub const fn system(&self) -> &'static str {
        if self.readers.is_shared() {
            "postgresql"
        } else {
            "sqlite"
        }
    }

    /// Returns the epoch, a part of the ids of events.
    pub async fn epoch(&self) -> Result<i64, Error> {
        self.write(|write| write.epoch()).await
    }

    /// Raises the epoch, because a backup was restored; returns the new one. From then on events get ids that the
    /// database never used, also before the backup was restored.
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

    /// Returns the present time by the clock that stamps rows.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        let clock = self.clock;
        self.readers
            .read(move |connection| connection.now(clock))
            .await
    }

    /// Returns whether notifications would be accepted now. Takes the lock of a write, and writes nothing.
    pub async fn ping(&self) -> Result<(), Error> {
        let touch = |write: &mut Write<'_>| {
            sql(TOUCH)
                .bind(NO_INSTALLATION)
                .run(write.connection)
                .map(drop)
        };
        self.writer.write(JobKind::Check, touch).await
    }

    /// This process's knowledge of the database's disk.
    pub fn disk(&self) -> &Disk {
        self.writer.disk()
    }

    /// Returns the room on the disk of the database, where this process can see it.
    pub async fn free_space(&self) -> Option<Space> {
        let disk = self.writer.disk().clone();
        tokio::task::spawn_blocking(move || disk.space())
            .await
            .ok()
            .flatten()
    }

    /// Writes something and removes it, to find out whether the disk has room.
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
        self.writer.write(JobKind::Probe, add).await?;
        self.write(|write| sql(REMOVE_PROBES).run(write.connection).map(drop))
            .await
    }

    /// Checks that this process can read what others encrypt.
    ///
    /// # Errors
    /// [`Error::MissingKeys`] with the ids of the keys that it lacks.
    pub async fn check_keys(&self) -> Result<(), Error> {
        let secrets = self.secrets.clone();
        self.health_readers
            .read(move |connection| secrets.check(connection))
            .await
    }

    /// Runs `work` in the writer's next transaction. `work` may run more than once before it is committed.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.writer.write(JobKind::Other, work).await
    }

    /// Adds these rows to counts of a table, a few in each transaction, since other processes wait for their locks. The
    /// rows are in order of their keys.
    ///
    /// # Errors
    /// With it, the number of rows that were written before.
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
        self.readers.read(read).await
    }

    /// Runs `read` on a reading connection of ingress, for what is needed before a store's message is accepted.
    pub(crate) async fn read_for_ingress<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, Error> + Send + 'static,
    {
        self.ingress_readers.read(read).await
    }

    /// Runs `read` on a reading connection of devices, for what their requests need.
    pub(crate) async fn read_for_devices<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection) -> Result<T, Error> + Send + 'static,
    {
        self.device_readers.read(read).await
    }

    /// Reads queues from low marks while reads from their beginnings take this long: beside an old snapshot on
    /// PostgreSQL, see `db/low_mark.rs`.
    #[must_use]
    pub fn with_low_marks(self, slow: Duration) -> Self {
        Self {
            low_marks: Arc::new(LowMarks::new(slow)),
            ..self
        }
    }

    /// Runs `read` on a reading connection, with the time by the clock that stamps rows.
    pub(crate) async fn read_now<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConnection, Timestamp) -> Result<T, Error> + Send + 'static,
    {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            read(connection, now)
        })
        .await
    }

    /// Returns a handle to the database whose changes leave audit entries of this actor.
    pub fn by(&self, actor: Actor) -> Self {
        Self {
            actor: Arc::new(actor),
            ..self.clone()
        }
    }

    /// This handle, with the reason of its changes.
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

    /// Records an audit entry of what changed no row here, such as a signal to a workflow.
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

    /// Makes a change of a person in the writer's next transaction, together with its audit entry. `work` may run
    /// more than once before it is committed. Without an audit entry it changed nothing.
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
        self.writer.write(kind, change).await
    }
}
