//! The lock of an app on PostgreSQL: of its settings, those of its platforms, its catalogue, rates and sales. Records,
//! and moves of purchases between users, share it and do not wait for each other. A change of the settings holds it
//! exclusively: a record comes before the change, whose recheck finds what it wrote, or sees the change.
//!
//! It is taken before every other lock of a job. The jobs of a transaction share the locks of several apps in the order
//! of their ids, and one that takes a lock exclusively is the only job of its transaction. So these locks cause no
//! deadlock.

use db::error::Error;
use db::shared_lock;
use db::statement::{Ahead, Number};
use db::writer::{NextTransaction, Write};
use domain::AppId;
use std::collections::BTreeSet;

/// Shares the lock until the end of the transaction, from the next statement on.
///
/// # Errors
/// An earlier job shares the lock of a later app, so this job is run in the next transaction.
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

/// The shared locks, each unless another transaction has or awaits it exclusively; fetched later.
#[must_use]
pub struct TriedApps(Vec<(AppId, Ahead<'static, Number>)>);

/// Like [`share`], for several apps and without waiting: leaves out an app whose lock another transaction has or awaits
/// exclusively.
pub fn try_share(write: &mut Write<'_>, apps: BTreeSet<AppId>) -> Result<TriedApps, Error> {
    let tried = apps
        .into_iter()
        .map(|app| shared_lock::try_share(write.connection, app.uuid()).map(|tried| (app, tried)));
    tried.collect::<Result<_, Error>>().map(TriedApps)
}

impl TriedApps {
    /// Returns the apps whose lock is shared.
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

/// Takes the lock alone until the end of the transaction, from the next statement on. No further job is run in the
/// transaction, so that records wait for this one alone.
///
/// # Errors
/// Other jobs came before this one, whose locks a record may wait for: so it is run in the next transaction.
pub fn take(write: &mut Write<'_>, app: AppId) -> Result<(), Error> {
    write.run_alone()?;
    shared_lock::take(write.connection, app.uuid())
}
