//! The health of destinations: how it is stored, and how the result of a request changes it. The rules, such as when a
//! destination is disabled, are in `domain::health`.

use crate::delivery::destination_lock;
use crate::delivery::lanes::{DeliveryResult, EndpointSignal, Mode};
use crate::delivery::operators::{self, OperatorEvents, OperatorNotice};
use crate::events::{alarms, deliveries};
use crate::settings::destinations::{self, Destination, DestinationRow};
use crate::store::Store;
use db::alarm::{About, NewAlarm};
use db::connection::{AnyConnection, MultiBackend};
use db::error::Error;
use db::sql::{Sql, insert, statement};
use db::statement::{Ahead, clean, sql};
use db::writer::Write;
use diesel::deserialize::{self, QueryableByName};
use diesel::row::NamedRow;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use domain::event::{
    DESTINATION_DISABLED, DESTINATION_EXHAUSTED, DESTINATION_FAILING, DESTINATION_RECOVERED,
};
use domain::health::{Assessment, Failure, Health, Notice, State, Subject};
use domain::time::{HOUR, MINUTE};
use domain::{DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The health of a destination, as the API shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthView {
    /// Failures and successes of the destination.
    #[serde(flatten)]
    pub health: Health,
    /// Number of pending deliveries, counted up to 10,000.
    pub pending: i64,
}

/// The health of a destination as of a point in time.
pub struct HealthRow {
    pub health: Health,
    /// When the next request may be made under the destination's rate.
    pub next_slot_at: Timestamp,
    /// The back-off in purchases' runs has been cancelled for deliveries whose last attempt began up to this time.
    pub backoff_cancelled_through: Option<Timestamp>,
}

/// The health of a destination as stored, possibly with times from before the clock was set back.
pub struct StoredHealth(HealthRow);

impl StoredHealth {
    /// Returns the health on which decisions are based.
    pub fn as_of(&self, now: Timestamp) -> HealthRow {
        let Self(row) = self;
        HealthRow {
            health: row.health.as_of(now),
            ..*row
        }
    }
}

impl QueryableByName<MultiBackend> for StoredHealth {
    fn build<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Self> {
        let at = |column: &str| NamedRow::get::<Nullable<BigInt>, Option<Timestamp>>(row, column);
        let health = Health {
            failures: NamedRow::get::<BigInt, i64>(row, "failures")?,
            last_error: NamedRow::get::<Nullable<Text>, Option<String>>(row, "last_error")?,
            first_failure_at: at("first_failure_at")?,
            last_failure_at: at("last_failure_at")?,
            last_success_at: at("last_success_at")?,
            opened_at: at("opened_at")?,
            probed_at: at("probed_at")?,
            recovered_at: at("recovered_at")?,
            paused_until: at("paused_until")?,
            last_failed_subject: NamedRow::get::<Nullable<Text>, Option<Subject>>(
                row,
                "last_failed_subject",
            )?,
            retry_requested_at: at("retry_requested_at")?,
            changed_at: at("changed_at")?,
            warned: NamedRow::get::<BigInt, i64>(row, "warned")?,
            is_announced: NamedRow::get::<Bool, bool>(row, "is_announced")?,
        };
        let next_slot_at = NamedRow::get::<BigInt, Timestamp>(row, "next_slot_at")?;
        Ok(Self(HealthRow {
            health,
            next_slot_at,
            backoff_cancelled_through: at("backoff_cancelled_through")?,
        }))
    }
}

/// Minimum time between two `destination.exhausted` events about one destination. Each event refers to the list of all
/// its failed deliveries.
const EXHAUSTED_EVERY: Duration = MINUTE.saturating_mul(10);

impl Store {
    pub async fn health(&self, id: DestinationId) -> Result<HealthView, Error> {
        self.read(move |connection| view(connection, id)).await
    }
}

/// Returns the health of a destination, with the number of its pending deliveries.
pub fn view(connection: &mut AnyConnection, id: DestinationId) -> Result<HealthView, Error> {
    let pending = deliveries::pending(connection, id)?;
    let StoredHealth(row) = stored(connection, id)?;
    Ok(HealthView {
        health: row.health,
        pending,
    })
}

/// Inserts the health of a new destination.
pub fn insert(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    insert!(health {
        destination_id: id,
        failures: 0_i64,
        next_slot_at: 0_i64,
        warned: 0_i64,
        is_announced: false
    })
    .run(write.connection)
    .map(drop)
}

const SELECT: &str = "
    SELECT failures, last_failed_subject, last_error, first_failure_at, last_failure_at, last_success_at, opened_at,
        probed_at, recovered_at, retry_requested_at, changed_at, paused_until, next_slot_at, warned, is_announced,
        backoff_cancelled_through
    FROM health
    WHERE destination_id = ?";

const FIND: Sql = statement!("{SELECT}");

pub fn find(
    connection: &mut AnyConnection,
    id: DestinationId,
    now: Timestamp,
) -> Result<HealthRow, Error> {
    Ok(stored(connection, id)?.as_of(now))
}

fn stored(connection: &mut AnyConnection, id: DestinationId) -> Result<StoredHealth, Error> {
    sql(FIND).bind(id).first(connection)?.ok_or(Error::Missing {
        what: "destination",
    })
}

/// Starts the query of [`find`]; the row is fetched later.
pub fn find_ahead(
    connection: &mut AnyConnection,
    id: DestinationId,
) -> Result<Ahead<'static, StoredHealth>, Error> {
    sql(FIND).bind(id).ahead(connection)
}

const LOCK: Sql = statement!("{SELECT} FOR UPDATE");

/// Locks the health of a destination until the end of the transaction, and keeps out leases too. Locks are taken in the
/// order lane, user, destination lock, health, destination's row.
pub fn lock(write: &mut Write<'_>, id: DestinationId) -> Result<HealthRow, Error> {
    destination_lock::take(write, id)?;
    lock_row(write, id)
}

/// Locks only the health row: for leasing, which shares the destination lock.
pub fn lock_row(write: &mut Write<'_>, id: DestinationId) -> Result<HealthRow, Error> {
    let stored: StoredHealth = sql(LOCK).bind(id).one(write.connection, "destination")?;
    Ok(stored.as_of(write.now()?))
}

/// Resets the failures after an admin enabled the destination.
pub fn reset(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    let health = lock(write, id)?.health.enabled(write.now()?);
    store(write, id, &health)
}

const CHANGED: Sql = statement!("UPDATE health SET changed_at = ? WHERE destination_id = ?");

/// Records that the settings or the secret of the destination changed: failures of earlier requests no longer count.
pub fn changed(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    sql(CHANGED)
        .bind(write.now()?)
        .bind(id)
        .later(write.connection)
}

const END_PAUSE: Sql = statement!("UPDATE health SET paused_until = NULL WHERE destination_id = ?");

/// Ends the pause that the destination requested.
pub fn end_pause(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    sql(END_PAUSE).bind(id).later(write.connection)
}

const NOTE_PROBE: Sql = statement!("UPDATE health SET probed_at = ? WHERE destination_id = ?");

/// Records the time of a probe.
pub fn note_probe(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    sql(NOTE_PROBE)
        .bind(write.now()?)
        .bind(id)
        .later(write.connection)
}

const NOTE_SLOT: Sql = statement!("UPDATE health SET next_slot_at = ? WHERE destination_id = ?");

/// Records when the next request may be made under the destination's rate.
pub fn note_slot(
    write: &mut Write<'_>,
    id: DestinationId,
    next_slot_at: Timestamp,
) -> Result<(), Error> {
    sql(NOTE_SLOT)
        .bind(next_slot_at)
        .bind(id)
        .later(write.connection)
}

#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub destination: DestinationId,
    pub subject: Subject,
    pub mode: Mode,
    pub began: Timestamp,
    pub result: &'a DeliveryResult,
    /// The destination is disabled after this time without a success.
    pub disable_after: Duration,
}

/// Updates the health of a destination after a request, and notifies operators. `seen` is the health as last read,
/// without a lock.
pub fn update(
    write: &mut Write<'_>,
    request: Request<'_>,
    seen: &Health,
) -> Result<OperatorEvents, Error> {
    let Request {
        destination: id,
        began,
        ..
    } = request;
    match &request.result.endpoint_signal {
        EndpointSignal::Neutral => Ok(OperatorEvents::default()),
        EndpointSignal::Success => {
            let began = if request.mode == Mode::Probe {
                write.now()?
            } else {
                began
            };
            // Most requests succeed at a healthy destination. For these, no row is locked or written.
            let is_news = seen.succeeded(began, write.now()?).is_some();
            if is_news {
                succeeded(write, id, began)
            } else {
                Ok(OperatorEvents::default())
            }
        }
        // The destination recovered or was changed after the lease of this request, so its failure no longer counts.
        EndpointSignal::Failure { .. } | EndpointSignal::Gone { .. }
            if lock(write, id)?.health.is_stale_request(began) =>
        {
            Ok(OperatorEvents::default())
        }
        EndpointSignal::Failure { pause } => failed(write, request, *pause),
        EndpointSignal::Gone { reason } => disable(write, id, reason),
    }
}

fn succeeded(
    write: &mut Write<'_>,
    id: DestinationId,
    began: Timestamp,
) -> Result<OperatorEvents, Error> {
    let Some((health, destination)) = locked(write, id)? else {
        return Ok(OperatorEvents::default());
    };
    let Some(assessment) = health.succeeded(began, write.now()?) else {
        return Ok(OperatorEvents::default());
    };
    conclude(write, destination, &assessment, None)
}

fn failed(
    write: &mut Write<'_>,
    request: Request<'_>,
    pause: Option<Duration>,
) -> Result<OperatorEvents, Error> {
    let Request {
        destination: id,
        subject,
        disable_after,
        ..
    } = request;
    let Some((health, destination)) = locked(write, id)? else {
        return Ok(OperatorEvents::default());
    };
    let error = error(request.result);
    let failure = Failure {
        subject,
        error: error.clone(),
        pause,
        disable_after,
    };
    let assessment = health.failed(failure, write.now()?);
    let reason = match assessment.state {
        State::Disabled => {
            format!(
                "no request succeeded for {}: {error}",
                time_without_success(&assessment.health, write.now()?)
            )
        }
        _ => error,
    };
    conclude(write, destination, &assessment, Some(&reason))
}

fn disable(
    write: &mut Write<'_>,
    id: DestinationId,
    reason: &str,
) -> Result<OperatorEvents, Error> {
    let Some((health, destination)) = locked(write, id)? else {
        return Ok(OperatorEvents::default());
    };
    conclude(write, destination, &health.refused_all(), Some(reason))
}

/// Notifies operators that a delivery failed, and why, at most once per [`EXHAUSTED_EVERY`] and destination.
pub fn announce_exhausted(
    write: &mut Write<'_>,
    id: DestinationId,
    reason: String,
) -> Result<OperatorEvents, Error> {
    // Usually the event was announced recently, and then no transaction has to wait for the locks.
    if is_announced(write, id)? {
        return Ok(OperatorEvents::default());
    }
    if destination_lock::is_shared(write, id) {
        lock_row(write, id)?;
    } else {
        lock(write, id)?;
    }
    let Some(destination) = destinations::find(write.connection, id)? else {
        return Ok(OperatorEvents::default());
    };
    if is_announced(write, id)? {
        return Ok(OperatorEvents::default());
    }
    let destination = destination.destination();
    alarm(write, &destination, &reason)?;
    let now = write.now()?;
    let health = find(write.connection, id, now)?.health;
    operators::announce(
        write,
        &destination,
        &health,
        &OperatorNotice {
            event_type: DESTINATION_EXHAUSTED,
            reason: Some(reason),
        },
    )
}

/// Whether operators were notified of failed deliveries within [`EXHAUSTED_EVERY`].
fn is_announced(write: &mut Write<'_>, id: DestinationId) -> Result<bool, Error> {
    let last = operators::last(
        write.connection,
        operators::lane_of(id),
        DESTINATION_EXHAUSTED,
    )?;
    let now = write.now()?;
    let last = last.and_then(|last| last.created_at.unless_ahead(Duration::ZERO, now));
    Ok(last.is_some_and(|at| now < at.plus(EXHAUSTED_EVERY)))
}

/// Locks the health of a destination; `None` if the destination is disabled or deleted.
fn locked(
    write: &mut Write<'_>,
    id: DestinationId,
) -> Result<Option<(Health, DestinationRow)>, Error> {
    let health = lock(write, id)?.health;
    let destination = destinations::find(write.connection, id)?.filter(|found| found.enabled);
    Ok(destination.map(|destination| (health, destination)))
}

/// Returns the error of a failed request, for people: the error of the first event that has one.
fn error(result: &DeliveryResult) -> String {
    let failed = result
        .events
        .iter()
        .find(|one| one.error.is_some())
        .or(result.events.first());
    let error = failed.map(|result| {
        result
            .error
            .clone()
            .unwrap_or_else(|| result.class.as_str().to_owned())
    });
    clean(&error.unwrap_or_else(|| "the request failed".to_owned())).into_owned()
}

const STORE: Sql = statement! {"
    UPDATE health
    SET failures = ?, last_failed_subject = ?, last_error = ?, first_failure_at = ?, last_failure_at = ?,
        last_success_at = ?, opened_at = ?, probed_at = ?, recovered_at = ?, retry_requested_at = ?,
        paused_until = ?, warned = ?, is_announced = ?
    WHERE destination_id = ?
"};

fn store(write: &mut Write<'_>, id: DestinationId, health: &Health) -> Result<(), Error> {
    sql(STORE)
        .bind((
            health.failures,
            health.last_failed_subject,
            health.last_error.as_deref(),
            health.first_failure_at,
            health.last_failure_at,
            health.last_success_at,
            health.opened_at,
            health.probed_at,
            health.recovered_at,
            health.retry_requested_at,
            health.paused_until,
            health.warned,
            health.is_announced,
            id,
        ))
        .later(write.connection)
}

/// Stores the new health and state, and notifies operators.
fn conclude(
    write: &mut Write<'_>,
    row: DestinationRow,
    assessment: &Assessment,
    reason: Option<&str>,
) -> Result<OperatorEvents, Error> {
    store(write, row.id, &assessment.health)?;
    let before = row.destination();
    if before.state != assessment.state {
        destinations::set_state(write, before.id, assessment.state, reason)?;
        if assessment.state == State::Healthy {
            close_alarm(write, before.id, "it works again")?;
        }
    }
    if assessment.raises_alarm {
        alarms::raise(
            write,
            About::Destination(before.id),
            FAILING,
            &keeps_failing(before.id),
        )?;
    }
    let mut events = OperatorEvents::default();
    if assessment.notices.is_empty() {
        return Ok(events);
    }
    let Some(now) = destinations::find(write.connection, before.id)? else {
        return Ok(events);
    };
    let now = now.destination();
    if assessment.notices.contains(&Notice::Disabled) {
        close_alarm(write, now.id, "it was disabled, which raised its own alarm")?;
        alarm(
            write,
            &now,
            &format!("it is disabled: {}", reason.unwrap_or_default()),
        )?;
    }
    let at = write.now()?;
    let health = find(write.connection, now.id, at)?.health;
    for notice in &assessment.notices {
        let reason = reason.map(str::to_owned);
        let (event_type, reason) = match notice {
            Notice::Opened => (DESTINATION_FAILING, reason),
            Notice::Warned { percent } => {
                let since = time_without_success(&assessment.health, write.now()?);
                let over = format!("{percent} % of the time after which it is disabled");
                let error = reason.unwrap_or_default();
                (
                    DESTINATION_FAILING,
                    Some(format!("no request succeeded for {since}, {over}: {error}")),
                )
            }
            Notice::Recovered => (DESTINATION_RECOVERED, None),
            Notice::Disabled => (DESTINATION_DISABLED, reason),
        };
        events.add(operators::announce(
            write,
            &now,
            &health,
            &OperatorNotice { event_type, reason },
        )?);
    }
    Ok(events)
}

/// Raises an alarm about a destination. Alarms do not depend on which destinations chose operator events.
pub fn alarm(write: &mut Write<'_>, destination: &Destination, what: &str) -> Result<(), Error> {
    let (id, name) = (destination.id, &destination.name);
    alarms::raise(
        write,
        About::Destination(id),
        "destination",
        &format!("{name} ({id}): {what}"),
    )
}

/// The kind of the alarm about a failing destination; each destination has at most one.
pub const FAILING: &str = "destination_failing";

/// Returns the detail of the alarm about a failing destination. It contains neither cause nor name, because they
/// change, and the alarm must stay the same.
fn keeps_failing(id: DestinationId) -> String {
    format!(
        "requests to this destination keep failing; `settle explain destination {id}` shows why"
    )
}

/// Closes the alarm about a failing destination, if it is open.
pub fn close_alarm(write: &mut Write<'_>, id: DestinationId, why: &str) -> Result<(), Error> {
    let detail = keeps_failing(id);
    alarms::close(
        write,
        NewAlarm {
            about: About::Destination(id),
            kind: FAILING,
            detail: &detail,
        },
        why,
    )
}

/// Returns the time since the last success as text for people.
fn time_without_success(health: &Health, now: Timestamp) -> String {
    let seconds = health.well_at().map_or(0, |at| now.since(at).as_secs());
    let (hours, rest) = (seconds / HOUR.as_secs(), seconds % HOUR.as_secs());
    format!("{hours} h {} min", rest / MINUTE.as_secs())
}
