//! Finds overdue purchases: those whose window has ended without a settling (`unsettled`), and those whose next wake
//! has passed (`wakes`). No purchase that is not due is read, and each one that was found is recorded, so that it is
//! found again only after a back-off: the cost of a sweep depends only on the number of due purchases.
//!
//! A wake is recorded before its signal is sent, and again after Temporal accepted it. If a process crashes in between,
//! the next sweep repeats its wakes once; the sweep has no other state outside the database.

use crate::delivery::overdue::{Due, DueReason, Overdue, Quota};
use crate::delivery::{unsettled, wakes};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::low_mark::LowMarks;
use domain::Timestamp;
use std::sync::Arc;

impl Store {
    /// Returns at most `limit` overdue purchases of each category.
    pub async fn due(&self, limit: i64) -> Result<Vec<Due>, Error> {
        Ok(self.overdue(Quota::of(limit)).await?.found)
    }

    /// Returns the overdue purchases, within a quota.
    pub async fn overdue(&self, quota: Quota) -> Result<Overdue, Error> {
        let marks = Arc::clone(&self.low_marks);
        self.read_now(move |connection, now| overdue(connection, &marks, now, quota))
            .await
    }

    /// Returns the purchases for which a person waits and whose next wake has passed, at most `limit` of each platform.
    pub async fn overdue_for_persons(&self, limit: i64) -> Result<Overdue, Error> {
        let marks = Arc::clone(&self.low_marks);
        self.read_now(move |connection, now| {
            let mut overdue = Overdue::new(now);
            overdue.add(
                DueReason::Wake,
                wakes::for_persons(connection, &marks, now, Quota::of(limit))?,
            );
            Ok(overdue)
        })
        .await
    }

    /// Records that the overdue purchases are about to be woken: from now on, a settling of one whose window ended no
    /// longer counts as one that happened by itself. Must be called before the first signal.
    pub async fn note_waking(&self, overdue: Overdue) -> Result<(), Error> {
        if Overdue::of(DueReason::Unsettled, &overdue.found)
            .next()
            .is_none()
        {
            return Ok(());
        }
        self.write(move |write| unsettled::note_waking(write, &overdue))
            .await
    }

    /// Records which of the overdue purchases were woken, and until when others are postponed. Purchases that are being
    /// settled are left out, as are those whose next wake was set to a later time.
    pub async fn note_woken(&self, overdue: Overdue, woken: Vec<Due>) -> Result<(), Error> {
        if woken.is_empty() && overdue.postponed.is_empty() {
            return Ok(());
        }
        self.write(move |write| {
            unsettled::note(write, &overdue, &woken)?;
            wakes::note(write, &overdue, &woken)
        })
        .await
    }
}

fn overdue(
    connection: &mut AnyConnection,
    marks: &LowMarks,
    now: Timestamp,
    quota: Quota,
) -> Result<Overdue, Error> {
    let mut overdue = Overdue::new(now);
    overdue.add(
        DueReason::Wake,
        wakes::for_persons(connection, marks, now, quota)?,
    );
    overdue.add(
        DueReason::Unsettled,
        unsettled::find(connection, marks, now, quota.others)?,
    );
    overdue.add(
        DueReason::Wake,
        wakes::again(connection, marks, now, quota.others)?,
    );
    overdue.add(
        DueReason::Wake,
        wakes::by_platform(connection, marks, now, quota)?,
    );
    Ok(overdue)
}
