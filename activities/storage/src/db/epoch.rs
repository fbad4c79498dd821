//! The epoch: a part of the ids of events.
//!
//! A database that was restored from a backup, or failed over to a server that lagged, has lost its latest records. It
//! would announce other events under ids that destinations have seen. So its epoch is raised: by an admin, and on
//! PostgreSQL by the first transaction that needs it and finds another lineage than the stored one. A lineage is the
//! server's system identifier with its timeline, which PostgreSQL raises at each promotion and point-in-time recovery.
//! If a server does not show its lineage, and on SQLite, only an admin raises the epoch. A lineage that appears where
//! none is stored counts as another one: the database may have been moved.
//!
//! The new epoch is the current time in seconds. A counter would give the same epoch to two futures of one backup, and
//! to two servers of which the second never got the first one's new epoch.

use crate::alarm::{self, About, NewAlarm};
use crate::connection::AnyConnection;
use crate::error::Error;
use crate::sql::{Sql, statement};
use crate::statement::{Ahead, row, sql};
use domain::Timestamp;

row! {
    /// The stored epoch and lineage, and the lineage that the server shows. On SQLite both lineages are the stored one.
    struct EpochRow {
        epoch: i64,
        lineage: Option<String>,
        present: Option<String>,
    }
}

/// The database has another lineage than the stored one: [`renew`] must be called before the transaction is run again.
#[derive(Debug, thiserror::Error)]
#[error("the database was restored or failed over")]
struct OtherLineage;

/// The alarm for people when the lineage changed.
const ALARM: NewAlarm<'_> = NewAlarm {
    about: About::All,
    kind: "epoch_raised",
    detail: "the database was restored or failed over to another server: its latest records may be lost; see \"Backup \
         and restore\" in the guide to operating",
};

/// Selects the epoch, the stored lineage and the current one. The lineages are equal on a server that does not show its
/// own.
const SHOWN: &str = "
    SELECT epoch, lineage, COALESCE(settle_lineage(), lineage) AS present
    FROM installation
    WHERE id = 1";

const READ_SHARED: Sql = statement!("{SHOWN}");
const LOCK_SHARED: Sql = statement!("{SHOWN} FOR UPDATE");
const READ: Sql =
    statement!("SELECT epoch, lineage, lineage AS present FROM installation WHERE id = 1");
const LINEAGE: Sql = statement!("SELECT settle_lineage() AS value");
const RAISE: Sql = statement!("UPDATE installation SET epoch = ?, lineage = ? WHERE id = 1");

/// Returns the epoch.
///
/// # Errors
/// [`Error::Unavailable`] when the lineage changed, see [`is_other_lineage`].
pub fn read(connection: &mut AnyConnection) -> Result<i64, Error> {
    read_ahead(connection)?.fetch(connection)
}

/// Like [`read`], but the epoch is fetched later.
pub fn read_ahead(connection: &mut AnyConnection) -> Result<EpochAhead, Error> {
    let text = if connection.is_shared() {
        READ_SHARED
    } else {
        READ
    };
    sql(text).ahead(connection).map(EpochAhead)
}

/// The epoch, which is fetched later.
pub struct EpochAhead(Ahead<'static, EpochRow>);

impl EpochAhead {
    /// Returns the epoch.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the lineage changed, see [`is_other_lineage`].
    pub fn fetch(self, connection: &mut AnyConnection) -> Result<i64, Error> {
        let row = self.0.first(connection)?.ok_or(Error::Missing {
            what: "installation",
        })?;
        row.known()
    }
}

/// Returns whether a transaction failed because the lineage changed.
pub fn is_other_lineage(error: &Error) -> bool {
    matches!(error, Error::Unavailable(cause) if cause.is::<OtherLineage>())
}

/// Returns the lineage that the server shows; `None` if it shows none, and on SQLite.
pub fn lineage(connection: &mut AnyConnection) -> Result<Option<String>, Error> {
    if !connection.is_shared() {
        return Ok(None);
    }
    let shown = sql(LINEAGE).value::<Option<String>>(connection)?.flatten();
    if shown.is_none() {
        tracing::warn!(
            "PostgreSQL does not show its timeline to this user: run `settle migrate --raise-epoch` after every \
             restore and fail-over"
        );
    }
    Ok(shown)
}

/// Raises the epoch; returns the new one. Locks the installation, so that two processes do it one after the other.
pub fn raise(connection: &mut AnyConnection, now: Timestamp) -> Result<i64, Error> {
    let row = lock(connection)?;
    row.raise(connection, now)
}

/// Raises the epoch and an alarm if the lineage changed and no other process has done so. Uses a transaction of its
/// own, because one that holds other locks must not wait for the installation.
pub fn renew(connection: &mut AnyConnection, clock: fn() -> Timestamp) -> Result<(), Error> {
    if let Some(epoch) =
        connection.in_transaction(|connection| raise_if_changed(connection, clock))?
    {
        alarm::count(ALARM.kind);
        tracing::warn!(
            epoch,
            "the database was restored or failed over: from now on events have ids of a new epoch"
        );
    }
    Ok(())
}

fn raise_if_changed(
    connection: &mut AnyConnection,
    clock: fn() -> Timestamp,
) -> Result<Option<i64>, Error> {
    let row = lock(connection)?;
    if row.lineage == row.present {
        return Ok(None);
    }
    let now = connection.now(clock)?;
    let epoch = row.raise(connection, now)?;
    ALARM.raise(connection, now)?;
    Ok(Some(epoch))
}

fn lock(connection: &mut AnyConnection) -> Result<EpochRow, Error> {
    let text = if connection.is_shared() {
        LOCK_SHARED
    } else {
        READ
    };
    sql(text).one(connection, "installation")
}

impl EpochRow {
    /// Returns the epoch, unless the lineage changed.
    fn known(self) -> Result<i64, Error> {
        if self.lineage == self.present {
            Ok(self.epoch)
        } else {
            Err(Error::unavailable(OtherLineage))
        }
    }

    /// Stores the next epoch and the lineage that the server shows.
    fn raise(self, connection: &mut AnyConnection, now: Timestamp) -> Result<i64, Error> {
        let epoch = now
            .micros()
            .div_euclid(1_000_000)
            .max(self.epoch.saturating_add(1));
        sql(RAISE)
            .bind(epoch)
            .bind(self.present.as_deref())
            .run(connection)?;
        Ok(epoch)
    }
}
