//! Records the results of a stream's requests, and their effect on the destination's health.

use super::{CREATE, LOCK, PROBE, PROBE_EVERY, StreamLease, StreamRow};
use crate::delivery::class::AttemptClass;
use crate::delivery::health;
use crate::delivery::lanes::{DeliveryResult, Mode};
use crate::delivery::operators::OperatorEvents;
use crate::settings::destinations;
use crate::store::Store;
use db::error::Error;
use db::partial::PENDING_BY_KEY;
use db::sql::{Sql, statement};
use db::statement::{clean, sql, stored};
use db::writer::{JobKind, Write};
use domain::health::Subject;
use domain::{DestinationId, DeviceId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Maximum number of characters of a stored error.
const MAX_ERROR_CHARS: usize = 500;

stored! {
    /// Status of a device event's delivery to a destination.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum StreamStatus {
        /// To be sent when it is due.
        Pending = "pending",
        /// Acknowledged by the destination.
        Delivered = "delivered",
        /// Not sent, because the destination must not receive it.
        Skipped = "skipped",
        /// Given up.
        Failed = "failed",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// The result of the attempt for the event.
    pub class: AttemptClass,
    /// HTTP status of the response, if there was one.
    pub status: Option<i64>,
    pub latency: Duration,
}

/// The result of an attempt for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamResult {
    pub seq: i64,
    pub verdict: StreamVerdict,
    /// The request; `None` if none was made.
    pub tried: Option<Tried>,
    /// Why the event was not delivered, for people and without secrets.
    pub error: Option<String>,
}

/// The verdict on an event after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamVerdict {
    Delivered,
    Retry {
        delay: Duration,
        /// Whether the attempt counts as a step of the retry schedule.
        counts: bool,
    },
    Failed,
    /// The destination must not get the event.
    Skipped,
}

impl StreamResult {
    /// Returns the result as it counts in a mode: a probe uses up no step of the schedule, so it cannot be the last
    /// attempt.
    fn in_mode(&self, mode: Mode) -> Self {
        let verdict = match (mode, self.verdict) {
            (Mode::Probe, StreamVerdict::Failed) if self.tried.is_some() => StreamVerdict::Retry {
                delay: PROBE_EVERY,
                counts: false,
            },
            (Mode::Probe, StreamVerdict::Retry { delay, .. }) => StreamVerdict::Retry {
                delay,
                counts: false,
            },
            (_, verdict) => verdict,
        };
        Self {
            verdict,
            ..self.clone()
        }
    }
}

/// A request, and its effect on the health of the destination.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// The first device of the request.
    pub device: DeviceId,
    /// When the request's page was leased, by the database's clock.
    pub began: Timestamp,
    pub mode: Mode,
    pub result: DeliveryResult,
    /// The destination is disabled after this time without a success.
    pub disable_after: Duration,
}

/// The recorded operator events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFinished {
    /// The types of the events about the destination.
    pub operator_events: Vec<&'static str>,
    /// Other destinations for which the events were queued.
    pub queued_for: Vec<DestinationId>,
}

impl Store {
    /// Records the results of attempts, and the effect of a request on the destination's health. Failures open the
    /// breaker as those of purchases do, with devices counted in place of purchases. A holder that lost the lease only
    /// records which events arrived.
    pub async fn finish_stream(
        &self,
        lease: &StreamLease,
        results: Vec<StreamResult>,
        request: Option<StreamRequest>,
    ) -> Result<StreamFinished, Error> {
        let (lease, kind) = (lease.clone(), JobKind::Stream(lease.destination));
        let work = move |write: &mut Write<'_>| {
            sql(CREATE)
                .bind(lease.destination)
                .later(write.connection)?;
            let stream: StreamRow = sql(LOCK)
                .bind(lease.destination)
                .one(write.connection, "stream")?;
            let is_holder = stream.is_of(&lease.token);
            let mode = request.as_ref().map_or(Mode::Drain, |request| request.mode);
            if mode == Mode::Probe {
                sql(PROBE)
                    .bind(write.now()?)
                    .bind(lease.destination)
                    .later(write.connection)?;
            }
            for result in &results {
                note(write, lease.destination, &result.in_mode(mode), is_holder)?;
            }
            if !is_holder {
                return Ok(StreamFinished::default());
            }
            let mut finished = OperatorEvents::default();
            if let Some(request) = &request {
                finished.add(update_health(write, &lease, request)?);
            }
            let is_failed =
                |one: &&StreamResult| one.in_mode(mode).verdict == StreamVerdict::Failed;
            if let Some(failed) = results.iter().find(is_failed) {
                let why = failed.error.as_deref().unwrap_or("it was refused");
                let reason = format!("an event of a device failed for the last time: {why}");
                finished.add(health::announce_exhausted(
                    write,
                    lease.destination,
                    reason,
                )?);
            }
            let OperatorEvents { events, queued_for } = finished;
            Ok(StreamFinished {
                operator_events: events,
                queued_for,
            })
        };
        self.database.writer.write(kind, work).await
    }
}

/// Updates the health of the destination, as a request of a lane does.
fn update_health(
    write: &mut Write<'_>,
    lease: &StreamLease,
    request: &StreamRequest,
) -> Result<OperatorEvents, Error> {
    let request_of_device = health::Request {
        destination: lease.destination,
        subject: Subject::Device(request.device),
        mode: request.mode,
        began: request.began,
        result: &request.result,
        disable_after: request.disable_after,
    };
    let now = write.now()?;
    let seen = health::find(write.connection, lease.destination, now)?.health;
    let events = health::update(write, request_of_device, &seen)?;
    if let Some(alarm) = &request.result.alarm
        && let Some(found) = destinations::find(write.connection, lease.destination)?
    {
        health::alarm(write, &found.destination(), alarm)?;
    }
    Ok(events)
}

const END: Sql = statement! {"
    UPDATE device_deliveries
    SET status = ?, last_error = ?, finished_at = ?, attempts = attempts + ?,
        first_tried_at = COALESCE(first_tried_at, ?), tried_at = COALESCE(?, tried_at),
        last_class = COALESCE(?, last_class), last_status = CASE WHEN ? THEN ? ELSE last_status END,
        latency_ms = COALESCE(?, latency_ms)
    WHERE destination_id = ? AND event_seq = ? AND status {PENDING_BY_KEY}
"};

const RETRY: Sql = statement! {"
    UPDATE device_deliveries
    SET next_due_at = ?, last_error = ?, attempts = attempts + ?, refusals = refusals + ?,
        first_tried_at = COALESCE(first_tried_at, ?), tried_at = COALESCE(?, tried_at),
        last_class = COALESCE(?, last_class), last_status = CASE WHEN ? THEN ? ELSE last_status END,
        latency_ms = COALESCE(?, latency_ms)
    WHERE destination_id = ? AND event_seq = ? AND status {PENDING_BY_KEY}
"};

/// Records the result of an attempt for one event.
fn note(
    write: &mut Write<'_>,
    id: DestinationId,
    done: &StreamResult,
    is_holder: bool,
) -> Result<(), Error> {
    let StreamResult {
        seq,
        verdict,
        tried,
        error,
    } = done;
    let error = error.as_deref().map(|text| {
        clean(text)
            .chars()
            .take(MAX_ERROR_CHARS)
            .collect::<String>()
    });
    let status = match *verdict {
        StreamVerdict::Delivered => Some(StreamStatus::Delivered),
        StreamVerdict::Failed if is_holder => Some(StreamStatus::Failed),
        StreamVerdict::Skipped if is_holder => Some(StreamStatus::Skipped),
        StreamVerdict::Retry { .. } if is_holder => None,
        StreamVerdict::Failed | StreamVerdict::Skipped | StreamVerdict::Retry { .. } => {
            return Ok(());
        }
    };
    let now = write.now()?;
    let statement = match (status, *verdict) {
        (None, StreamVerdict::Retry { delay, counts }) => {
            let is_refusal =
                counts && tried.is_some_and(|tried| tried.class == AttemptClass::Refused);
            let due_at = now.plus(delay);
            sql(RETRY).bind((due_at, error, i64::from(counts), i64::from(is_refusal)))
        }
        _ => sql(END).bind((status, error, now, i64::from(tried.is_some()))),
    };
    let tried_at = tried.map(|_| now);
    statement
        .bind((
            tried_at,
            tried_at,
            tried.map(|tried| tried.class),
            tried.is_some(),
            tried.and_then(|tried| tried.status),
            tried.map(|tried| tried.latency),
            id,
            *seq,
        ))
        .later(write.connection)
}
