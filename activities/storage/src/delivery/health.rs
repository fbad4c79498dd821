//! The health of destinations: the stored figures, and how a request changes them. The rules are `domain`'s.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::delivery::lanes::{EndpointSignal, Finish, Mode};
use crate::delivery::operators::{self, OperatorEvents, OperatorNotice};
use crate::events::{alarms, deliveries};
use crate::settings::destinations::{self, Destination, DestinationRow};
use domain::event::{DESTINATION_DISABLED, DESTINATION_EXHAUSTED, DESTINATION_FAILING, DESTINATION_RECOVERED};
use domain::health::{Assessment, Failure, Health, Notice, State};
use domain::{CollapseKey, DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

/// The health of a destination, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HealthView {
    /// Failures in a row, each of another purchase than the one before.
    pub failures: i64,
    /// What went wrong last, for people.
    pub last_error: Option<String>,
    /// The first failure since the last success.
    pub first_failure_at: Option<Timestamp>,
    /// The last failure.
    pub last_failure_at: Option<Timestamp>,
    /// The last success; of a healthy destination, up to a minute old.
    pub last_success_at: Option<Timestamp>,
    /// Since when the breaker is open.
    pub opened_at: Option<Timestamp>,
    /// When it was probed last.
    pub probed_at: Option<Timestamp>,
    /// When it recovered last.
    pub recovered_at: Option<Timestamp>,
    /// Until when its `Retry-After` pauses it.
    pub paused_until: Option<Timestamp>,
    /// How many deliveries it is owed, counted up to a bound.
    pub owed: i64,
}

row! {
    /// The stored health of a destination.
    pub struct HealthRow {
        failures: i64,
        last_failed_key: Option<String>,
        last_error: Option<String>,
        first_failure_at: Option<Timestamp>,
        last_failure_at: Option<Timestamp>,
        last_success_at: Option<Timestamp>,
        opened_at: Option<Timestamp>,
        probed_at: Option<Timestamp>,
        recovered_at: Option<Timestamp>,
        retry_requested_at: Option<Timestamp>,
        changed_at: Option<Timestamp>,
        paused_until: Option<Timestamp>,
        next_slot_at: Timestamp,
        warned: i64,
        is_announced: bool,
        backoff_cancelled_through: Option<Timestamp>,
    }
}

const SELECT: &str = "SELECT failures, last_failed_key, last_error, first_failure_at, last_failure_at, \
     last_success_at, opened_at, probed_at, recovered_at, retry_requested_at, changed_at, paused_until, next_slot_at, \
     warned, is_announced, backoff_cancelled_through FROM health WHERE destination_id = ?";

/// How often a destination's exhausted deliveries are announced at most, in milliseconds: each announcement points to
/// the list of dead ones.
const EXHAUSTED_EVERY_MS: i64 = 600_000;

impl HealthRow {
    /// The figures that the rules work on.
    pub const fn health(&self) -> Health {
        Health {
            failures: self.failures,
            first_failure_at: self.first_failure_at,
            last_failure_at: self.last_failure_at,
            last_success_at: self.last_success_at,
            opened_at: self.opened_at,
            probed_at: self.probed_at,
            recovered_at: self.recovered_at,
            retry_requested_at: self.retry_requested_at,
            changed_at: self.changed_at,
            paused_until: self.paused_until,
            warned: self.warned,
            is_announced: self.is_announced,
        }
    }

    /// When the next request may be made under the destination's rate.
    pub const fn next_slot_at(&self) -> Timestamp {
        self.next_slot_at
    }

    /// Until when tried deliveries had the back-off of their purchases' runs cancelled.
    pub const fn backoff_cancelled_through(&self) -> Option<Timestamp> {
        self.backoff_cancelled_through
    }

    /// Which purchase failed last.
    pub fn last_failed_key(&self) -> Option<&str> {
        self.last_failed_key.as_deref()
    }

    /// The health for people, with how much is owed.
    pub fn view(self, owed: i64) -> HealthView {
        HealthView {
            failures: self.failures,
            last_error: self.last_error,
            first_failure_at: self.first_failure_at,
            last_failure_at: self.last_failure_at,
            last_success_at: self.last_success_at,
            opened_at: self.opened_at,
            probed_at: self.probed_at,
            recovered_at: self.recovered_at,
            paused_until: self.paused_until,
            owed,
        }
    }
}

impl Store {
    /// The health of a destination.
    pub async fn health(&self, id: DestinationId) -> Result<HealthView, Error> {
        self.read(move |connection| {
            let owed = deliveries::owed(connection, id)?;
            Ok(find(connection, id)?.view(owed))
        })
        .await
    }
}

/// The health of a new destination.
pub fn insert(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    sql("INSERT INTO health (destination_id, failures, next_slot_at, warned, is_announced) VALUES (?, 0, 0, 0, ?)")
        .bind(id)
        .bind(false)
        .run(write.connection)
        .map(drop)
}

/// The health of a destination.
pub fn find(connection: &mut AnyConnection, id: DestinationId) -> Result<HealthRow, Error> {
    sql(SELECT).bind(id).first(connection)?.ok_or(Error::Missing { what: "destination" })
}

/// Locks the health of a destination until the end of the transaction: after the lane and its user, before the
/// destination.
pub fn lock(write: &mut Write<'_>, id: DestinationId) -> Result<HealthRow, Error> {
    let lock = write.connection.for_update();
    sql(format!("{SELECT}{lock}")).bind(id).first(write.connection)?.ok_or(Error::Missing { what: "destination" })
}

/// Forgets what failed, because a person enabled the destination.
pub fn reset(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    let health = lock(write, id)?.health().enabled(write.now);
    store(write, id, (&health, None))
}

/// Notes that the destination was changed: requests from before say nothing of it.
pub fn changed(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    sql("UPDATE health SET changed_at = ? WHERE destination_id = ?")
        .bind(write.now)
        .bind(id)
        .run(write.connection)
        .map(drop)
}

/// Notes that a probe goes out, or when the next request may be made.
pub fn note_request(
    write: &mut Write<'_>,
    id: DestinationId,
    (is_probe, next_slot_at): (bool, Option<Timestamp>),
) -> Result<(), Error> {
    if !is_probe && next_slot_at.is_none() {
        return Ok(());
    }
    sql("UPDATE health SET probed_at = COALESCE(?, probed_at), next_slot_at = COALESCE(?, next_slot_at) \
         WHERE destination_id = ?")
    .bind(is_probe.then_some(write.now))
    .bind(next_slot_at)
    .bind(id)
    .run(write.connection)
    .map(drop)
}

/// Updates the health of a destination by a request, and notifies operators. `began` is when it was claimed, `died` why
/// a delivery ended as dead.
pub fn update(
    write: &mut Write<'_>,
    finish: &Finish,
    (began, died): (Timestamp, Option<&str>),
) -> Result<OperatorEvents, Error> {
    let id = finish.destination;
    let mut events = match &finish.result.endpoint_signal {
        EndpointSignal::Neutral => OperatorEvents::default(),
        EndpointSignal::Success => succeeded(write, id, if finish.mode == Mode::Probe { write.now } else { began })?,
        // A failure from before it recovered, or with other settings, is reported late and concerns the destination as
        // it was.
        EndpointSignal::Failure { .. } | EndpointSignal::Gone { .. }
            if lock(write, id)?.health().is_stale_request(began) =>
        {
            OperatorEvents::default()
        }
        EndpointSignal::Failure { pause_ms } => failed(write, finish, *pause_ms)?,
        EndpointSignal::Gone { reason } => disable(write, id, reason)?,
    };
    if let Some(error) = died {
        events.add(announce_exhausted(
            write,
            finish.destination,
            format!("a delivery failed for the last time: {error}"),
        )?);
    }
    Ok(events)
}

fn succeeded(write: &mut Write<'_>, id: DestinationId, began: Timestamp) -> Result<OperatorEvents, Error> {
    // Most requests succeed at a healthy destination: nothing is locked then, and nothing written.
    if find(write.connection, id)?.health().succeeded(began, write.now).is_none() {
        return Ok(OperatorEvents::default());
    }
    let Some((row, destination)) = locked(write, id)? else { return Ok(OperatorEvents::default()) };
    let Some(judged) = row.health().succeeded(began, write.now) else { return Ok(OperatorEvents::default()) };
    store(write, id, (&judged.health, None))?;
    conclude(write, destination, &judged, None)
}

fn failed(write: &mut Write<'_>, finish: &Finish, pause_ms: Option<i64>) -> Result<OperatorEvents, Error> {
    let id = finish.destination;
    let Some((row, destination)) = locked(write, id)? else { return Ok(OperatorEvents::default()) };
    let key = finish.key.to_string();
    let error = error(finish);
    let is_another = row.last_failed_key() != Some(key.as_str());
    let failure = Failure { is_another, pause_ms, patience_ms: finish.patience_ms };
    let judged = row.health().failed(failure, write.now);
    store(write, id, (&judged.health, Some((finish.key, error.as_str()))))?;
    let reason = match judged.state {
        State::Disabled => {
            format!("nothing went well for {}: {error}", time_without_success(&judged.health, write.now))
        }
        _ => error,
    };
    conclude(write, destination, &judged, Some(&reason))
}

fn disable(write: &mut Write<'_>, id: DestinationId, reason: &str) -> Result<OperatorEvents, Error> {
    let Some((row, destination)) = locked(write, id)? else { return Ok(OperatorEvents::default()) };
    let health = Health { is_announced: true, ..row.health() };
    store(write, id, (&health, None))?;
    let judged = Assessment { health, state: State::Disabled, notices: vec![Notice::Disabled] };
    conclude(write, destination, &judged, Some(reason))
}

/// Notifies operators why a delivery died; of many, once in a while.
pub fn announce_exhausted(write: &mut Write<'_>, id: DestinationId, reason: String) -> Result<OperatorEvents, Error> {
    lock(write, id)?;
    let Some(destination) = destinations::find(write.connection, id)? else { return Ok(OperatorEvents::default()) };
    let last = operators::last(write.connection, id, DESTINATION_EXHAUSTED)?;
    if last.is_some_and(|last| write.now.millis_since(last.created_at) < EXHAUSTED_EVERY_MS) {
        return Ok(OperatorEvents::default());
    }
    let destination = destination.destination();
    alarm(write, &destination, &reason)?;
    operators::announce(
        write,
        &destination,
        &OperatorNotice { event_type: DESTINATION_EXHAUSTED, reason: Some(reason) },
    )
}

/// A destination that is enabled, its health locked.
fn locked(write: &mut Write<'_>, id: DestinationId) -> Result<Option<(HealthRow, DestinationRow)>, Error> {
    let row = lock(write, id)?;
    let destination = destinations::find(write.connection, id)?.filter(|found| found.enabled);
    Ok(destination.map(|destination| (row, destination)))
}

/// What was wrong with a request, for people.
fn error(finish: &Finish) -> String {
    let failed = finish.result.events.iter().find(|result| result.error.is_some()).or(finish.result.events.first());
    let error = failed.map(|result| result.error.clone().unwrap_or_else(|| result.class.to_owned()));
    crate::db::statement::clean(&error.unwrap_or_else(|| "the request failed".to_owned())).into_owned()
}

/// Stores the health. A failure is stored with its purchase and the error.
fn store(
    write: &mut Write<'_>,
    id: DestinationId,
    (health, failure): (&Health, Option<(CollapseKey, &str)>),
) -> Result<(), Error> {
    sql("UPDATE health SET failures = ?, last_failed_key = ?, last_error = COALESCE(?, last_error), \
         first_failure_at = ?, last_failure_at = ?, last_success_at = ?, opened_at = ?, probed_at = ?, \
         recovered_at = ?, retry_requested_at = ?, paused_until = ?, warned = ?, is_announced = ? WHERE destination_id = ?")
    .bind(health.failures)
    .bind(failure.map(|(key, _)| key))
    .bind(failure.map(|(_, error)| error))
    .bind(health.first_failure_at)
    .bind(health.last_failure_at)
    .bind(health.last_success_at)
    .bind(health.opened_at)
    .bind(health.probed_at)
    .bind(health.recovered_at)
    .bind(health.retry_requested_at)
    .bind(health.paused_until)
    .bind(health.warned)
    .bind(health.is_announced)
    .bind(id)
    .run(write.connection)
    .map(drop)
}

/// Stores the new state and notifies operators.
fn conclude(
    write: &mut Write<'_>,
    row: DestinationRow,
    judged: &Assessment,
    reason: Option<&str>,
) -> Result<OperatorEvents, Error> {
    let before = row.destination();
    if before.state != judged.state {
        destinations::set_state(write, before.id, judged.state, reason)?;
    }
    let mut events = OperatorEvents::default();
    if judged.notices.is_empty() {
        return Ok(events);
    }
    let Some(now) = destinations::find(write.connection, before.id)? else { return Ok(events) };
    let now = now.destination();
    if judged.notices.contains(&Notice::Disabled) {
        alarm(write, &now, &format!("it is disabled: {}", reason.unwrap_or_default()))?;
    }
    if judged.notices.contains(&Notice::Opened) {
        let why = reason.unwrap_or_default();
        alarm(write, &now, &format!("its breaker is open, it is only tried every half minute: {why}"))?;
    }
    for announcement in &judged.notices {
        let (event_type, reason) = match announcement {
            Notice::Opened => (DESTINATION_FAILING, reason.map(str::to_owned)),
            Notice::Warned { percent } => (DESTINATION_FAILING, Some(warning(*percent, (judged, write.now), reason))),
            Notice::Recovered => (DESTINATION_RECOVERED, None),
            Notice::Disabled => (DESTINATION_DISABLED, reason.map(str::to_owned)),
        };
        events.add(operators::announce(write, &now, &OperatorNotice { event_type, reason })?);
    }
    Ok(events)
}

/// Raises an alarm for people, whoever else is notified.
fn alarm(write: &mut Write<'_>, destination: &Destination, what: &str) -> Result<(), Error> {
    let Destination { id, name, .. } = destination;
    alarms::raise(write, None, "destination", &format!("{name} ({id}): {what}"))
}

/// The warning to operators before the destination is disabled.
fn warning(percent: i64, (judged, now): (&Assessment, Timestamp), error: Option<&str>) -> String {
    format!(
        "nothing went well for {}, {percent} % of the time after which it is disabled: {}",
        time_without_success(&judged.health, now),
        error.unwrap_or_default()
    )
}

/// How long there was no success, for people.
fn time_without_success(health: &Health, now: Timestamp) -> String {
    let minutes = health.well_at().map_or(0, |at| now.millis_since(at) / 60_000);
    format!("{} h {} min", minutes / 60, minutes % 60)
}
