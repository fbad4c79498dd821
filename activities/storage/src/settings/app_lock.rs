//! The lock of an app on PostgreSQL. It protects the settings of the app and its platforms, the catalogue, rates and
//! sales. Records, and moves of purchases between users, share it, so they do not wait for each other. A change of the
//! settings holds it exclusively. So a record either precedes the change, whose recheck finds the rows that it wrote,
//! or sees the change.
//!
//! A job takes it before every other lock. The jobs of a transaction share the locks of several apps in the order of
//! the apps' ids, and a job that takes a lock exclusively is the only one of its transaction. So these locks cause no
//! deadlock.

use db::error::Error;
use db::shared_lock;
use db::statement::{Ahead, Number};
use db::writer::{NextTransaction, Write};
use domain::AppId;
use std::collections::BTreeSet;

/// Shares the lock of an app, from the next statement until the end of the transaction.
///
/// # Errors
/// [`Error::Unavailable`] when an earlier job of the transaction shares the lock of an app with a greater id; this job
/// is run in the next transaction.
pub fn share(write: &mut Write<'_>, app: AppId) -> Result<(), Error> {
    if write.connection.is_shared() {
        let is_late = write.shared_apps.last().is_some_and(|last| *last > app)
            && !write.shared_apps.contains(&app);
        if !write.is_first && is_late {
            return Err(Error::unavailable(NextTransaction));
        }
        write.shared_apps.insert(app);
    }
    shared_lock::share(write.connection, app.uuid())
}

/// Attempts to share the locks of apps; which of them succeeded is fetched later.
#[must_use]
pub struct TriedApps(Vec<(AppId, Ahead<'static, Number>)>);

/// Like [`share`], for several apps and without waiting: leaves out an app whose lock another transaction holds or
/// awaits exclusively.
pub fn try_share(write: &mut Write<'_>, apps: BTreeSet<AppId>) -> Result<TriedApps, Error> {
    let tried = apps
        .into_iter()
        .map(|app| shared_lock::try_share(write.connection, app.uuid()).map(|tried| (app, tried)));
    tried.collect::<Result<_, Error>>().map(TriedApps)
}

impl TriedApps {
    /// Returns the apps whose locks this transaction shares.
    pub fn fetch(self, write: &mut Write<'_>) -> Result<BTreeSet<AppId>, Error> {
        let mut shared = BTreeSet::new();
        for (app, is_shared) in self.0 {
            if is_shared
                .first(write.connection)?
                .is_some_and(|row| row.value == 1)
            {
                shared.insert(app);
            }
        }
        write.shared_apps.extend(&shared);
        Ok(shared)
    }
}

/// Takes the lock of an app exclusively, from the next statement until the end of the transaction. No further job is
/// run in the transaction, so that records wait for this job only.
///
/// # Errors
/// [`Error::Unavailable`] when other jobs ran before in this transaction, because records may wait for their locks;
/// this job is run in the next one.
pub fn take(write: &mut Write<'_>, app: AppId) -> Result<(), Error> {
    write.run_alone()?;
    shared_lock::take(write.connection, app.uuid())
}
