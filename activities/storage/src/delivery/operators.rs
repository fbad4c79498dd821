//! Events for operators about a destination. They are queued for the other destinations of its app that chose them,
//! never for the destination itself.

use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::settings::destinations::{self, Destination};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::event::DestinationEvent;
use domain::health::Health;
use domain::{CollapseKey, DestinationId, EventId, Timestamp};

/// An operator event to be recorded.
pub struct OperatorNotice {
    pub event_type: &'static str,
    pub reason: Option<String>,
}

/// The recorded operator events, and the destinations for which they were queued.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorEvents {
    /// The types of the events, in the order of recording.
    pub events: Vec<&'static str>,
    /// The destinations for which the events were queued, each once.
    pub queued_for: Vec<DestinationId>,
}

row! {
    /// The last operator event of one type with one collapse key.
    pub struct Last {
        pub revision: i64,
        pub created_at: Timestamp,
    }
}

impl OperatorEvents {
    /// Appends other events, and each destination that is not in the list yet.
    pub fn add(&mut self, other: Self) {
        self.events.extend(other.events);
        for id in other.queued_for {
            if !self.queued_for.contains(&id) {
                self.queued_for.push(id);
            }
        }
    }
}

/// Returns the collapse key of the events about a destination: the destination's id.
pub const fn lane_of(id: DestinationId) -> CollapseKey {
    CollapseKey::new(id.uuid())
}

const LAST: Sql = statement! {hot "events_of_key", "
    SELECT revision, created_at
    FROM events
    WHERE collapse_key = ? AND event_type = ?
    ORDER BY seq DESC
    LIMIT 1
"};

/// Returns the last event of a type with this collapse key.
pub fn last(
    connection: &mut AnyConnection,
    key: CollapseKey,
    event_type: &str,
) -> Result<Option<Last>, Error> {
    sql(LAST).bind(key).bind(event_type).first(connection)
}

/// Records an event about a destination, whose health must be locked. The event's revision counts the destination's
/// events of this type.
pub fn announce(
    write: &mut Write<'_>,
    concerned: &Destination,
    health: &Health,
    notice: &OperatorNotice,
) -> Result<OperatorEvents, Error> {
    let key = lane_of(concerned.id);
    let revision =
        last(write.connection, key, notice.event_type)?.map_or(1, |last| last.revision + 1);
    let event = Event {
        id: EventId::of(key, write.epoch()?, revision, notice.event_type, 0),
        event_type: notice.event_type.to_owned(),
        collapse_key: key,
        revision,
        traceparent: None,
    };
    let body = body(write, concerned, health, &event, notice)?;
    insert(write, &event, StoredEvent::of(concerned.app_id, body))?;
    let mut events = OperatorEvents {
        events: vec![notice.event_type],
        queued_for: Vec::new(),
    };
    for other in destinations::of_app(write.connection, concerned.app_id)? {
        if other.id != concerned.id && other.chose(notice.event_type) {
            deliveries::queue(write, &event, other.id)?;
            events.queued_for.push(other.id);
        }
    }
    Ok(events)
}

fn body(
    write: &mut Write<'_>,
    concerned: &Destination,
    health: &Health,
    event: &Event,
    notice: &OperatorNotice,
) -> Result<String, Error> {
    let now = write.now()?;
    let event = DestinationEvent {
        id: event.id,
        event_type: notice.event_type,
        created_at: now,
        destination: concerned.id,
        app: concerned.app_id,
        name: &concerned.name,
        kind: &concerned.kind,
        state: concerned.state,
        reason: notice.reason.as_deref(),
        since: concerned.since,
        failures: health.failures,
        pending: deliveries::pending(write.connection, concerned.id)?,
    };
    Ok(event.body().to_string())
}
