//! Finishing a request: records the results for its events and its destination, and returns the state of the lane.
//!
//! If the lease was lost, the attempts are still recorded, and a success still ends a pending delivery. All other
//! changes to the deliveries are left to the lease's current holder.
//!
//! The rule for closing a lane is in `events/lanes.rs`. If the lane is closed, `lane_state` here and `leasing` return
//! the newest sequence number in it. The activity `deliver` returns that number, and the purchase's run forgets the
//! lane unless a newer delivery was recorded.

use crate::delivery::class::AttemptClass;
use crate::delivery::health::HealthRow;
use crate::delivery::lanes::{EventResult, Finish, FinishResult, LaneState, Mode, Verdict};
use crate::delivery::leasing::lane;
use crate::delivery::leasing::tracks::{self, due_at};
use crate::delivery::operators::OperatorEvents;
use crate::delivery::user_lanes::UserState;
use crate::delivery::{first, health, places, retry_after, user_lanes};
use crate::events::deliveries::{self, DeliveryRow, FREED};
use crate::events::status::DeliveryStatus;
use crate::events::user_leases;
use crate::purchases::purchase;
use crate::settings::destinations;
use crate::settling::profiles::{self, Failure};
use db::error::Error;
use db::partial::PENDING_BY_KEY;
use db::sql::{Sql, statement};
use db::statement::{Ahead, clean, row, sql};
use db::writer::Write;
use domain::Timestamp;
use domain::event::PURCHASE_UPDATED;
use domain::health::{LONGEST_PAUSE, PROBE_EVERY, Subject, wait_until};
use domain::time::millis;

row! {
    struct AttemptRow {
        number: i64,
        started_at: Timestamp,
        finished_at: Option<Timestamp>,
    }
}

/// The result that a request had for one of its deliveries, while it is recorded.
struct Finished<'a> {
    finish: &'a Finish,
    result: &'a EventResult,
    delivery: DeliveryRow,
    /// The user's state that the delivery carried, at a destination that gets requests user by user.
    state: Option<UserState>,
    attempt: AttemptRow,
    /// Whether the request still holds the lane's lease.
    holds_lease: bool,
}

/// Records the result of a request and reads the lane again.
pub fn finish(write: &mut Write<'_>, finish: &Finish) -> Result<FinishResult, Error> {
    // A delivery that fails for good may cause a recheck of its purchase. A purchase is locked before a lane.
    if finish
        .result
        .events
        .iter()
        .any(|result| result.verdict == Verdict::Failed)
    {
        purchase::lock_existing(write, finish.key)?;
    }
    let lane = lane::lock_ahead(write, finish.lane())?;
    let lease = places::end_ahead(write, finish.lane(), &finish.token)?;
    let mut seen = Vec::with_capacity(finish.result.events.len());
    for result in &finish.result.events {
        let attempt = attempt(write, finish, result)?;
        let state = user_lanes::state_ahead(write, finish.destination, result.delivery_id)?;
        seen.push((
            result,
            attempt,
            deliveries::find_ahead(write.connection, result.delivery_id)?,
            state,
        ));
    }
    let health = health::find_ahead(write.connection, finish.destination)?;
    let lane = lane
        .first(write.connection)?
        .ok_or(Error::Missing { what: "lane" })?;
    let lease = lease.first(write.connection)?;
    let holds_lease = lease.is_some();
    let (mut began, mut failed, mut environment) = (None, None, None);
    for (result, attempt, delivery, state) in seen {
        let attempt = attempt
            .first(write.connection)?
            .ok_or(Error::Missing { what: "attempt" })?;
        let delivery = delivery
            .first(write.connection)?
            .ok_or(Error::Missing { what: "delivery" })?;
        // The result is already recorded, and only the response to that call was lost.
        if attempt.finished_at.is_some() {
            continue;
        }
        let state = state.fetch(write)?;
        let finished = Finished {
            finish,
            result,
            delivery,
            state,
            attempt,
            holds_lease,
        };
        began = Some(finished.attempt.started_at);
        environment = environment.or(finished.delivery.environment);
        finished.note(write)?;
        finished.apply(write)?;
        finished.correct_first_try(write)?;
        if holds_lease && finished.verdict() == Verdict::Failed {
            failed = failed.or_else(|| Some(error(result)));
        }
    }
    if lease.is_some_and(|lease| lease.user_id.is_some()) {
        if let Some((pause, environment)) = finish.result.user_pause.zip(environment) {
            let until = write.now()?.plus(pause.min(LONGEST_PAUSE));
            user_leases::pause(write, finish.destination, &finish.token, environment, until)?;
        }
        user_leases::end(write, finish.destination, &finish.token)?;
    }
    if holds_lease && began.is_some() {
        retry_after::note_answer(write, finish, &lane)?;
    }
    let operator_events = match began {
        Some(began) => {
            let health = health.first(write.connection)?.ok_or(Error::Missing {
                what: "destination",
            })?;
            let health = health.as_of(write.now()?);
            update_health(
                write,
                finish,
                &Before {
                    health,
                    began,
                    failed,
                },
            )?
        }
        None => OperatorEvents::default(),
    };
    Ok(FinishResult {
        lane: lane_state(write, finish, holds_lease)?,
        queued_for: operator_events.queued_for,
        operator_events: operator_events.events,
    })
}

const ATTEMPT: Sql = statement! {hot "sqlite_autoindex_attempts or attempts_pkey", "
    SELECT number, started_at, finished_at
    FROM attempts
    WHERE delivery_id = ? AND token = ?
    ORDER BY number DESC
    LIMIT 1
"};

/// Loads the attempt that belongs to this lease token.
fn attempt<'f>(
    write: &mut Write<'_>,
    finish: &'f Finish,
    result: &EventResult,
) -> Result<Ahead<'f, AttemptRow>, Error> {
    sql(ATTEMPT)
        .bind(result.delivery_id)
        .bind(finish.token.as_str())
        .ahead(write.connection)
}

const NOTE: Sql = statement! {"
    UPDATE attempts
    SET finished_at = ?, started_at = ?, latency_ms = ?, status = ?, class = ?, error = ?, headers = ?,
        response = ?, counts = ?, next_due_at = ?
    WHERE delivery_id = ? AND number = ?
"};

const RETRY: Sql = statement! {hot "deliveries_id", "
    UPDATE deliveries
    SET next_due_at = ?, tried_at = ?, last_error = ?
    WHERE id = ? AND status {PENDING_BY_KEY}
"};

const END: Sql = statement! {hot "deliveries_id", "
    UPDATE deliveries
    SET status = ?, last_error = ?, finished_at = ?, {FREED}
    WHERE id = ? AND status {PENDING_BY_KEY}
"};

/// The next body contains this revision as `previous_acked_revision` (`leasing/render.rs`).
const ACKNOWLEDGE: Sql = statement! {"
    UPDATE lanes
    SET acked_revision = ?
    WHERE destination_id = ? AND collapse_key = ? AND (acked_revision IS NULL OR acked_revision < ?)
"};

const JOIN: Sql = statement! {"
    UPDATE lanes
    SET nameless_device_id = NULL
    WHERE destination_id = ? AND collapse_key = ? AND nameless_device_id = ?
"};

const CORRECT_FIRST_TRY: Sql = statement! {"
    UPDATE deliveries
    SET first_tried_at = NULL
    WHERE id = ? AND status {PENDING_BY_KEY}
"};

impl Finished<'_> {
    /// Whether the attempt is outside the retry schedule: a probe, or an attempt before its time.
    fn is_extra(&self) -> bool {
        self.finish.mode == Mode::Probe || self.delivery.next_due_at > self.attempt.started_at
    }

    /// Returns the verdict to apply. An attempt outside the schedule uses up no step of it, so it cannot be the last
    /// one: if it would end the delivery as failed, the delivery is retried.
    fn verdict(&self) -> Verdict {
        match self.result.verdict {
            Verdict::Failed if self.result.counts && self.is_extra() => {
                Verdict::Retry { delay: PROBE_EVERY }
            }
            verdict => verdict,
        }
    }

    /// Returns when the next attempt is due, where `planned` is the schedule's time. If a retry requested by an admin
    /// fails before the delivery's own time, that time stays, unless the destination requested a pause.
    fn next_due_at(&self, planned: Timestamp) -> Timestamp {
        let result = &self.finish.result;
        let is_paused = result.lane_pause.is_some() || result.user_pause.is_some();
        if self.finish.mode == Mode::Probe || is_paused || !self.is_extra() {
            return planned;
        }
        planned.min(self.delivery.next_due_at)
    }

    fn note(&self, write: &mut Write<'_>) -> Result<(), Error> {
        let Self { finish, result, .. } = self;
        let storable = |text: &Option<String>| text.as_deref().map(|text| clean(text).into_owned());
        let headers = (!finish.headers.is_empty())
            .then(|| serde_json::to_string(&finish.headers))
            .transpose();
        let headers = headers
            .map_err(|cause| Error::corrupt_by("headers cannot be written as JSON", cause))?;
        let next_due_at = match self.verdict() {
            Verdict::Retry { delay } => Some(self.next_due_at(write.now()?.plus(delay))),
            Verdict::Delivered | Verdict::Failed => None,
        };
        sql(NOTE)
            .bind((
                write.now()?,
                finish.started_at,
                millis(finish.latency),
                finish.status.map(i64::from),
                result.class,
                storable(&result.error),
                storable(&headers),
                storable(&finish.response),
                result.counts && !self.is_extra(),
                next_due_at,
                result.delivery_id,
                self.attempt.number,
            ))
            .later(write.connection)
    }

    /// Applies the verdict to the delivery.
    fn apply(&self, write: &mut Write<'_>) -> Result<(), Error> {
        let delivery = &self.delivery;
        match self.verdict() {
            Verdict::Delivered => {
                self.acknowledge(write)?;
                self.join(write)?;
                self.end(write, DeliveryStatus::Delivered, None)
            }
            Verdict::Failed if self.holds_lease => {
                self.end(write, DeliveryStatus::Failed, Some(error(self.result)))?;
                self.state
                    .map_or(Ok(()), |state| state.forget_sent(write))?;
                let is_silenced = self.result.class == AttemptClass::Silenced;
                profiles::note_failure(
                    write,
                    delivery,
                    if is_silenced {
                        Failure::Unwanted
                    } else {
                        Failure::Failed
                    },
                )
            }
            Verdict::Retry { delay } if self.holds_lease => sql(RETRY)
                .bind((
                    self.next_due_at(write.now()?.plus(delay)),
                    self.attempt.started_at,
                    error(self.result),
                    delivery.id,
                ))
                .later(write.connection),
            Verdict::Failed | Verdict::Retry { .. } => Ok(()),
        }
    }

    /// Ends the delivery, unless it has already ended.
    fn end(
        &self,
        write: &mut Write<'_>,
        status: DeliveryStatus,
        error: Option<String>,
    ) -> Result<(), Error> {
        sql(END)
            .bind((status, error, write.now()?, self.delivery.id))
            .later(write.connection)
    }

    /// Records the acknowledged revision: of the purchase for a `purchase.updated`, of the user's state for other
    /// events. It never decreases.
    fn acknowledge(&self, write: &mut Write<'_>) -> Result<(), Error> {
        let delivery = &self.delivery;
        if delivery.event_type != PURCHASE_UPDATED {
            return self.state.map_or(Ok(()), |state| state.acknowledge(write));
        }
        sql(ACKNOWLEDGE)
            .bind((
                delivery.revision,
                delivery.destination_id,
                delivery.collapse_key,
                delivery.revision,
            ))
            .later(write.connection)
    }

    /// Stops adding the device id of the lane's earlier events, which had no external id: the delivered event contained
    /// both that device id and an external id.
    fn join(&self, write: &mut Write<'_>) -> Result<(), Error> {
        let delivery = &self.delivery;
        let Some(device) = &delivery.joined_device_id else {
            return Ok(());
        };
        sql(JOIN)
            .bind((
                delivery.destination_id,
                delivery.collapse_key,
                device.as_str(),
            ))
            .later(write.connection)
    }

    /// Clears `first_tried_at` if this was the first attempt and it sent no request, because that time must be the time
    /// of the first request. A request that was too late and lost its lease does not clear it, because the next holder
    /// may already have sent a request.
    fn correct_first_try(&self, write: &mut Write<'_>) -> Result<(), Error> {
        let was_sent = match self.result.class {
            AttemptClass::InvalidSettings => false,
            AttemptClass::Late => !self.holds_lease,
            _ => true,
        };
        if was_sent || self.delivery.first_tried_at != Some(self.attempt.started_at) {
            return Ok(());
        }
        sql(CORRECT_FIRST_TRY)
            .bind(self.delivery.id)
            .later(write.connection)
    }
}

/// Returns the attempt's error as text for people.
fn error(result: &EventResult) -> String {
    clean(result.error.as_deref().unwrap_or(result.class.as_str())).into_owned()
}

/// The input for updating the health of a destination.
struct Before {
    /// The health before the request is recorded.
    health: HealthRow,
    began: Timestamp,
    /// The error of the first delivery that this request ended as failed.
    failed: Option<String>,
}

/// Updates the health of the destination after a request.
fn update_health(
    write: &mut Write<'_>,
    finish: &Finish,
    before: &Before,
) -> Result<OperatorEvents, Error> {
    let request = health::Request {
        destination: finish.destination,
        subject: Subject::Purchase(finish.key),
        mode: finish.mode,
        began: before.began,
        result: &finish.result,
        disable_after: finish.disable_after,
    };
    let mut operator_events = health::update(write, request, &before.health.health)?;
    if let Some(error) = &before.failed {
        let reason = format!("a delivery failed for the last time: {error}");
        operator_events.add(health::announce_exhausted(
            write,
            finish.destination,
            reason,
        )?);
    }
    if let Some(alarm) = &finish.result.alarm
        && let Some(found) = destinations::find(write.connection, finish.destination)?
    {
        health::alarm(write, &found.destination(), alarm)?;
    }
    if finish
        .result
        .events
        .iter()
        .any(|result| result.verdict == Verdict::Delivered)
    {
        first::note(write, finish.key)?;
    }
    Ok(operator_events)
}

/// Returns the state of the lane. It is closed if no delivery is pending, or if the destination is disabled or deleted.
fn lane_state(
    write: &mut Write<'_>,
    finish: &Finish,
    held_lease: bool,
) -> Result<LaneState, Error> {
    let destination = finish.destination;
    let found = destinations::find_ahead(write.connection, destination)?;
    let health = health::find_ahead(write.connection, destination)?;
    let last_seq = deliveries::last_seq_ahead(write.connection, finish.key, destination)?;
    let heads = tracks::heads(write.connection, finish.lane())?;
    let last_seq = last_seq
        .first(write.connection)?
        .map_or(0, |last| last.value);
    let is_enabled = found
        .first(write.connection)?
        .is_some_and(|found| found.enabled);
    let health = health.first(write.connection)?.ok_or(Error::Missing {
        what: "destination",
    })?;
    let now = write.now()?;
    let health = health.as_of(now).health;
    let next = heads
        .fetch(write.connection)?
        .next(&health, now)
        .filter(|_| is_enabled);
    let Some(next) = next else {
        return Ok(LaneState::Closed { last_seq });
    };
    let due_at = due_at(&next, &health, now);
    if health.pending_for(due_at, now).is_some() {
        return Ok(LaneState::Pending { last_seq });
    }
    let leased_until = if held_lease {
        None
    } else {
        places::live_until(write.connection, finish.lane(), now)?
    };
    let free_at = leased_until.map_or(due_at, |until| until.max(due_at));
    Ok(if free_at > now {
        LaneState::Wait {
            wait: wait_until(free_at, now),
        }
    } else {
        LaneState::More
    })
}
