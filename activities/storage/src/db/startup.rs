//! Opening a database: lock, tables, installation, writer and readers.

use crate::config::{Config, Database, Installation};
use crate::connection::AnyConnection;
use crate::epoch;
use crate::error::Error;
use crate::keys;
use crate::preconditions;
use crate::reader::{DEVICES, GENERAL, HEALTH, INGRESS, Readers};
use crate::schema::{self, Planned, Progress};
use crate::secrets::{SecretPlace, Secrets, random_names, random_uuid};
use crate::sql::{Sql, insert, statement};
use crate::statement::{row, sql};
use crate::waits::{Step, Waits};
use crate::watch;
use crate::writer::Writer;
use diesel::ConnectionError;
use domain::ids::FIRST_EPOCH;
use domain::{OrgId, Timestamp};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The permissions of a new file.
const OWNER_ONLY: u32 = 0o600;

row! {
    struct InstallationRow {
        org_id: OrgId,
        names_key: String,
    }
}

/// An open database: its writer, its readers by their purposes, and its installation. Clones share it.
#[derive(Clone)]
pub struct OpenDatabase {
    pub writer: Writer,
    pub readers: Readers,
    pub ingress_readers: Readers,
    /// Readers for requests of devices only.
    pub device_readers: Readers,
    /// For `/readyz` and the time of the last sweep.
    pub health_readers: Readers,
    pub secrets: Secrets,
    pub installation: Installation,
    pub clock: fn() -> Timestamp,
}

/// Opens the database and starts the writer. Migrates the tables of SQLite; those of PostgreSQL are migrated only by
/// [`migrate`].
///
/// # Errors
/// [`Error::Locked`] when another process has this SQLite file open; [`Error::Corrupt`] when another build created the
/// tables or the key is wrong.
pub async fn open(config: Config) -> Result<OpenDatabase, Error> {
    tokio::task::spawn_blocking(move || opened(&config))
        .await
        .map_err(Error::unavailable)?
}

/// Opens the database of `config`; blocking.
fn opened(config: &Config) -> Result<OpenDatabase, Error> {
    let lock = match &config.database {
        Database::Sqlite(path) => Some(lock(path)?),
        Database::Postgres(_) => None,
    };
    let secrets = Secrets::new(&config.key);
    let waits = Waits::default();
    watch::start(&config.database, &waits)?;
    let start = waits.call("start", Step::Code);
    let _entered = start.enter();
    let mut connection = connect(&config.database)?;
    let clock = config.clock;
    if connection.is_shared() {
        schema::check(&mut connection)?;
    } else {
        schema::migrate(&mut connection, &mut |progress| {
            tracing::info!("{progress}")
        })?;
    }
    let (installation, secrets) =
        connection.alone(|connection| installation(connection, &secrets, clock))?;
    let lock = lock.map(Arc::new);
    let readers = |pool| Readers::new(config.database.clone(), lock.clone(), pool, waits.clone());
    let (health_readers, ingress_readers, device_readers) =
        (readers(HEALTH), readers(INGRESS), readers(DEVICES));
    let readers = readers(GENERAL);
    let writer = Writer::start(&config.database, connection, clock, &waits)?;
    Ok(OpenDatabase {
        writer,
        readers,
        ingress_readers,
        device_readers,
        health_readers,
        secrets,
        installation,
        clock,
    })
}

/// Applies the missing migrations, and calls `report` with the progress. Of several processes one migrates, and the
/// others wait.
///
/// # Errors
/// As [`open`]; [`Error::Unavailable`] also when other sessions hold locks for too long. Applied migrations remain
/// applied, and another call continues.
pub async fn migrate(
    database: Database,
    mut report: impl FnMut(&Progress) + Send + 'static,
) -> Result<(), Error> {
    let migrating = move || {
        let _lock = match &database {
            Database::Sqlite(path) => Some(lock(path)?),
            Database::Postgres(_) => None,
        };
        schema::migrate(&mut connect(&database)?, &mut report)
    };
    tokio::task::spawn_blocking(migrating)
        .await
        .map_err(Error::unavailable)?
}

/// Returns the steps that [`migrate`] would apply. Changes nothing; an SQLite file must exist, and may be in use.
///
/// # Errors
/// As [`migrate`].
pub async fn planned(database: Database) -> Result<Vec<Planned>, Error> {
    let planning = move || schema::planned(&mut connect(&database)?);
    tokio::task::spawn_blocking(planning)
        .await
        .map_err(Error::unavailable)?
}

/// Creates the tables in an empty database, without an installation, so that it can be copied any number of times;
/// blocking.
///
/// # Errors
/// As [`open`].
pub fn create_tables(database: &Database) -> Result<(), Error> {
    schema::migrate(&mut connect(database)?, &mut |_| {})
}

/// Connects to the database. An SQLite file that cannot be opened, a URL that no server accepts and a server that
/// settle cannot work with are [`Error::Corrupt`], which the operator must resolve; a server that does not answer is
/// [`Error::Unavailable`].
fn connect(database: &Database) -> Result<AnyConnection, Error> {
    if let Database::Sqlite(path) = database {
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            let what = "is not a regular file: name a file, or one that does not exist yet";
            return Err(Error::corrupt(format!("{} {what}", path.display())));
        }
        // Only its owner may read the file; SQLite gives the files beside it the same permissions. Any other reason why
        // it cannot be opened is reported by the connection.
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(OWNER_ONLY)
            .open(path);
        if let Err(cause) = opened.map(drop)
            && cause.kind() == ErrorKind::PermissionDenied
        {
            let what = format!(
                "{} cannot be written: it must belong to the user that runs settle",
                path.display()
            );
            return Err(Error::corrupt_by(what, cause));
        }
    }
    let mut connection = AnyConnection::to(database).map_err(|cause| match (database, &cause) {
        (Database::Sqlite(path), _) => {
            Error::corrupt_by(format!("{} cannot be opened", path.display()), cause)
        }
        (Database::Postgres(_), ConnectionError::InvalidConnectionUrl(_)) => {
            Error::corrupt_by("its URL cannot be used", cause)
        }
        (Database::Postgres(_), _) => Error::unavailable(cause),
    })?;
    preconditions::check(database, &mut connection, &schema::tables()?)?;
    Ok(connection)
}

/// Takes the lock file beside the database. The lock is held as long as the returned file is open.
fn lock(database: &Path) -> Result<File, Error> {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let cannot = |cause| {
        Error::corrupt_by(
            format!("its lock {} cannot be taken", path.display()),
            cause,
        )
    };
    let mut options = OpenOptions::new();
    // Opening a pipe must not wait for its reader.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options
        .write(true)
        .mode(OWNER_ONLY)
        .custom_flags(flags.bits().cast_signed());
    let file = match options.clone().create_new(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(&path),
        opened => opened,
    }
    .map_err(cannot)?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(cannot(std::io::Error::other("it is not a regular file")));
    }
    // SQLite gives its own files to the owner of the database when root runs it; other users may not give files away.
    // An existing lock file may be left over from a killed command of root. The check of its links excludes a link by
    // that owner to a file of root.
    if let (Ok(owner), Ok(found)) = (database.metadata(), file.metadata())
        && found.is_file()
        && found.nlink() == 1
    {
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(database.to_owned())),
        Err(TryLockError::Error(cause)) => Err(cannot(cause)),
    }
}

const READ: Sql = statement!("SELECT org_id, names_key FROM installation WHERE id = 1");

/// The place of the encrypted key of tombstones.
pub const NAMES_KEY: SecretPlace<'static> = ("installation.names_key", "1");

fn installation(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    clock: fn() -> Timestamp,
) -> Result<(Installation, Secrets), Error> {
    let lineage = epoch::lineage(connection)?;
    let now = connection.now(clock)?;
    let row = match sql(READ).first(connection)? {
        Some(row) => row,
        None => {
            connection.in_transaction(|connection| create(connection, secrets, lineage, now))?
        }
    };
    keys::check(connection, &secrets.key_ids())?;
    let names = secrets.open(NAMES_KEY.0, NAMES_KEY.1, &row.names_key)?;
    epoch::renew(connection, clock)?;
    Ok((
        Installation { org_id: row.org_id },
        secrets.clone().with_names(&names),
    ))
}

/// Creates the installation, and registers the key that encrypts its key of tombstones.
fn create(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    lineage: Option<String>,
    now: Timestamp,
) -> Result<InstallationRow, Error> {
    keys::hold(connection, secrets.newest_id(), now)?;
    insert!(installation {
        id: 1_i64,
        org_id: OrgId::new(random_uuid()?),
        epoch: FIRST_EPOCH,
        lineage,
        names_key: secrets.encrypt(NAMES_KEY, &random_names()?)?,
        created_at: now,
    })
    .run(connection)?;
    sql(READ)
        .first(connection)?
        .ok_or_else(|| Error::corrupt("its installation cannot be read back"))
}
