//! A lane while it is leased: its row and its lock.

use crate::delivery::health::HealthRow;
use crate::delivery::lanes::{Idle, LaneKey, Lease, LeaseResult};
use crate::delivery::user_lanes::UserLane;
use crate::events::{deliveries, lanes};
use crate::settings::destinations::{Destination, DestinationRow};
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use db::writer::Write;
use domain::Timestamp;
use std::time::Duration;

/// How soon a lane is leased again if another process has locked the lane or its user, or if the destination's
/// concurrency is exhausted.
pub const BUSY: Duration = Duration::from_millis(250);

/// A lane that is being leased. Its lock is held.
pub struct Lane<'a> {
    pub lease: &'a Lease,
    /// The destination's row as last read, with the encrypted secret.
    pub found: DestinationRow,
    pub destination: Destination,
    pub row: LaneRow,
    pub health: HealthRow,
    /// The user of the next event, whose lane at the destination is locked: the owner of the purchase, or the owner
    /// before a transfer. `None` if the destination does not get requests user by user, or if the purchase has no user.
    pub user: Option<UserLane>,
    pub start: SlotWait,
    /// Whether the destination had a free place.
    pub has_room: bool,
    /// Whether an older `purchase.updated` than the latest is pending.
    pub has_outdated: bool,
}

#[derive(Clone, Copy, Default)]
pub struct SlotWait {
    pub wait: Duration,
    /// When the next request may start; `None` if the destination has no rate.
    pub next_slot_at: Option<Timestamp>,
}

row! {
    /// The stored state of a lane.
    pub struct LaneRow {
        pub acked_revision: Option<i64>,
        pub retry_after_received_at: Option<Timestamp>,
        pub retry_after_until: Option<Timestamp>,
        pub nameless_device_id: Option<String>,
    }
}

impl Lane<'_> {
    /// Builds the result of leasing a lane for which the destination cannot take requests now.
    pub fn pending(&self, write: &mut Write<'_>, wait: Duration) -> Result<LeaseResult, Error> {
        let last_seq =
            deliveries::last_seq(write.connection, self.lease.key, self.lease.destination)?;
        Ok(LeaseResult::Idle(Idle::Pending { last_seq, wait }))
    }
}

/// Builds the result of leasing a lane that was found closed. Reopening the lane or queueing more in it starts its run.
pub fn closed(write: &mut Write<'_>, lease: &Lease) -> Result<LeaseResult, Error> {
    Ok(LeaseResult::Idle(Idle::Closed {
        last_seq: deliveries::last_seq(write.connection, lease.key, lease.destination)?,
    }))
}

const SELECT: &str = "
    SELECT acked_revision, retry_after_received_at, retry_after_until, nameless_device_id
    FROM lanes
    WHERE destination_id = ? AND collapse_key = ?";

const LOCK: Sql = statement! {hot "sqlite_autoindex_lanes or lanes_pkey", "
    {SELECT}
    FOR UPDATE
"};

/// Locks a leased lane until the end of the transaction; the row is fetched later.
pub fn lock_ahead(write: &mut Write<'_>, lane: LaneKey) -> Result<Ahead<'static, LaneRow>, Error> {
    sql(LOCK)
        .bind(lane.destination)
        .bind(lane.key)
        .ahead(write.connection)
}

const LOCK_FREE: Sql = statement! {hot "sqlite_autoindex_lanes or lanes_pkey", "
    {SELECT}
    FOR UPDATE SKIP LOCKED
"};

/// Locks a lane; the row is fetched later, and there is none if another process has locked it, or if the lane is new.
/// Leasing must not wait for this lock: transactions with several lanes and their destination's health could deadlock.
pub fn lock_free_ahead(
    write: &mut Write<'_>,
    lane: LaneKey,
) -> Result<Ahead<'static, LaneRow>, Error> {
    sql(LOCK_FREE)
        .bind(lane.destination)
        .bind(lane.key)
        .ahead(write.connection)
}

/// Locks a lane that had no row to lock. If it is new, because its deliveries were recorded without one, the row is
/// inserted first; otherwise returns `None`.
pub fn lock_new(write: &mut Write<'_>, lane: LaneKey) -> Result<Option<LaneRow>, Error> {
    if !lanes::insert(write, lane.key, lane.destination)? {
        return Ok(None);
    }
    sql(LOCK_FREE)
        .bind(lane.destination)
        .bind(lane.key)
        .first(write.connection)
}
