//! `Retry-After` of a destination for one lane: nothing is sent there until a time. It also holds for deliveries that
//! become owed meanwhile; those are held back when they are picked.
//!
//! A delivery that is held back counts as tried when the `Retry-After` was received, so that a retry by a person makes
//! it due too.

use crate::db::error::Error;
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::delivery::claim::lane::LaneRow;
use crate::delivery::health;
use crate::delivery::lanes::{Finish, Verdict};
use domain::health::Health;
use domain::{CollapseKey, DestinationId, Timestamp};

row! {
    struct RetryAfter {
        retry_after_until: Timestamp,
    }
}

/// The error of a delivery that was never tried and is held back.
const PAUSED: &str = "the destination sent Retry-After for this purchase: nothing is sent until then";

/// Applies the result of a request: a success or a new `Retry-After` ends the one before. The lane is locked.
pub fn note_answer(write: &mut Write<'_>, finish: &Finish, row: &LaneRow) -> Result<(), Error> {
    let lane = (finish.key, finish.destination);
    let pause_ms = finish.result.lane_pause_ms.filter(|ms| *ms > 0);
    let is_success = finish.result.events.iter().any(|result| result.verdict == Verdict::Delivered);
    if row.retry_after_until.is_some() && (is_success || pause_ms.is_some()) {
        end(write, lane)?;
    }
    let Some(pause_ms) = pause_ms else { return Ok(()) };
    let retry_after = (write.now, write.now.plus_millis(pause_ms));
    sql("UPDATE lanes SET retry_after_received_at = ?, retry_after_until = ? WHERE destination_id = ? AND collapse_key = ?")
        .bind(retry_after.0)
        .bind(retry_after.1)
        .bind(finish.destination)
        .bind(finish.key)
        .run(write.connection)?;
    let health = health::find(write.connection, finish.destination)?.health();
    hold_back(write, lane, (retry_after, &health))
}

/// Holds back the lane's deliveries as long as a `Retry-After` runs, before one is picked. The lane is locked.
pub fn apply(
    write: &mut Write<'_>,
    lane: (CollapseKey, DestinationId),
    (row, health): (&LaneRow, &Health),
) -> Result<(), Error> {
    match row.retry_after_received_at.zip(row.retry_after_until) {
        Some(retry_after) if health.retry_after_until(retry_after, write.now).is_some() => {
            hold_back(write, lane, (retry_after, health))
        }
        _ => Ok(()),
    }
}

/// Ends a `Retry-After`: the deliveries that it held back are due.
pub fn end(write: &mut Write<'_>, (key, destination): (CollapseKey, DestinationId)) -> Result<(), Error> {
    let lock = write.connection.for_update();
    let retry_after: Option<RetryAfter> = sql(format!(
        "SELECT retry_after_until FROM lanes WHERE destination_id = ? AND collapse_key = ? AND retry_after_until IS NOT NULL{lock}"
    ))
    .bind(destination)
    .bind(key)
    .first(write.connection)?;
    let Some(RetryAfter { retry_after_until }) = retry_after else { return Ok(()) };
    sql("UPDATE deliveries SET next_due_at = ? WHERE collapse_key = ? AND destination_id = ? AND status = 'pending' \
         AND next_due_at + 0 = ? AND next_due_at + 0 > ?")
    .bind(write.now)
    .bind(key)
    .bind(destination)
    .bind(retry_after_until)
    .bind(write.now)
    .run(write.connection)?;
    sql("UPDATE lanes SET retry_after_received_at = NULL, retry_after_until = NULL WHERE destination_id = ? AND collapse_key = ?")
        .bind(destination)
        .bind(key)
        .run(write.connection)
        .map(drop)
}

/// Holds back all due deliveries, by their own time or since the destination recovered. `+ 0` so that no planner walks
/// everything that the destination is owed instead of the lane.
fn hold_back(
    write: &mut Write<'_>,
    (key, destination): (CollapseKey, DestinationId),
    ((at, until), health): ((Timestamp, Timestamp), &Health),
) -> Result<(), Error> {
    sql("UPDATE deliveries SET next_due_at = ?, tried_at = ?, last_error = COALESCE(last_error, ?) \
         WHERE collapse_key = ? AND destination_id = ? AND status = 'pending' \
         AND (next_due_at + 0 <= ? OR tried_at + 0 < ?)")
    .bind(until)
    .bind(at)
    .bind(PAUSED)
    .bind(key)
    .bind(destination)
    .bind(write.now)
    .bind(health.due_since().unwrap_or(Timestamp::from_micros(i64::MIN)))
    .run(write.connection)
    .map(drop)
}
