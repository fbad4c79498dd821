//! Finishing an attempt: what it says about its delivery, and what is left in the lane.
//!
//! Whoever lost the lease still gets the attempt recorded, and a success still ends a pending
//! delivery. Everything else is up to the one who holds the lease now.

use crate::claim::{LaneRow, live_lease, lock_lane, millis_until, next};
use crate::deliveries::{self, DeliveryRow};
use crate::lanes::{Finish, Finished, Verdict};
use crate::statement::{row, sql};
use crate::writer::Write;
use crate::{Error, destinations};
use domain::Timestamp;
use domain::event::PURCHASE_UPDATED;

row! {
    struct AttemptRow {
        number: i64,
        finished_at: Option<Timestamp>,
    }
}

/// Records how an attempt went and reads the lane again.
pub fn finish(write: &mut Write<'_>, finish: &Finish) -> Result<Finished, Error> {
    let delivery = deliveries::find(write.connection, finish.delivery_id)?;
    let lane = lock_lane(write, delivery.collapse_key, delivery.destination_id)?;
    let id = finish.delivery_id.to_string();
    let holds = lane.lease_token.as_ref() == Some(&finish.token) && lane.lease_delivery_id.as_ref() == Some(&id);
    let attempt = attempt(write, finish)?;
    // The same word again, because the answer to the first was lost: only the lane is read.
    if attempt.finished_at.is_none() {
        note(write, finish, attempt.number)?;
        judge(write, finish, &delivery, holds)?;
    }
    if holds {
        end_lease(write, &delivery)?;
    }
    left(write, &delivery, lane, holds)
}

/// The attempt that was claimed with this token.
fn attempt(write: &mut Write<'_>, finish: &Finish) -> Result<AttemptRow, Error> {
    sql("SELECT number, finished_at FROM attempts WHERE delivery_id = ? AND token = ? ORDER BY number DESC LIMIT 1")
        .bind(finish.delivery_id)
        .bind(finish.token.as_str())
        .first(write.connection)?
        .ok_or(Error::Missing { what: "attempt" })
}

fn note(write: &mut Write<'_>, finish: &Finish, number: i64) -> Result<(), Error> {
    let storable = |text: &Option<String>| text.as_deref().map(|text| crate::accept::clean(text).into_owned());
    sql("UPDATE attempts SET finished_at = ?, started_at = ?, latency_ms = ?, status = ?, class = ?, error = ?, \
         response = ? WHERE delivery_id = ? AND number = ?")
    .bind(write.now)
    .bind(finish.started_at)
    .bind(finish.latency_ms)
    .bind(finish.status.map(i64::from))
    .bind(finish.class.as_str())
    .bind(storable(&finish.error))
    .bind(storable(&finish.response))
    .bind(finish.delivery_id)
    .bind(number)
    .run(write.connection)
    .map(drop)
}

fn judge(write: &mut Write<'_>, finish: &Finish, delivery: &DeliveryRow, holds: bool) -> Result<(), Error> {
    let error = finish.error.clone().unwrap_or_else(|| finish.class.clone()).replace('\0', "\u{FFFD}");
    match finish.verdict {
        Verdict::Delivered => {
            acknowledge(write, delivery)?;
            end(write, finish, "delivered", None)
        }
        Verdict::Dead if holds => end(write, finish, "dead", Some(error)),
        Verdict::Retry { delay_ms } if holds => {
            sql("UPDATE deliveries SET next_due_at = ?, last_error = ? WHERE id = ? AND status = 'pending'")
                .bind(write.now.plus_millis(delay_ms.max(0)))
                .bind(error)
                .bind(finish.delivery_id)
                .run(write.connection)
                .map(drop)
        }
        Verdict::Dead | Verdict::Retry { .. } => Ok(()),
    }
}

/// Ends a delivery that has not ended, so that it ends once.
fn end(write: &mut Write<'_>, finish: &Finish, status: &str, error: Option<String>) -> Result<(), Error> {
    sql("UPDATE deliveries SET status = ?, last_error = ?, finished_at = ? WHERE id = ? AND status = 'pending'")
        .bind(status)
        .bind(error)
        .bind(write.now)
        .bind(finish.delivery_id)
        .run(write.connection)
        .map(drop)
}

/// The acknowledged revision of a lane never falls.
fn acknowledge(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<(), Error> {
    if delivery.event_type != PURCHASE_UPDATED {
        return Ok(());
    }
    sql("UPDATE lanes SET acked_revision = ? WHERE destination_id = ? AND collapse_key = ? \
         AND (acked_revision IS NULL OR acked_revision < ?)")
    .bind(delivery.revision)
    .bind(delivery.destination_id)
    .bind(delivery.collapse_key)
    .bind(delivery.revision)
    .run(write.connection)
    .map(drop)
}

fn end_lease(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<(), Error> {
    sql("UPDATE lanes SET lease_token = NULL, lease_delivery_id = NULL, lease_until = NULL \
         WHERE destination_id = ? AND collapse_key = ?")
    .bind(delivery.destination_id)
    .bind(delivery.collapse_key)
    .run(write.connection)
    .map(drop)
}

/// What is left in the lane.
fn left(write: &mut Write<'_>, delivery: &DeliveryRow, lane: LaneRow, held: bool) -> Result<Finished, Error> {
    let (key, destination) = (delivery.collapse_key, delivery.destination_id);
    let is_enabled = destinations::find(write.connection, destination)?.is_some_and(|found| found.enabled);
    let next = if is_enabled { next(write.connection, key, destination)? } else { None };
    let Some(next) = next else {
        return Ok(Finished::Closed { last_seq: deliveries::last_seq(write.connection, key, destination)? });
    };
    let theirs = if held { None } else { live_lease(&lane, write.now) };
    let free_at = theirs.map_or(next.next_due_at, |until| until.max(next.next_due_at));
    Ok(if free_at > write.now { Finished::Wait { ms: millis_until(free_at, write.now) } } else { Finished::More })
}
