//! The rules that need more than one statement: the number of notifications in the body of a `purchase.updated`, and
//! the destinations for which an event should have been queued.

use super::range::{DELIVERIES, DEVICE_EVENTS, EVENTS, Range};
use crate::reports::choosers::{self, Chooser, MARGIN};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::device::claim::CLAIM_STORE_TYPE;
use domain::time::millis;
use domain::{AppId, DestinationId, Environment, EventId, PlatformId, Timestamp};
use serde_json::Value;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

/// How long after its deletion a destination may still have pending deliveries, in milliseconds.
const DELETED_MS: i64 = 600_000;

row! {
    struct Updated {
        id: EventId,
        body: String,
        settled: i64,
    }
}

row! {
    struct EventDelivery {
        id: EventId,
        event_type: String,
        created_at: Timestamp,
        app_id: AppId,
        platform_id: PlatformId,
        environment: Environment,
        destination_id: Option<DestinationId>,
    }
}

const COALESCED: Sql = statement! {hot "notifications_of_key", "
    SELECT e.id, e.body, (SELECT COUNT(*) FROM notifications n WHERE n.collapse_key = e.collapse_key
        AND n.outcome = 'settled' AND n.revision = e.revision AND n.store_type <> '{CLAIM_STORE_TYPE}') AS settled
    FROM events e
    WHERE {EVENTS} AND e.event_type = 'purchase.updated'
    ORDER BY e.seq
"};

/// Checks the rule `coalesced_adds_up`.
pub fn coalesced(connection: &mut AnyConnection, range: &Range) -> Result<Vec<String>, Error> {
    let rows: Vec<Updated> = sql(COALESCED)
        .bind_all(range.values.clone())
        .all(connection)?;
    // A pruned body keeps `coalesced`. An unreadable body breaks the rule.
    let counted = |row: &Updated| {
        serde_json::from_str::<Value>(&row.body)
            .ok()?
            .pointer("/attributes/coalesced")
            .and_then(Value::as_i64)
    };
    let differs = |row: &Updated| counted(row) != Some(row.settled);
    Ok(rows
        .iter()
        .filter(|row| differs(row))
        .map(|row| row.id.to_string())
        .collect())
}

const TO_DELETED: Sql = statement! {"
    SELECT d.id AS value
    FROM deliveries d
    JOIN destinations x ON x.id = d.destination_id
    WHERE {DELIVERIES} AND d.status IN ('pending', 'waiting') AND x.deleted_at < ?
        AND d.created_at < ?
    ORDER BY d.seq
"};

/// Checks the rule `nothing_is_pending_for_the_deleted`.
pub fn to_deleted(connection: &mut AnyConnection, range: &Range) -> Result<Vec<String>, Error> {
    let before = range.now.plus_millis(-DELETED_MS);
    sql(TO_DELETED)
        .bind_all(range.values.clone())
        .bind(before)
        .bind(before)
        .values(connection)
}

const QUEUED: Sql = statement! {"
    SELECT e.id, e.event_type, e.created_at, p.app_id, p.platform_id, e.environment, d.destination_id
    FROM events e
    JOIN purchases p ON p.collapse_key = e.collapse_key AND e.environment IS NOT NULL
    LEFT
    JOIN deliveries d ON d.event_id = e.id
    WHERE {EVENTS} AND e.created_at < ?
    ORDER BY e.seq
"};

/// Checks the rule `an_event_was_queued`, for events about purchases only, not for operator events.
pub fn queued(connection: &mut AnyConnection, range: &Range) -> Result<Vec<String>, Error> {
    missing(connection, range, QUEUED)
}

const OF_DEVICES: Sql = statement! {"
    SELECT e.id, e.event_type, e.created_at, f.app_id, e.platform_id, e.environment, d.destination_id
    FROM device_events e
    JOIN platforms f ON f.id = e.platform_id
    LEFT
    JOIN device_deliveries d ON d.event_seq = e.seq
    WHERE {DEVICE_EVENTS} AND e.created_at < ?
    ORDER BY e.seq
"};

/// Checks the rule `a_device_event_was_queued`.
pub fn of_devices(connection: &mut AnyConnection, range: &Range) -> Result<Vec<String>, Error> {
    missing(connection, range, OF_DEVICES)
}

/// Returns the events of a statement that should have been queued for a destination but were not, each with the
/// destination.
fn missing(
    connection: &mut AnyConnection,
    range: &Range,
    events: Sql,
) -> Result<Vec<String>, Error> {
    let mut choosers: BTreeMap<AppId, Vec<Chooser>> = BTreeMap::new();
    let before = range.now.plus_millis(-millis(MARGIN));
    let rows: Vec<EventDelivery> = sql(events)
        .bind_all(range.values.clone())
        .bind(before)
        .all(connection)?;
    let mut missing = Vec::new();
    for event in rows.chunk_by(|a, b| a.id == b.id) {
        let Some(first) = event.first() else { continue };
        let queued_for: HashSet<DestinationId> =
            event.iter().filter_map(|row| row.destination_id).collect();
        let all = match choosers.entry(first.app_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(choosers::of_app(connection, first.app_id)?),
        };
        let without = all
            .iter()
            .filter(|one| expects(one, first) && !queued_for.contains(&one.destination.id));
        missing.extend(without.map(|one| format!("{} to {}", first.id, one.destination.id)));
    }
    Ok(missing)
}

/// Whether a destination must have a delivery of an event.
fn expects(chooser: &Chooser, event: &EventDelivery) -> bool {
    let Chooser {
        destination,
        deleted_at,
        ..
    } = chooser;
    destination.chose(&event.event_type)
        && destination
            .filter
            .wants(event.platform_id, event.environment)
        && event.created_at > chooser.known_from()
        && deleted_at.is_none_or(|at| event.created_at.plus(MARGIN) < at)
}

const RESET_CHOICE: Sql = statement!("UPDATE destinations SET chosen_at = ? WHERE id = ?");

/// Records that the subscription of a destination changes now. The earlier subscription is not stored.
pub fn reset_choice(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    sql(RESET_CHOICE)
        .bind(write.now()?)
        .bind(id)
        .run(write.connection)
        .map(drop)
}

const RESET_CHOICES_OF_PLATFORM: Sql = statement! {"
    UPDATE destinations
    SET chosen_at = ?
    WHERE app_id = (SELECT app_id FROM platforms WHERE id = ?)
"};

/// Records a changed subscription for all destinations of a platform's app, because their filters now match other
/// purchases.
pub fn reset_choices_of_platform(write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
    sql(RESET_CHOICES_OF_PLATFORM)
        .bind(write.now()?)
        .bind(platform)
        .run(write.connection)
        .map(drop)
}
