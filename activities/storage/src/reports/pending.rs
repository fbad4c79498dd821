//! The pending deliveries of purchases, as a person is shown them: what is sent next, and why it was not accepted yet.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::partial::PENDING_OF_LANE;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::delivery::class::{AttemptClass, Repair};
use crate::delivery::health;
use domain::health::Health;
use domain::{CollapseKey, DestinationId, Timestamp};

/// The pending deliveries of some purchases to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDeliveries {
    pub destination_id: DestinationId,
    /// Number of them.
    pub events: i64,
    /// Number of those with a failed attempt.
    pub failing: i64,
    /// When the first attempt at one of them began, or one was recorded that had none.
    pub since: Timestamp,
    /// When the next attempt is due. Only the first delivery of a track is attempted, so the others do not count.
    pub next_due_at: Timestamp,
    /// Why the last attempt at the first delivery of a track failed, or why none was made.
    pub error: Option<String>,
    /// Where to repair what would make that attempt fail again; see [`AttemptClass::repair`].
    pub repair: Option<Repair>,
}

row! {
    struct PendingRow {
        destination_id: DestinationId,
        events: i64,
        failing: i64,
        since: Timestamp,
    }
}

row! {
    /// The first delivery of a track, and how its last finished attempt went.
    struct HeadRow {
        destination_id: DestinationId,
        seq: i64,
        next_due_at: Timestamp,
        tried_at: Option<Timestamp>,
        last_error: Option<String>,
        class: Option<AttemptClass>,
    }
}

const PENDING_OF_KEYS: Sql = statement! {hot "deliveries_pending_of_lane", "
    SELECT destination_id, COUNT(*) AS events,
        COUNT(CASE WHEN attempts > 0 AND last_error IS NOT NULL THEN 1 END) AS failing,
        MIN(COALESCE(first_tried_at, created_at)) AS since
    FROM deliveries
    WHERE collapse_key IN (?*) AND status {PENDING_OF_LANE}
    GROUP BY destination_id
"};

/// Of each lane the newest state and the oldest other event.
const HEADS_OF_KEYS: Sql = statement! {hot "deliveries_pending_of_lane", "
    SELECT d.destination_id, d.seq, d.next_due_at, d.tried_at, d.last_error, (
            SELECT a.class
            FROM attempts a
            WHERE a.delivery_id = d.id AND a.finished_at IS NOT NULL
            ORDER BY a.number DESC
            LIMIT 1
        ) AS class
    FROM deliveries d
    WHERE d.seq IN (
        SELECT CASE WHEN n.event_type = 'purchase.updated' THEN MAX(n.seq) ELSE MIN(n.seq) END
        FROM deliveries n
        WHERE n.collapse_key IN (?*) AND n.status {PENDING_OF_LANE}
        GROUP BY n.collapse_key, n.destination_id, n.event_type = 'purchase.updated'
    )
"};

impl Store {
    /// The pending deliveries of these purchases by destination.
    pub async fn pending_deliveries(&self, keys: Vec<CollapseKey>) -> Result<Vec<PendingDeliveries>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.read_now(move |connection, now| pending(connection, &keys, now)).await
    }
}

fn pending(
    connection: &mut AnyConnection,
    keys: &[CollapseKey],
    now: Timestamp,
) -> Result<Vec<PendingDeliveries>, Error> {
    let keys = || keys.iter().copied();
    let rows: Vec<PendingRow> = sql(PENDING_OF_KEYS).uncached().bind_list(keys()).all(connection)?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let heads: Vec<HeadRow> = sql(HEADS_OF_KEYS).uncached().bind_list(keys()).all(connection)?;
    let mut all = Vec::new();
    for row in rows {
        let health = health::find(connection, row.destination_id, now)?.health;
        let heads: Vec<&HeadRow> = heads.iter().filter(|head| head.destination_id == row.destination_id).collect();
        all.extend(row.with(&heads, &health, now));
    }
    Ok(all)
}

impl PendingRow {
    /// With the first deliveries of its tracks at a destination with this health; `None` where nothing is pending any
    /// more.
    fn with(self, heads: &[&HeadRow], health: &Health, now: Timestamp) -> Option<PendingDeliveries> {
        let next_due_at = heads.iter().map(|head| health.due_at(head.next_due_at, head.tried_at, now)).min()?;
        let failed = heads.iter().filter(|head| head.last_error.is_some());
        let shown = failed.max_by_key(|head| (head.repair().is_some(), head.tried_at, head.seq));
        Some(PendingDeliveries {
            destination_id: self.destination_id,
            events: self.events,
            failing: self.failing,
            since: self.since,
            next_due_at: health.paused_until.map_or(next_due_at, |until| next_due_at.max(until)),
            error: shown.and_then(|head| head.last_error.clone()),
            repair: shown.and_then(|head| head.repair()),
        })
    }
}

impl HeadRow {
    fn repair(&self) -> Option<Repair> {
        self.class.and_then(AttemptClass::repair)
    }
}
