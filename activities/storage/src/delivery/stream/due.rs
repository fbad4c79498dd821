//! The events of a stream that are due, and how long those that are not due have to wait.

use super::{StreamLease, StreamWait, StreamedEvent};
use crate::delivery::lanes::Mode;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::PENDING_OF_BATCH;
use db::sql::{Sql, statement};
use db::statement::sql;
use domain::health::Health;
use domain::{DestinationId, DeviceId, Timestamp};
use std::collections::BTreeSet;

/// A page with this many events is full: it takes no further devices.
const PAGE: usize = 500;
/// Maximum number of events of a device in a page.
const PER_DEVICE: i64 = 50;
/// Maximum number of devices that leasing a page checks.
const MAX_DEVICES: i64 = 500;
/// Number of devices whose events are read together.
const DEVICES_AT_ONCE: usize = 10;

/// The next devices, each once, however many of its events are pending. Uses `ORDER BY` instead of `MIN`: a planner
/// that expects one row would read all rows to compute the minimum.
const DEVICES: Sql = statement! {hot "device_deliveries_pending", "
    WITH RECURSIVE next (device_id) AS (
        SELECT (SELECT d.device_id FROM device_deliveries d
            WHERE d.destination_id = ? AND d.device_id > ? AND d.status = 'pending' ORDER BY d.device_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.device_id FROM device_deliveries d
            WHERE d.destination_id = ? AND d.device_id > next.device_id AND d.status = 'pending'
            ORDER BY d.device_id LIMIT 1)
        FROM next
        WHERE next.device_id IS NOT NULL
    )
    SELECT device_id AS value FROM next WHERE device_id IS NOT NULL LIMIT ?
"};

const EVENTS: Sql = statement! {hot "device_deliveries_pending", "
    SELECT p.event_seq AS seq, e.id, p.device_id, e.event_type, e.environment, e.occurred_at, e.body, p.attempts,
        p.refusals, p.first_tried_at, p.tried_at, p.next_due_at, p.last_error, p.batch_id
    FROM device_deliveries p
    JOIN device_events e ON e.seq = p.event_seq
    WHERE p.destination_id = ? AND p.device_id = ? AND p.status = 'pending'
    ORDER BY p.event_seq
    LIMIT ?
"};

const OF_BATCHES: Sql = statement! {"
    SELECT p.event_seq AS seq, e.id, p.device_id, e.event_type, e.environment, e.occurred_at, e.body, p.attempts,
        p.refusals, p.first_tried_at, p.tried_at, p.next_due_at, p.last_error, p.batch_id
    FROM device_deliveries p
    JOIN device_events e ON e.seq = p.event_seq
    WHERE p.batch_id IN (?*) AND p.destination_id = ? AND p.status {PENDING_OF_BATCH}
"};

/// Adds the pending events that were sent in one request with an event of the page, even if their devices come after
/// the page. Each is its device's first pending event, because nothing of a device is sent behind an event that waits.
pub fn with_batches(
    connection: &mut AnyConnection,
    destination: DestinationId,
    mut events: Vec<StreamedEvent>,
) -> Result<Vec<StreamedEvent>, Error> {
    let batches: BTreeSet<String> = events
        .iter()
        .filter_map(|one| one.batch_id)
        .map(|id| id.to_string())
        .collect();
    if batches.is_empty() {
        return Ok(events);
    }
    let members = sql(OF_BATCHES)
        .uncached()
        .bind_list(batches)
        .bind(destination);
    let members: Vec<StreamedEvent> = members.all(connection)?;
    let known: BTreeSet<i64> = events.iter().map(|one| one.seq).collect();
    events.extend(members.into_iter().filter(|one| !known.contains(&one.seq)));
    events.sort_by_key(|one| (one.device_id, one.seq));
    Ok(events)
}

/// Keeps only the first event and the events that were sent with it in one request.
pub fn keep_first(events: &mut Vec<StreamedEvent>) {
    let Some(first) = events.first().map(|first| (first.seq, first.batch_id)) else {
        return;
    };
    events.retain(|one| one.seq == first.0 || (first.1.is_some() && one.batch_id == first.1));
}

/// The events of a page, and the last device that was checked.
pub struct DuePage {
    pub events: Vec<StreamedEvent>,
    pub last_device: Option<DeviceId>,
    pub wait: Option<StreamWait>,
}

/// The rules for when events are due. As with events of purchases, all that were tried before a recovery are due after
/// it, and a probe takes the first event whether or not it is due.
pub struct Dues {
    pub health: Health,
    pub mode: Mode,
    pub now: Timestamp,
}

impl Dues {
    fn at(&self, event: &StreamedEvent) -> Timestamp {
        if self.mode == Mode::Probe {
            return self.now;
        }
        self.health
            .due_at(event.next_due_at, event.tried_at, self.now)
    }
}

/// Returns the events of the next page.
pub fn find(
    connection: &mut AnyConnection,
    lease: &StreamLease,
    dues: &Dues,
) -> Result<DuePage, Error> {
    let after = lease
        .after
        .map(|device| device.to_string())
        .unwrap_or_default();
    let devices = sql(DEVICES).bind((lease.destination, after, lease.destination, MAX_DEVICES));
    let devices: Vec<DeviceId> = devices.values(connection)?;
    let mut found = DuePage {
        events: Vec::new(),
        last_device: None,
        wait: None,
    };
    for some in devices.chunks(DEVICES_AT_ONCE) {
        if found.events.len() >= PAGE {
            break;
        }
        let of =
            |device: &DeviceId, limit: i64| sql(EVENTS).bind((lease.destination, *device, limit));
        let heads: Vec<_> = some
            .iter()
            .map(|device| of(device, 1).ahead(connection))
            .collect::<Result<_, _>>()?;
        let mut ready = Vec::with_capacity(some.len());
        for (device, head) in some.iter().zip(heads) {
            let head: Option<StreamedEvent> = head.first(connection)?;
            match head {
                Some(head) if dues.at(&head) > dues.now => found.hold_back(&head, dues),
                Some(_) => ready.push(*device),
                None => {}
            }
        }
        let pages: Vec<_> = ready
            .iter()
            .map(|device| of(device, PER_DEVICE).ahead(connection))
            .collect::<Result<_, _>>()?;
        for page in pages {
            let page: Vec<StreamedEvent> = page.all(connection)?;
            found.events.extend(
                page.into_iter()
                    .take_while(|event| dues.at(event) <= dues.now),
            );
        }
        found.last_device = some.last().copied();
    }
    Ok(found)
}

impl DuePage {
    /// Records that a device has to wait for its first event.
    fn hold_back(&mut self, head: &StreamedEvent, dues: &Dues) {
        let error = head
            .last_error
            .as_ref()
            .map(|error| format!(": {error}"))
            .unwrap_or_default();
        let why = format!("each device waits for its next attempt{error}");
        let wait = StreamWait {
            wait: dues.at(head).since(dues.now),
            why,
        };
        self.wait = Some(
            self.wait
                .take()
                .map_or_else(|| wait.clone(), |known| known.min(wait.clone())),
        );
    }
}
