//! Owing an event again: whether it may be, and the one way to do it.
//!
//! A destination with requests in the order of its user counts what it receives, and recognizes an event by its id for
//! seven days. It never gets an event twice: within that time it would drop it, after that time it would count it
//! twice.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::statement::{Number, Statement, row, sql};
use crate::db::writer::Write;
use crate::events::deliveries::{self, Event, UNCLEAR};
use crate::purchases::purchase::{self, Origin};
use crate::settings::destinations::Destination;
use crate::settling::payments;
use domain::attempt::REPEATED_MS;
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use domain::user::PROFILE_UPDATED;
use domain::{CollapseKey, DestinationId, Environment, EventId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why an event was not owed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// A newer state of the same purchase stands for it.
    Superseded,
    /// The destination does not choose such events, or those of this platform.
    NotChosen,
    /// It is owed already.
    AlreadyOwed,
    /// The destination acknowledged it, or a newer state, since.
    Acknowledged,
    /// The destination has it, and would count it twice.
    Counted,
    /// The destination may have it, and would not recognize it any more.
    MayBeCounted,
    /// Its body was removed, for its age.
    Pruned,
    /// It is an event about a destination: such events are announced once.
    Operators,
    /// The destination was deleted.
    Deleted,
    /// There is no such purchase, or nothing was announced of it yet.
    Unknown,
}

/// The events that are owed again, and those that are not, with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owing {
    /// How many deliveries are owed now that were not before; of a dry run, would be.
    pub owed: i64,
    /// How many were not, by the reason.
    pub skipped: BTreeMap<Skipped, i64>,
    /// The destinations whose lanes have something to deliver.
    pub destinations: Vec<DestinationId>,
}

/// When an event is owed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// Only if the destination did not acknowledge it, or a newer state, meanwhile.
    Unacknowledged,
}

row! {
    /// The deliveries of an event to a destination.
    struct PastDeliveries {
        open: i64,
        delivered: i64,
        next_n: i64,
    }
}

row! {
    struct EventEnvironment {
        environment: Option<Environment>,
    }
}

row! {
    struct Pruned {
        pruned_at: Option<Timestamp>,
    }
}

impl Owing {
    /// Counts an event that is not owed.
    pub fn skip(&mut self, why: Skipped) {
        *self.skipped.entry(why).or_default() += 1;
    }

    /// Counts the verdict on an event.
    pub fn count(&mut self, destination: DestinationId, verdict: Result<u32, Skipped>) {
        match verdict {
            Ok(_) => {
                self.owed += 1;
                self.add_destination(destination);
            }
            Err(why) => self.skip(why),
        }
    }

    /// Adds a destination whose lanes have something to deliver.
    pub fn add_destination(&mut self, destination: DestinationId) {
        if !self.destinations.contains(&destination) {
            self.destinations.push(destination);
        }
    }
}

/// Whether an event of a purchase may be owed to a destination again, as its `n`th delivery.
pub fn verdict(
    connection: &mut AnyConnection,
    (event, origin): (&Event, &Origin),
    (destination, condition): (&Destination, Condition),
    now: Timestamp,
) -> Result<Result<u32, Skipped>, Error> {
    if !is_for(connection, (event, origin), destination)? {
        return Ok(Err(Skipped::NotChosen));
    }
    let past = past(connection, event.id, destination.id)?;
    if past.open > 0 {
        return Ok(Err(Skipped::AlreadyOwed));
    }
    let is_acknowledged = past.delivered > 0 || has_state(connection, event, destination.id)?;
    if condition == Condition::Unacknowledged && is_acknowledged {
        return Ok(Err(Skipped::Acknowledged));
    }
    if destination.per_user && past.delivered > 0 {
        return Ok(Err(Skipped::Counted));
    }
    let unclear = if destination.per_user { unclear_since(connection, event.id, destination.id)? } else { None };
    if unclear.is_some_and(|since| since.plus_millis(REPEATED_MS) <= now) {
        return Ok(Err(Skipped::MayBeCounted));
    }
    if is_pruned(connection, event)? {
        return Ok(Err(Skipped::Pruned));
    }
    Ok(Ok(u32::try_from(past.next_n).unwrap_or(u32::MAX)))
}

/// Whether events of this type are for a destination: because it chose them, or because they follow from what else it is
/// owed, and it wants those of this platform and environment. What changes a payment goes where that went.
fn is_for(
    connection: &mut AnyConnection,
    (event, origin): (&Event, &Origin),
    destination: &Destination,
) -> Result<bool, Error> {
    let is_for = match event.event_type.as_str() {
        REVENUE_ADJUSTED => return payments::is_implied(connection, event.id, destination),
        PROFILE_UPDATED => destination.profile.is_some(),
        event_type => destination.chose(event_type),
    };
    let environment = environment(connection, event.id)?.unwrap_or(origin.environment);
    Ok(is_for && destination.filter.wants(origin.platform_id, environment))
}

/// Carries out the verdict. The purchase is locked. Changes of a payment go where the payment goes again: they were not
/// sent there while the payment was not.
pub fn owe(
    write: &mut Write<'_>,
    (event, origin): (&Event, &Origin),
    to @ (destination, _): (&Destination, Condition),
) -> Result<Result<u32, Skipped>, Error> {
    let verdict = owe_one(write, (event, origin), to)?;
    if verdict.is_ok() && destination.per_user {
        for change in payments::changes(write.connection, event.id)? {
            let _: Result<u32, Skipped> = owe_one(write, (&change, origin), to)?;
        }
    }
    Ok(verdict)
}

fn owe_one(
    write: &mut Write<'_>,
    (event, origin): (&Event, &Origin),
    (destination, condition): (&Destination, Condition),
) -> Result<Result<u32, Skipped>, Error> {
    // Retention locks the rows that it prunes: either it sees what is owed here, or this sees that it pruned.
    let lock = write.connection.for_update();
    let _: Vec<Pruned> = sources(event, lock).all(write.connection)?;
    let verdict = verdict(write.connection, (event, origin), (destination, condition), write.now)?;
    if let Ok(n) = verdict {
        deliveries::owe(write, event, destination.id, n)?;
        copy_first_try(write, event.id, (destination, n))?;
    }
    Ok(verdict)
}

/// Locks a purchase, if there is one, and answers what it belongs to.
pub fn lock(write: &mut Write<'_>, key: CollapseKey) -> Result<Option<Origin>, Error> {
    let Some(origin) = purchase::origin(write.connection, key)? else { return Ok(None) };
    if purchase::find(write.connection, key)?.is_none() {
        return Ok(None);
    }
    purchase::lock(write, key)?;
    Ok(Some(origin))
}

/// The environment in which an event of a purchase was recorded, which decided the destinations that were owed it.
pub fn environment(connection: &mut AnyConnection, event: EventId) -> Result<Option<Environment>, Error> {
    let recorded: Option<EventEnvironment> =
        sql("SELECT environment FROM events WHERE id = ?").bind(event).first(connection)?;
    Ok(recorded.and_then(|recorded| recorded.environment))
}

fn past(connection: &mut AnyConnection, event: EventId, destination: DestinationId) -> Result<PastDeliveries, Error> {
    let past = sql("SELECT COUNT(CASE WHEN status IN ('pending', 'waiting') THEN 1 END) AS open, \
         COUNT(CASE WHEN status = 'delivered' THEN 1 END) AS delivered, COALESCE(MAX(n) + 1, 0) AS next_n \
         FROM deliveries WHERE event_id = ? AND destination_id = ?")
    .bind(event)
    .bind(destination)
    .first(connection)?;
    Ok(past.unwrap_or(PastDeliveries { open: 0, delivered: 0, next_n: 0 }))
}

/// Whether a state is not newer than what the destination acknowledged.
fn has_state(connection: &mut AnyConnection, event: &Event, destination: DestinationId) -> Result<bool, Error> {
    if event.event_type != PURCHASE_UPDATED {
        return Ok(false);
    }
    let acked: Option<Number> = sql("SELECT acked_revision AS value FROM lanes WHERE destination_id = ? \
         AND collapse_key = ? AND acked_revision IS NOT NULL")
    .bind(destination)
    .bind(event.collapse_key)
    .first(connection)?;
    Ok(acked.is_some_and(|acked| acked.value >= event.revision))
}

/// Since when the destination may have the event although it did not confirm it.
fn unclear_since(
    connection: &mut AnyConnection,
    event: EventId,
    destination: DestinationId,
) -> Result<Option<Timestamp>, Error> {
    let first: Option<Number> = sql(format!(
        "SELECT a.started_at AS value FROM deliveries d JOIN attempts a ON a.delivery_id = d.id \
         WHERE d.event_id = ? AND d.destination_id = ? AND {UNCLEAR} ORDER BY a.started_at LIMIT 1"
    ))
    .bind(event)
    .bind(destination)
    .first(connection)?;
    Ok(first.map(|first| Timestamp::from_micros(first.value)))
}

/// The time after which the event would not be recognized runs from the first try of all, whatever delivery it was of.
fn copy_first_try(write: &mut Write<'_>, event: EventId, (destination, n): (&Destination, u32)) -> Result<(), Error> {
    if !destination.per_user {
        return Ok(());
    }
    let Some(since) = unclear_since(write.connection, event, destination.id)? else { return Ok(()) };
    sql("UPDATE deliveries SET first_tried_at = ? WHERE event_id = ? AND destination_id = ? AND n = ?")
        .bind(since)
        .bind(event)
        .bind(destination.id)
        .bind(i64::from(n))
        .run(write.connection)
        .map(drop)
}

fn is_pruned(connection: &mut AnyConnection, event: &Event) -> Result<bool, Error> {
    let rows: Vec<Pruned> = sources(event, "").all(connection)?;
    Ok(rows.iter().any(|row| row.pruned_at.is_some()))
}

/// The rows that a body is rendered from: the event, and the state that was announced with it.
fn sources<'e>(event: &'e Event, lock: &str) -> Statement<'e> {
    sql(format!(
        "SELECT pruned_at FROM events WHERE collapse_key = ? AND (id = ? OR (revision = ? AND event_type = ?)) \
         ORDER BY seq{lock}"
    ))
    .bind(event.collapse_key)
    .bind(event.id)
    .bind(event.revision)
    .bind(PURCHASE_UPDATED)
}

/// The newest `purchase.updated`.
pub fn newest_event(connection: &mut AnyConnection, key: CollapseKey) -> Result<Option<Event>, Error> {
    sql("SELECT id, event_type, collapse_key, revision, traceparent FROM events \
         WHERE collapse_key = ? AND event_type = ? ORDER BY seq DESC LIMIT 1")
    .bind(key)
    .bind(PURCHASE_UPDATED)
    .first(connection)
}
