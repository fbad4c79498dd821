//! The rules that need more than a statement: what the body of an event counts, and the destinations that were owed it.

use super::walk::{DELIVERIES, EVENTS, Range};
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{SingleText, row, sql};
use crate::db::writer::Write;
use crate::settings::destinations::{self, Destination};
use domain::{AppId, DestinationId, Environment, EventId, PlatformId, Timestamp};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

/// A choice and an event that were written at the same moment may not have seen each other, so rows this close to a
/// change, or to now, are not checked.
const MARGIN_MS: i64 = 60_000;
/// How long after its deletion a destination may still be owed what nobody has ended yet.
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

row! {
    struct Choice {
        id: DestinationId,
        chosen_at: Option<Timestamp>,
        deleted_at: Option<Timestamp>,
    }
}

const COALESCED: Sql = statement! {hot "notifications_of_key", "
    SELECT e.id, e.body, (SELECT COUNT(*) FROM notifications n WHERE n.collapse_key = e.collapse_key
        AND n.outcome = 'settled' AND n.revision = e.revision) AS settled
    FROM events e
    WHERE {EVENTS} AND e.event_type = 'purchase.updated'
    ORDER BY e.seq
"};

/// `coalesced_adds_up`.
pub fn coalesced(connection: &mut AnyConnection, range: &Range<'_>) -> Result<Vec<String>, Error> {
    let rows: Vec<Updated> = sql(COALESCED).bind_all(range.values()).all(connection)?;
    let differs = |row: &Updated| counted(&row.body) != Some(row.settled);
    Ok(rows.iter().filter(|row| differs(row)).map(|row| row.id.to_string()).collect())
}

const TO_DELETED: Sql = statement! {"
    SELECT d.id AS value
    FROM deliveries d
    JOIN destinations x ON x.id = d.destination_id
    WHERE {DELIVERIES} AND d.status IN ('pending', 'waiting') AND x.deleted_at < ?
        AND d.created_at < ?
    ORDER BY d.seq
"};

/// `nothing_is_owed_to_the_deleted`.
pub fn to_deleted(connection: &mut AnyConnection, range: &Range<'_>) -> Result<Vec<String>, Error> {
    let before = range.now.plus_millis(-DELETED_MS);
    let rows: Vec<SingleText> = sql(TO_DELETED).bind_all(range.values()).bind(before).bind(before).all(connection)?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// How many notifications a body counts; it does so even when it is pruned.
fn counted(body: &str) -> Option<i64> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    body.pointer("/attributes/coalesced")?.as_i64()
}

const OWED: Sql = statement! {"
    SELECT e.id, e.event_type, e.created_at, p.app_id, p.platform_id, e.environment, d.destination_id
    FROM events e
    JOIN purchases p ON p.collapse_key = e.collapse_key AND e.environment IS NOT NULL
    LEFT
    JOIN deliveries d ON d.event_id = e.id
    WHERE {EVENTS} AND e.created_at < ?
    ORDER BY e.seq
"};

/// `an_event_was_owed`. Events about destinations are not checked: they are announced once, and no destination plans
/// for them.
pub fn owed(connection: &mut AnyConnection, range: &Range<'_>) -> Result<Vec<String>, Error> {
    let mut choosers: BTreeMap<AppId, Vec<Chooser>> = BTreeMap::new();
    let rows: Vec<EventDelivery> =
        sql(OWED).bind_all(range.values()).bind(range.now.plus_millis(-MARGIN_MS)).all(connection)?;
    let mut missing = Vec::new();
    for event in rows.chunk_by(|a, b| a.id == b.id) {
        let Some(first) = event.first() else { continue };
        let owed_to: HashSet<DestinationId> = event.iter().filter_map(|row| row.destination_id).collect();
        let all = match choosers.entry(first.app_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(of_app(connection, first.app_id)?),
        };
        let forgotten = all.iter().filter(|one| one.expects(first) && !owed_to.contains(&one.destination.id));
        missing.extend(forgotten.map(|one| format!("{} to {}", first.id, one.destination.id)));
    }
    Ok(missing)
}

/// A destination, and from when until when its choice is known to have been what it is.
struct Chooser {
    destination: Destination,
    since: Timestamp,
    until: Option<Timestamp>,
}

impl Chooser {
    fn expects(&self, event: &EventDelivery) -> bool {
        self.destination.chose(&event.event_type)
            && self.destination.filter.wants(event.platform_id, event.environment)
            && event.created_at > self.since.plus_millis(MARGIN_MS)
            && self.until.is_none_or(|until| event.created_at < until.plus_millis(-MARGIN_MS))
    }
}

const DESTINATIONS_OF_APP: Sql = statement!("SELECT id, chosen_at, deleted_at FROM destinations WHERE app_id = ?");

/// The destinations of an app. What they choose is read before since when they do: a change between the two makes the
/// rule silent and not wrong.
fn of_app(connection: &mut AnyConnection, app: AppId) -> Result<Vec<Chooser>, Error> {
    let destinations = destinations::ever_of_app(connection, app)?;
    let choices: Vec<Choice> = sql(DESTINATIONS_OF_APP).bind(app).all(connection)?;
    let choices: BTreeMap<DestinationId, Choice> = choices.into_iter().map(|choice| (choice.id, choice)).collect();
    let chooser = |destination: Destination| {
        let choice = choices.get(&destination.id);
        let chosen_at = choice.and_then(|choice| choice.chosen_at);
        let since = chosen_at.map_or(destination.created_at, |at| at.max(destination.created_at));
        Chooser { destination, since, until: choice.and_then(|choice| choice.deleted_at) }
    };
    Ok(destinations.into_iter().map(chooser).collect())
}

const RESET_CHOICE: Sql = statement!("UPDATE destinations SET chosen_at = ? WHERE id = ?");

/// Notes that a destination has a new choice from now on: its choice before is not known any more.
pub fn reset_choice(write: &mut Write<'_>, id: DestinationId) -> Result<(), Error> {
    sql(RESET_CHOICE).bind(write.now).bind(id).run(write.connection).map(drop)
}

const RESET_CHOICES_OF_PLATFORM: Sql = statement! {"
    UPDATE destinations
    SET chosen_at = ?
    WHERE app_id = (SELECT app_id FROM platforms WHERE id = ?)
"};

/// Notes a new choice of all destinations of a platform's app: what their filters match has changed.
pub fn reset_choices_of_platform(write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
    sql(RESET_CHOICES_OF_PLATFORM).bind(write.now).bind(platform).run(write.connection).map(drop)
}
