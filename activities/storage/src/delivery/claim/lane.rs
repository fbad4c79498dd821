//! A lane: its row, its lock and its lease.

use crate::db::error::Error;
use crate::db::fault;
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::delivery::health::HealthRow;
use crate::delivery::lanes::{Claim, Claimed, Idle};
use crate::delivery::user_lanes::UserLane;
use crate::events::deliveries;
use crate::settings::destinations::{Destination, DestinationRow};
use domain::{CollapseKey, DestinationId, Timestamp, UserId};

/// How soon a lane is claimed again while its destination has as many requests as it takes, in milliseconds.
pub const BUSY_MS: i64 = 250;

/// A lane that is being claimed. Its lock is held.
pub struct Lane<'a> {
    pub claim: &'a Claim,
    /// As it was read last, with its secret.
    pub found: DestinationRow,
    pub destination: Destination,
    pub row: LaneRow,
    pub health: HealthRow,
    /// The owner of the purchase, locked for the destination; `None` where requests are not made user by user, and
    /// where the purchase has no owner.
    pub user: Option<UserLane>,
}

row! {
    /// The stored state of a lane.
    pub struct LaneRow {
        pub acked_revision: Option<i64>,
        pub lease_token: Option<String>,
        pub lease_until: Option<Timestamp>,
        pub lease_user_id: Option<UserId>,
        pub retry_after_received_at: Option<Timestamp>,
        pub retry_after_until: Option<Timestamp>,
    }
}

impl Lane<'_> {
    pub fn owed(&self, write: &mut Write<'_>, ms: i64) -> Result<Claimed, Error> {
        let last_seq = deliveries::last_seq(write.connection, self.claim.key, self.claim.destination)?;
        Ok(Claimed::Idle(Idle::Owed { last_seq, ms }))
    }
}

pub fn closed(write: &mut Write<'_>, claim: &Claim) -> Result<Claimed, Error> {
    Ok(Claimed::Idle(Idle::Closed { last_seq: deliveries::last_seq(write.connection, claim.key, claim.destination)? }))
}

/// Locks a lane until the end of the transaction, and makes its row first.
pub fn lock_lane(write: &mut Write<'_>, key: CollapseKey, destination: DestinationId) -> Result<LaneRow, Error> {
    let lock = write.connection.for_update();
    find_or_make(write, (key, destination), lock)?.ok_or(Error::Missing { what: "lane" })
}

/// Locks a lane, unless another process has it locked. A claim does not wait for it: with several lanes and their
/// destination's health in one transaction, two claims would wait for each other.
pub fn lock_free_lane(
    write: &mut Write<'_>,
    key: CollapseKey,
    destination: DestinationId,
) -> Result<Result<LaneRow, Claimed>, Error> {
    let lock = write.connection.for_update_of_free();
    let lane = find_or_make(write, (key, destination), lock)?;
    Ok(lane.ok_or(Claimed::Idle(Idle::Leased { ms: BUSY_MS })))
}

fn find_or_make(
    write: &mut Write<'_>,
    (key, destination): (CollapseKey, DestinationId),
    lock: &str,
) -> Result<Option<LaneRow>, Error> {
    if let Some(lane) = find_locked(write, (key, destination), lock)? {
        return Ok(Some(lane));
    }
    sql("INSERT INTO lanes (destination_id, collapse_key) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(destination)
        .bind(key)
        .run(write.connection)?;
    find_locked(write, (key, destination), lock)
}

fn find_locked(
    write: &mut Write<'_>,
    (key, destination): (CollapseKey, DestinationId),
    lock: &str,
) -> Result<Option<LaneRow>, Error> {
    let text = format!(
        "SELECT acked_revision, lease_token, lease_until, lease_user_id, retry_after_received_at, retry_after_until FROM lanes \
         WHERE destination_id = ? AND collapse_key = ?{lock}"
    );
    sql(text).bind(destination).bind(key).first(write.connection)
}

/// When the lease of a lane ends, if somebody has one.
pub fn live_lease(lane: &LaneRow, now: Timestamp) -> Option<Timestamp> {
    if fault::is_planted("lease.ignored") {
        return None;
    }
    lane.lease_token.as_ref().and(lane.lease_until).filter(|until| *until > now)
}
