//! Finishing a request: its results for its events and its destination, and what is left in the lane.
//!
//! A claim that lost the lease still gets its attempts recorded, and a success still ends a pending delivery.
//! Everything else about the deliveries is up to the one that holds the lease now.

use crate::db::error::Error;
use crate::db::statement::{clean, row, sql};
use crate::db::writer::Write;
use crate::delivery::claim::lane::{LaneRow, live_lease, lock_lane};
use crate::delivery::claim::pick::{due_at, next};
use crate::delivery::claim::{INVALID_SETTINGS, LATE};
use crate::delivery::lanes::{EventResult, Finish, FinishResult, LaneState, Mode, Verdict};
use crate::delivery::operators::OperatorEvents;
use crate::delivery::{health, retry_after, user_lanes};
use crate::events::alarms;
use crate::events::deliveries::{self, DeliveryRow};
use crate::purchases::purchase;
use crate::settings::destinations::{self, Destination};
use crate::settling::profiles::{self, Failure};
use domain::event::PURCHASE_UPDATED;
use domain::health::{PROBE_EVERY_MS, millis_until};
use domain::{Environment, Timestamp, UserId};

row! {
    struct AttemptRow {
        number: i64,
        started_at: Timestamp,
        finished_at: Option<Timestamp>,
    }
}

/// The class of an answer after which nothing of a customer is accepted: it is not retried with a profile.
const SILENCED: &str = "silenced";

/// Records how a request went and reads the lane again.
pub fn finish(write: &mut Write<'_>, finish: &Finish) -> Result<FinishResult, Error> {
    // A delivery that dies may cause a recheck of its purchase, which is locked before a lane.
    if finish.result.events.iter().any(|result| result.verdict == Verdict::Dead) {
        purchase::lock_existing(write, finish.key)?;
    }
    let lane = lock_lane(write, finish.key, finish.destination)?;
    let holds = lane.lease_token.as_ref() == Some(&finish.token);
    let (mut began, mut died, mut environment) = (None, None, None);
    for result in &finish.result.events {
        let attempt = attempt(write, finish, result)?;
        // A repeated result, because the answer to the first was lost: only the lane is read.
        if attempt.finished_at.is_none() {
            began = Some(attempt.started_at);
            let delivery = deliveries::find(write.connection, result.delivery_id)?;
            environment = environment.or(delivery.environment);
            // An attempt that was made early, because the destination recovered or is probed, is not of the schedule.
            let is_extra = finish.mode == Mode::Probe || delivery.next_due_at > attempt.started_at;
            let verdict = verdict(result, is_extra);
            note(write, (finish, result), (attempt.number, verdict, is_extra))?;
            apply(write, (&delivery, result), (verdict, holds))?;
            correct_first_try(write, (&delivery, result), (&attempt, holds))?;
            if holds && verdict == Verdict::Dead {
                died = died.or_else(|| Some(error(result)));
            }
        }
    }
    if holds {
        end_lease(write, finish, (lane.lease_user_id, environment))?;
    }
    if holds && began.is_some() {
        retry_after::note_answer(write, finish, &lane)?;
    }
    let operator_events = match began {
        Some(began) => update_health(write, finish, (began, died.as_deref()))?,
        None => OperatorEvents::default(),
    };
    Ok(FinishResult {
        lane: lane_state(write, finish, &lane, holds)?,
        owing: operator_events.owing,
        operator_events: operator_events.events,
    })
}

/// The attempt that was claimed with this token.
fn attempt(write: &mut Write<'_>, finish: &Finish, result: &EventResult) -> Result<AttemptRow, Error> {
    sql("SELECT number, started_at, finished_at FROM attempts WHERE delivery_id = ? AND token = ? \
         ORDER BY number DESC LIMIT 1")
    .bind(result.delivery_id)
    .bind(finish.token.as_str())
    .first(write.connection)?
    .ok_or(Error::Missing { what: "attempt" })
}

/// An attempt outside of the schedule uses up no step of it, so it does not end a delivery as the last one would.
fn verdict(result: &EventResult, is_extra: bool) -> Verdict {
    match result.verdict {
        Verdict::Dead if is_extra && result.counts => Verdict::Retry { delay_ms: PROBE_EVERY_MS },
        verdict => verdict,
    }
}

fn note(
    write: &mut Write<'_>,
    (finish, result): (&Finish, &EventResult),
    (number, verdict, is_extra): (i64, Verdict, bool),
) -> Result<(), Error> {
    let storable = |text: &Option<String>| text.as_deref().map(|text| clean(text).into_owned());
    let headers = (!finish.headers.is_empty()).then(|| serde_json::to_string(&finish.headers)).transpose();
    let headers = headers.map_err(|cause| Error::corrupt_by("headers cannot be written as JSON", cause))?;
    let next_due_at = match verdict {
        Verdict::Retry { delay_ms } => Some(write.now.plus_millis(delay_ms.max(0))),
        Verdict::Delivered | Verdict::Dead => None,
    };
    sql("UPDATE attempts SET finished_at = ?, started_at = ?, latency_ms = ?, status = ?, class = ?, error = ?, \
         headers = ?, response = ?, counts = ?, next_due_at = ? WHERE delivery_id = ? AND number = ?")
    .bind(write.now)
    .bind(finish.started_at)
    .bind(finish.latency_ms)
    .bind(finish.status.map(i64::from))
    .bind(result.class)
    .bind(storable(&result.error))
    .bind(storable(&headers))
    .bind(storable(&finish.response))
    .bind(result.counts && !is_extra)
    .bind(next_due_at)
    .bind(result.delivery_id)
    .bind(number)
    .run(write.connection)
    .map(drop)
}

/// What went wrong, for people.
fn error(result: &EventResult) -> String {
    clean(result.error.as_deref().unwrap_or(result.class)).into_owned()
}

fn apply(
    write: &mut Write<'_>,
    (delivery, result): (&DeliveryRow, &EventResult),
    (verdict, holds): (Verdict, bool),
) -> Result<(), Error> {
    match verdict {
        Verdict::Delivered => {
            acknowledge(write, delivery)?;
            end(write, delivery, ("delivered", None))
        }
        Verdict::Dead if holds => {
            end(write, delivery, ("dead", Some(error(result))))?;
            user_lanes::forget_sent(write, delivery)?;
            let failure = if result.class == SILENCED { Failure::Unwanted } else { Failure::Died };
            profiles::forget(write, delivery, failure)
        }
        Verdict::Retry { delay_ms } if holds => {
            sql("UPDATE deliveries SET next_due_at = ?, last_error = ? WHERE id = ? AND status = 'pending'")
                .bind(write.now.plus_millis(delay_ms.max(0)))
                .bind(error(result))
                .bind(delivery.id)
                .run(write.connection)
                .map(drop)
        }
        Verdict::Dead | Verdict::Retry { .. } => Ok(()),
    }
}

/// Ends a delivery that has not ended, so that it ends once.
fn end(write: &mut Write<'_>, delivery: &DeliveryRow, (status, error): (&str, Option<String>)) -> Result<(), Error> {
    sql("UPDATE deliveries SET status = ?, last_error = ?, finished_at = ? WHERE id = ? AND status = 'pending'")
        .bind(status)
        .bind(error)
        .bind(write.now)
        .bind(delivery.id)
        .run(write.connection)
        .map(drop)
}

/// The acknowledged revision never falls: neither of the purchase, nor of the user where that matters.
fn acknowledge(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<(), Error> {
    if delivery.event_type != PURCHASE_UPDATED {
        return user_lanes::acknowledge(write, delivery);
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

/// An attempt without a request is not a try: the time begins with the first request. A late claim that lost the lease
/// leaves it as it is, since the next one may have sent already.
fn correct_first_try(
    write: &mut Write<'_>,
    (delivery, result): (&DeliveryRow, &EventResult),
    (attempt, holds): (&AttemptRow, bool),
) -> Result<(), Error> {
    let was_sent = result.class != INVALID_SETTINGS && !(result.class == LATE && holds);
    if was_sent || delivery.first_tried_at != Some(attempt.started_at) {
        return Ok(());
    }
    sql("UPDATE deliveries SET first_tried_at = NULL WHERE id = ? AND status = 'pending'")
        .bind(delivery.id)
        .run(write.connection)
        .map(drop)
}

/// Ends the lease of the lane, and that of its user with it. A pause of the user holds in the environment of the
/// request.
fn end_lease(
    write: &mut Write<'_>,
    finish: &Finish,
    (user, environment): (Option<UserId>, Option<Environment>),
) -> Result<(), Error> {
    sql("UPDATE lanes SET lease_token = NULL, lease_until = NULL, lease_user_id = NULL \
         WHERE destination_id = ? AND collapse_key = ?")
    .bind(finish.destination)
    .bind(finish.key)
    .run(write.connection)?;
    let Some(user) = user else { return Ok(()) };
    let until = finish.result.user_pause_ms.map(|ms| write.now.plus_millis(ms.max(0)));
    user_lanes::end_lease(write, (finish.destination, user), (&finish.token, environment.zip(until)))
}

fn update_health(
    write: &mut Write<'_>,
    finish: &Finish,
    request: (Timestamp, Option<&str>),
) -> Result<OperatorEvents, Error> {
    let operator_events = health::update(write, finish, request)?;
    if let Some(alarm) = &finish.result.alarm
        && let Some(found) = destinations::find(write.connection, finish.destination)?
    {
        let Destination { id, name, .. } = found.destination();
        alarms::raise(write, None, "destination", &format!("{name} ({id}): {alarm}"))?;
    }
    Ok(operator_events)
}

/// What is left in the lane.
fn lane_state(write: &mut Write<'_>, finish: &Finish, lane: &LaneRow, held: bool) -> Result<LaneState, Error> {
    let (key, destination) = (finish.key, finish.destination);
    let last_seq = deliveries::last_seq(write.connection, key, destination)?;
    let is_enabled = destinations::find(write.connection, destination)?.is_some_and(|found| found.enabled);
    let health = health::find(write.connection, destination)?.health();
    let next = if is_enabled { next(write.connection, (key, destination), &health)? } else { None };
    let Some(next) = next else { return Ok(LaneState::Closed { last_seq }) };
    let due_at = due_at(&next, &health);
    if health.owes_ms(due_at, write.now).is_some() {
        return Ok(LaneState::Owed { last_seq });
    }
    let theirs = if held { None } else { live_lease(lane, write.now) };
    let free_at = theirs.map_or(due_at, |until| until.max(due_at));
    Ok(if free_at > write.now { LaneState::Wait { ms: millis_until(free_at, write.now) } } else { LaneState::More })
}
