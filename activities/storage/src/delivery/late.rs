//! Late deliveries. They are searched per destination instead of per purchase, and for all destinations in one
//! statement.

use crate::delivery::free_lanes::{HEAD, HEAD_END, LEASE};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::fault;
use db::low_mark::{Beginning, LowMarks, Queue, QueueRead};
use db::partial::{PENDING_DUE, PENDING_OF_DESTINATION, PENDING_TRIED};
use db::sql::{Sql, statement};
use db::statement::sql;
use domain::time::OVERLAP;
use domain::{DestinationId, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// How long a due delivery may stay unattempted before the sweep continues its destination.
const LANE_TOLERANCE: Duration = Duration::from_secs(45);

/// The destinations whose runs the sweep signals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateDestinations {
    /// Destinations with a late delivery, or that must be probed.
    pub destinations: Vec<DestinationId>,
    /// Disabled destinations whose lanes may be in a back-off that must be cancelled in the purchases' runs.
    pub in_backoff: Vec<DestinationId>,
    /// When this was read, by the database's clock.
    pub at: Timestamp,
}

impl Store {
    /// Returns the destinations whose runs must be signalled.
    pub async fn late_destinations(&self) -> Result<LateDestinations, Error> {
        let marks = Arc::clone(&self.low_marks);
        self.read_now(move |connection, now| {
            let (destinations, in_backoff) = (
                late(connection, &marks, now)?,
                sql(IN_BACKOFF).bind(now).values(connection)?,
            );
            Ok(LateDestinations {
                destinations,
                in_backoff,
                at: now,
            })
        })
        .await
    }
}

/// The enabled destinations with a free lane whose delivery is past its time or was last tried before the destination
/// recovered, and those that must be probed. Destinations that were late before are read from the beginning, the others
/// from a low mark on. The condition is a subquery that returns a value instead of `EXISTS`, for which a planner would
/// read all pending deliveries.
const LATE: Sql = statement! {hot "deliveries_pending_due", "
    SELECT t.id AS value
    FROM (
        SELECT id, h.opened_at,
            CASE WHEN id IN (?*) THEN {EARLIEST} ELSE ? END AS from_at,
            CASE WHEN h.retry_requested_at > COALESCE(h.recovered_at, {EARLIEST}) THEN h.retry_requested_at
                ELSE h.recovered_at END AS due_since
        FROM destinations
        JOIN health h ON h.destination_id = id
        WHERE enabled AND deleted_at IS NULL) t
    WHERE (
            SELECT d.seq
            FROM deliveries d
            WHERE d.destination_id = t.id AND d.status {PENDING_DUE} AND d.next_due_at < ? AND d.next_due_at >= t.from_at
                AND ({LEASE}) IS NULL AND {HEAD}COALESCE(t.due_since, {EARLIEST}){HEAD_END}
            ORDER BY d.next_due_at
            LIMIT 1) IS NOT NULL
        OR t.due_since < ? AND (
            SELECT d.seq
            FROM deliveries d
            WHERE d.destination_id = t.id AND d.status {PENDING_TRIED} AND d.tried_at < t.due_since AND ({LEASE}) IS NULL
                AND {HEAD}t.due_since{HEAD_END}
            ORDER BY d.tried_at
            LIMIT 1) IS NOT NULL
        OR (t.opened_at < ? OR t.opened_at > ?) IS TRUE AND (
            SELECT d.seq
            FROM deliveries d
            WHERE d.destination_id = t.id AND d.status {PENDING_OF_DESTINATION}
            ORDER BY d.seq DESC
            LIMIT 1) IS NOT NULL
    ORDER BY t.id
"};
const EARLIEST: i64 = Timestamp::EARLIEST.micros();

fn late(
    connection: &mut AnyConnection,
    marks: &LowMarks,
    now: Timestamp,
) -> Result<Vec<DestinationId>, Error> {
    if fault::is_planted("sweep.forget_lanes") {
        return Ok(Vec::new());
    }
    let before = now.minus(LANE_TOLERANCE);
    marks.read(Queue::of_all("late"), now, |start: &Beginning| {
        let late = sql(LATE)
            .uncached()
            .bind_list(start.apart.iter().map(String::as_str))
            .bind(start.from)
            .bind(before);
        let late = late
            .bind_all([now; 2])
            .bind(before)
            .bind_all([now; 2])
            .bind(before)
            .bind(now.plus(OVERLAP));
        let rows: Vec<DestinationId> = late.values(connection)?;
        let apart = rows.iter().map(ToString::to_string).collect();
        Ok(QueueRead {
            rows,
            first: before,
            apart,
        })
    })
}

/// The disabled destinations whose lanes may be in a back-off that must be cancelled in the purchases' runs.
const IN_BACKOFF: Sql = statement! {hot "deliveries_pending_tried", "
    SELECT id AS value
    FROM destinations
    JOIN health h ON h.destination_id = id
    WHERE NOT enabled AND deleted_at IS NULL AND (
        SELECT d.seq
        FROM deliveries d
        WHERE d.destination_id = destinations.id AND d.status {PENDING_TRIED} AND d.tried_at <= ?
            AND d.tried_at > COALESCE(h.backoff_cancelled_through, {EARLIEST})
        LIMIT 1) IS NOT NULL
    ORDER BY destinations.id
"};
