//! The events of a customer that destinations have not received, for display: what is sent next, and why it was not
//! accepted yet. An event belongs to the customer at the time of its recording, regardless of the purchase's current
//! owner.

use crate::delivery::class::{AttemptClass, Repair};
use crate::delivery::health;
use crate::events::status::DeliveryStatus;
use crate::reports::deliveries::DeliveryView;
use crate::store::Store;
use const_format::formatcp;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::PENDING_OF_LANE;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::health::Health;
use domain::user::TRANSFERRED_FROM;
use domain::{CollapseKey, DeliveryId, DestinationId, Timestamp, UserId};
use std::collections::BTreeMap;

/// The pending deliveries of a customer's events to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDeliveries {
    pub destination_id: DestinationId,
    /// Number of events.
    pub events: i64,
    /// Number of these events with a failed attempt.
    pub failing: i64,
    /// When the oldest of these events was recorded.
    pub since: Timestamp,
    /// When the next attempt is due. Only the first delivery of each track counts, because only it is attempted.
    pub next_due_at: Timestamp,
    /// Why the last attempt at the first delivery of a track failed, or why none was made.
    pub error: Option<String>,
    /// Where to repair the cause before another attempt can succeed; see [`AttemptClass::repair`].
    pub repair: Option<Repair>,
}

/// A delivery of a customer's event that ended as failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDelivery {
    pub delivery: DeliveryView,
    /// When the event was recorded.
    pub recorded_at: Timestamp,
}

row! {
    /// The pending deliveries of a customer's events about one purchase to a destination.
    struct PendingRow {
        destination_id: DestinationId,
        collapse_key: CollapseKey,
        events: i64,
        failing: i64,
        since: Timestamp,
    }
}

row! {
    /// The first delivery of a track, and the result of its last finished attempt.
    struct HeadRow {
        destination_id: DestinationId,
        collapse_key: CollapseKey,
        seq: i64,
        next_due_at: Timestamp,
        tried_at: Option<Timestamp>,
        last_error: Option<String>,
        class: Option<AttemptClass>,
    }
}

row! {
    struct RecordedRow {
        id: DeliveryId,
        recorded_at: Timestamp,
    }
}

/// The condition that an event `e` belongs to a customer. A purchase's state that announces a transfer belongs to both
/// owners. An event without a customer belongs to the current owner.
const OF_CUSTOMER: &str = formatcp!(
    "(e.user_id = ?
        OR e.user_id IS NULL AND (
            SELECT COUNT(*) FROM purchases p WHERE p.collapse_key = e.collapse_key AND p.user_id = ?
        ) > 0
        OR e.event_type = 'purchase.updated' AND (
            SELECT COUNT(*) FROM events s
            WHERE s.collapse_key = e.collapse_key AND s.revision = e.revision AND s.event_type || '' = '{TRANSFERRED_FROM}'
                AND s.user_id || '' = ?
        ) > 0)"
);

const PENDING_OF_KEYS: Sql = statement! {hot "deliveries_pending_of_lane", "
    SELECT d.destination_id, d.collapse_key, COUNT(*) AS events,
        COUNT(CASE WHEN d.attempts > 0 AND d.last_error IS NOT NULL THEN 1 END) AS failing,
        MIN(e.created_at) AS since
    FROM deliveries d
    JOIN events e ON e.id = d.event_id
    WHERE d.collapse_key IN (?*) AND d.status {PENDING_OF_LANE} AND {OF_CUSTOMER}
    GROUP BY d.destination_id, d.collapse_key
"};

const RECORDED: Sql = statement! {hot "deliveries_id", "
    SELECT d.id, e.created_at AS recorded_at
    FROM deliveries d
    JOIN events e ON e.id = d.event_id
    WHERE d.id IN (?*) AND {OF_CUSTOMER}
"};

/// The latest state and the oldest other event of each lane.
const HEADS_OF_KEYS: Sql = statement! {hot "deliveries_pending_of_lane", "
    SELECT d.destination_id, d.collapse_key, d.seq, d.next_due_at, d.tried_at, d.last_error, (
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
    /// Returns the pending deliveries of a customer's events about these purchases, by destination.
    pub async fn pending_deliveries(
        &self,
        user: UserId,
        keys: Vec<CollapseKey>,
    ) -> Result<Vec<PendingDeliveries>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.read_now(move |connection, now| pending(connection, user, &keys, now))
            .await
    }

    /// Returns those of the deliveries that failed and are of a customer's events.
    pub async fn failed_deliveries(
        &self,
        user: UserId,
        mut all: Vec<DeliveryView>,
    ) -> Result<Vec<FailedDelivery>, Error> {
        all.retain(|one| one.status == DeliveryStatus::Failed);
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<DeliveryId> = all.iter().map(|one| one.id).collect();
        let read = move |connection: &mut AnyConnection| {
            sql(RECORDED)
                .uncached()
                .bind_list(ids)
                .bind((user, user, user))
                .all(connection)
        };
        let rows: Vec<RecordedRow> = self.read(read).await?;
        let recorded: BTreeMap<DeliveryId, Timestamp> = rows
            .into_iter()
            .map(|row| (row.id, row.recorded_at))
            .collect();
        let failed = |delivery: DeliveryView| {
            let recorded_at = *recorded.get(&delivery.id)?;
            Some(FailedDelivery {
                delivery,
                recorded_at,
            })
        };
        Ok(all.into_iter().filter_map(failed).collect())
    }
}

fn pending(
    connection: &mut AnyConnection,
    user: UserId,
    keys: &[CollapseKey],
    now: Timestamp,
) -> Result<Vec<PendingDeliveries>, Error> {
    let keys = || keys.iter().copied();
    let own = sql(PENDING_OF_KEYS)
        .uncached()
        .bind_list(keys())
        .bind((user, user, user));
    let rows: Vec<PendingRow> = own.all(connection)?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let heads: Vec<HeadRow> = sql(HEADS_OF_KEYS)
        .uncached()
        .bind_list(keys())
        .all(connection)?;
    let mut by_destination: BTreeMap<DestinationId, Vec<PendingRow>> = BTreeMap::new();
    for row in rows {
        by_destination
            .entry(row.destination_id)
            .or_default()
            .push(row);
    }
    let mut all = Vec::new();
    for (destination, rows) in by_destination {
        let health = health::find(connection, destination, now)?.health;
        let is_own = |head: &&HeadRow| {
            head.destination_id == destination
                && rows.iter().any(|row| row.collapse_key == head.collapse_key)
        };
        let heads: Vec<&HeadRow> = heads.iter().filter(is_own).collect();
        all.extend(PendingDeliveries::of(&rows, &heads, &health, now));
    }
    Ok(all)
}

impl PendingDeliveries {
    /// Summarizes the pending deliveries to a destination with this health, from the first deliveries of the tracks;
    /// `None` if nothing is pending any more.
    fn of(
        rows: &[PendingRow],
        heads: &[&HeadRow],
        health: &Health,
        now: Timestamp,
    ) -> Option<Self> {
        let next_due_at = heads
            .iter()
            .map(|head| health.due_at(head.next_due_at, head.tried_at, now))
            .min()?;
        let failed = heads.iter().filter(|head| head.last_error.is_some());
        let shown = failed.max_by_key(|head| (head.repair().is_some(), head.tried_at, head.seq));
        Some(Self {
            destination_id: rows.first()?.destination_id,
            events: rows.iter().map(|row| row.events).sum(),
            failing: rows.iter().map(|row| row.failing).sum(),
            since: rows.iter().map(|row| row.since).min()?,
            next_due_at: health
                .paused_until
                .map_or(next_due_at, |until| next_due_at.max(until)),
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
