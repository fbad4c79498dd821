//! A destination's `Retry-After` for one lane: nothing of the lane is sent before that time, including deliveries that
//! are recorded in the meantime. Those are held back when the lane is leased.
//!
//! A delivery that is held back counts as tried when the `Retry-After` was received, so that a retry requested by an
//! admin makes it due too.

use crate::delivery::health;
use crate::delivery::lanes::{Finish, LaneKey, Verdict};
use crate::delivery::leasing::lane::LaneRow;
use db::error::Error;
use db::partial::PENDING_OF_LANE;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::Timestamp;
use domain::health::{Health, RetryAfter};
use domain::time::OVERLAP;

/// The error of a delivery that is held back and has no other error.
const PAUSED: &str =
    "the destination sent Retry-After for this purchase: nothing is sent until then";

const BEGIN: Sql = statement! {"
    UPDATE lanes
    SET retry_after_received_at = ?, retry_after_until = ?
    WHERE destination_id = ? AND collapse_key = ?
"};

/// Records the `Retry-After` of a response. A success or a new `Retry-After` ends the earlier one. The lane must be
/// locked.
pub fn note_answer(write: &mut Write<'_>, finish: &Finish, row: &LaneRow) -> Result<(), Error> {
    let pause = finish.result.lane_pause.filter(|pause| !pause.is_zero());
    let is_success = finish
        .result
        .events
        .iter()
        .any(|result| result.verdict == Verdict::Delivered);
    if row.retry_after_until.is_some() && (is_success || pause.is_some()) {
        end(write, finish.lane())?;
    }
    let Some(pause) = pause else { return Ok(()) };
    let retry_after = RetryAfter {
        received_at: write.now()?,
        until: write.now()?.plus(pause),
    };
    sql(BEGIN)
        .bind((
            retry_after.received_at,
            retry_after.until,
            finish.destination,
            finish.key,
        ))
        .run(write.connection)?;
    let health = health::find(
        write.connection,
        finish.destination,
        retry_after.received_at,
    )?
    .health;
    hold_back(write, finish.lane(), retry_after, &health, None).map(drop)
}

/// Holds back the lane's deliveries if a `Retry-After` is in force; returns whether one is. Must run before a delivery
/// is picked, and with the lane locked.
pub fn apply(
    write: &mut Write<'_>,
    lane: LaneKey,
    row: &LaneRow,
    health: &Health,
) -> Result<bool, Error> {
    let retry_after = row.retry_after_received_at.zip(row.retry_after_until);
    let retry_after = retry_after.map(|(received_at, until)| RetryAfter { received_at, until });
    let now = write.now()?;
    match retry_after.filter(|retry_after| health.holds(*retry_after, now)) {
        Some(retry_after) => hold_back(write, lane, retry_after, health, None).map(|_| true),
        None => Ok(false),
    }
}

const LOCK: Sql = statement! {"
    SELECT retry_after_until AS value
    FROM lanes
    WHERE destination_id = ? AND collapse_key = ? AND retry_after_until IS NOT NULL
    FOR UPDATE
"};

const RELEASE: Sql = statement! {hot "deliveries_pending_of_lane", "
    UPDATE deliveries
    SET next_due_at = ?
    WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE}
        AND next_due_at + 0 = ? AND next_due_at + 0 > ?
"};

const END: Sql = statement! {"
    UPDATE lanes
    SET retry_after_received_at = NULL, retry_after_until = NULL
    WHERE destination_id = ? AND collapse_key = ?
"};

/// Ends a `Retry-After`: the deliveries that it held back become due. Returns their number.
pub fn end(write: &mut Write<'_>, lane: LaneKey) -> Result<usize, Error> {
    let until: Option<Timestamp> = sql(LOCK)
        .bind(lane.destination)
        .bind(lane.key)
        .value(write.connection)?;
    let Some(until) = until else { return Ok(0) };
    let released = sql(RELEASE)
        .bind((
            write.now()?,
            lane.key,
            lane.destination,
            until,
            write.now()?,
        ))
        .run(write.connection)?;
    sql(END)
        .bind(lane.destination)
        .bind(lane.key)
        .run(write.connection)?;
    Ok(released)
}

/// `+ 0` keeps the planner from scanning all deliveries to the destination instead of those of the lane.
const HOLD_BACK: Sql = statement! {hot "deliveries_pending_of_lane", "
    UPDATE deliveries
    SET next_due_at = ?, tried_at = ?, last_error = COALESCE(CAST(? AS TEXT), last_error, CAST(? AS TEXT))
    WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE}
        AND (next_due_at + 0 <= ? OR tried_at + 0 < ? OR tried_at + 0 > ?)
"};

/// Holds back all deliveries that are due: by their own time, because the destination recovered, or because the clock
/// was set back since they were tried. Sets their error to `error`, if there is one. Returns their number.
pub fn hold_back(
    write: &mut Write<'_>,
    lane: LaneKey,
    retry_after: RetryAfter,
    health: &Health,
    error: Option<&str>,
) -> Result<usize, Error> {
    sql(HOLD_BACK)
        .bind((
            retry_after.until,
            retry_after.received_at,
            error,
            PAUSED,
            lane.key,
            lane.destination,
            write.now()?,
            health.due_since().unwrap_or(Timestamp::EARLIEST),
            write.now()?.plus(OVERLAP),
        ))
        .run(write.connection)
}
