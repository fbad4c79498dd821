//! The rows of device events, and of their deliveries to destinations.

use crate::devices::rows::{Origins, SIZES};
use crate::settings::destinations::Destination;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Value, batches, clean, row, sql};
use db::writer::Write;
use domain::device::DeviceEventKind;
use domain::{DeviceId, DevicePlace, Environment, EventId, PlatformId, SessionId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// An event to be stored.
pub struct NewEvent {
    pub id: EventId,
    pub place: DevicePlace,
    /// The app's own id of the event.
    pub client_id: String,
    pub kind: DeviceEventKind,
    pub session: Option<SessionId>,
    pub environment: Environment,
    /// When the event happened, by settle's clock.
    pub occurred_at: Timestamp,
    pub body: String,
}

/// Sizes of rows in bytes, as SQLite and PostgreSQL store them, with their index entries and without the texts that are
/// counted separately: of an event, of one of its deliveries, and of a session.
const EVENT_BYTES: usize = 450;
const DELIVERY_BYTES: usize = 270;
pub const SESSION_BYTES: usize = 300;

/// The identity of an event: a device uses each of its own ids once.
pub type Identity = (DevicePlace, String);

row! {
    struct Inserted {
        seq: i64,
        platform_id: PlatformId,
        device_id: DeviceId,
        client_id: String,
    }
}

const INSERT: Sql = statement! {"
    INSERT INTO device_events (id, platform_id, device_id, client_id, event_type, session_id, environment,
        occurred_at, body, created_at)
    VALUES ?*
    ON CONFLICT DO NOTHING
    RETURNING seq, platform_id, device_id, client_id
"};

/// Stores events in this order, and queues each for the destinations that chose its type. Returns the identities of the
/// new ones.
pub fn insert(
    write: &mut Write<'_>,
    events: &[NewEvent],
    origins: &Origins,
) -> Result<BTreeSet<Identity>, Error> {
    let mut seqs = BTreeMap::new();
    let now = write.now()?;
    for batch in batches(events, &SIZES) {
        let rows = batch.iter().map(|event| event.values(now));
        let inserted: Vec<Inserted> = sql(INSERT).bind_rows(rows).all(write.connection)?;
        seqs.extend(inserted.into_iter().map(|row| {
            let place = DevicePlace {
                platform: row.platform_id,
                device: row.device_id,
            };
            ((place, row.client_id), row.seq)
        }));
    }
    let mut pending = Vec::new();
    for event in events {
        let Some(seq) = seqs.get(&event.identity()) else {
            continue;
        };
        let choosers = event.choosers(origins);
        pending.extend(choosers.map(|one| {
            [
                one.id.into(),
                (*seq).into(),
                event.place.device.into(),
                now.into(),
            ]
        }));
    }
    queue(write, &pending)?;
    Ok(seqs.into_keys().collect())
}

impl NewEvent {
    /// Returns the event's identity, as stored.
    pub fn identity(&self) -> Identity {
        (self.place, clean(&self.client_id).into_owned())
    }

    /// Returns the destinations that chose the event's type.
    pub fn choosers<'o>(&self, origins: &'o Origins) -> impl Iterator<Item = &'o Destination> {
        let kind = self.kind.as_str();
        let all = origins
            .get(&self.place.platform)
            .into_iter()
            .flat_map(|origin| &origin.destinations);
        all.filter(move |one| one.chose(kind))
    }

    /// Returns the approximate number of bytes that the event takes in the database, with its deliveries.
    pub fn stored_bytes(&self, origins: &Origins) -> usize {
        let ids = 2 * self.client_id.len();
        EVENT_BYTES + ids + self.body.len() + DELIVERY_BYTES * self.choosers(origins).count()
    }

    fn values(&self, now: Timestamp) -> [Value<'_>; 10] {
        [
            self.id.into(),
            self.place.platform.into(),
            self.place.device.into(),
            self.client_id.as_str().into(),
            self.kind.as_str().into(),
            self.session.into(),
            self.environment.into(),
            self.occurred_at.into(),
            self.body.as_str().into(),
            now.into(),
        ]
    }
}

const QUEUE: Sql = statement! {"
    INSERT INTO device_deliveries (destination_id, event_seq, device_id, next_due_at, status, attempts)
    VALUES ?*
"};

fn queue(write: &mut Write<'_>, pending: &[[Value<'_>; 4]]) -> Result<(), Error> {
    for batch in batches(pending, &SIZES) {
        let rows = batch.iter().map(|[destination, seq, device, due_at]| {
            [
                destination.clone(),
                seq.clone(),
                device.clone(),
                due_at.clone(),
                "pending".into(),
                0_i64.into(),
            ]
        });
        sql(QUEUE).bind_rows(rows).later(write.connection)?;
    }
    Ok(())
}
