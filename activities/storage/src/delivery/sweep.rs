//! What is overdue: purchases whose window has ended without a settling (`unsettled`), or whose next wake has passed
//! (`wakes`). Nothing that waits is read, and what was found is noted, so that it is found again only after a back-off:
//! the cost of a sweep is that of what is due.
//!
//! That a wake is to be sent is noted before it, and that Temporal accepted it after it. A process that dies in between
//! has its wakes repeated by the next sweep, once; all else of the sweep is in the rows.

use crate::delivery::overdue::{Due, DueReason, Overdue, Quota};
use crate::delivery::{unsettled, wakes};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::low_mark::LowMarks;
use domain::Timestamp;
use std::sync::Arc;

impl Store {
    /// At most `limit` purchases of each category that are overdue.
    pub async fn due(&self, limit: i64) -> Result<Vec<Due>, Error> {
        Ok(self.overdue(Quota::of(limit)).await?.found)
    }

    /// The overdue purchases, within a quota.
    pub async fn overdue(&self, quota: Quota) -> Result<Overdue, Error> {
        let marks = Arc::clone(&self.low_marks);
        self.read_now(move |connection, now| overdue(connection, &marks, now, quota))
            .await
    }

    /// The purchases that a person waits for and whose next wake has passed, at most so many of each platform.
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

    /// Notes that the overdue purchases are about to be woken: from now on, one whose window ended does not settle by
    /// itself. To be called before the first signal.
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

    /// Notes which of the overdue purchases were woken, and until when others are postponed. A purchase that is being
    /// settled is left out, and so is one whose next wake was set to a later time.
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
