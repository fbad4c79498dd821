//! Repairs after the clock was set back, which the sweep notices because the last sweep finished in the future. Most
//! times are checked where they are used (`Timestamp::unless_ahead`). This module handles the times by which an index
//! finds due rows: without it, those rows would be found late by as much as the clock was set back. A delivery that was
//! already tried is found by the time of its attempt.

use crate::store::Store;
use db::error::Error;
use db::partial::{OPEN_IN_ORDER, PENDING_IN_ORDER};
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::Timestamp;
use domain::time::OVERLAP;
use std::time::Duration;

/// Number of rows that are read in one transaction.
const PAGE: i64 = 500;

const FINISHED_AT: Sql =
    statement!("SELECT finished_at AS value FROM sweeps WHERE finished_at IS NOT NULL");

/// The queues: a statement that finds the last row of the next page, and one that makes the page's rows due if they
/// were stored by the earlier clock.
const QUEUES: [(Sql, Sql); 2] = [
    (LAST_DELIVERY, MAKE_DELIVERIES_DUE),
    (LAST_NOTIFICATION, END_WINDOWS),
];

const LAST_DELIVERY: Sql = statement! {"
    SELECT MAX(page.seq) AS value
    FROM (SELECT seq FROM deliveries WHERE status {PENDING_IN_ORDER} AND seq > ? ORDER BY seq LIMIT ?) page
"};

const MAKE_DELIVERIES_DUE: Sql = statement! {"
    UPDATE deliveries
    SET next_due_at = ?
    WHERE status {PENDING_IN_ORDER} AND seq > ? AND seq <= ? AND tried_at IS NULL AND next_due_at > ?
"};

const LAST_NOTIFICATION: Sql = statement! {"
    SELECT MAX(page.seq) AS value
    FROM (SELECT seq FROM notifications n WHERE {OPEN_IN_ORDER} AND seq > ? ORDER BY seq LIMIT ?) page
"};

const END_WINDOWS: Sql = statement! {"
    UPDATE notifications AS n
    SET due_at = ?, sweep_at = NULL, wakes = NULL
    WHERE {OPEN_IN_ORDER} AND seq > ? AND seq <= ? AND accepted_at > ?
"};

impl Store {
    /// If the clock was set back since the last sweep, makes the rows due that were stored before and never tried.
    /// Returns their number.
    pub async fn make_stored_ahead_due(&self) -> Result<usize, Error> {
        let is_set_back = self.read_now(|connection, now| {
            let finished_at: Option<Timestamp> = sql(FINISHED_AT).value(connection)?;
            Ok(finished_at.is_some_and(|at| at.unless_ahead(Duration::ZERO, now).is_none()))
        });
        if !is_set_back.await? {
            return Ok(0);
        }
        let mut changed = 0;
        for (last, make_due) in QUEUES {
            let mut after = 0;
            while let Some((through, rows)) = self
                .write(move |write| page(write, last, make_due, after))
                .await?
            {
                (after, changed) = (through, changed + rows);
            }
        }
        tracing::warn!(
            number = changed,
            "the database's clock was set back: what was stored before is due now"
        );
        Ok(changed)
    }
}

/// Makes a page of a queue due. Returns its last row and the number of changed rows; `None` after the last page.
fn page(
    write: &mut Write<'_>,
    last: Sql,
    make_due: Sql,
    after: i64,
) -> Result<Option<(i64, usize)>, Error> {
    let through: Option<Option<i64>> = sql(last).bind(after).bind(PAGE).value(write.connection)?;
    let Some(through) = through.flatten() else {
        return Ok(None);
    };
    let now = write.now()?;
    let ahead = now.plus(OVERLAP);
    let changed = sql(make_due)
        .bind((now, after, through, ahead))
        .run(write.connection)?;
    Ok(Some((through, changed)))
}
