//! The next delivery of a lane, of its two tracks: the newest `purchase.updated`, and all other events, the oldest
//! first.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::statement::{Statement, sql};
use crate::db::writer::Write;
use crate::delivery::lanes::Claim;
use crate::events::deliveries::{self, DeliveryRow};
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use domain::health::Health;
use domain::user::PROFILE_UPDATED;
use domain::{CollapseKey, DestinationId, Timestamp};

/// Why a profile is superseded.
const NEWER_PROFILE: &str = "a newer state of the user stands for it";

/// The two heads of a lane.
struct Heads {
    state: Option<DeliveryRow>,
    event: Option<DeliveryRow>,
}

/// When a delivery is due to a destination with this health.
pub fn due_at(row: &DeliveryRow, health: &Health) -> Timestamp {
    health.due_at(row.next_due_at, row.tried_at)
}

/// Of the tracks' heads the one that is due first.
pub fn next(
    connection: &mut AnyConnection,
    lane: (CollapseKey, DestinationId),
    health: &Health,
) -> Result<Option<DeliveryRow>, Error> {
    let heads = heads(connection, lane)?;
    let due = |row: &DeliveryRow| (due_at(row, health), row.seq);
    Ok(heads.state.into_iter().chain(heads.event).min_by_key(due))
}

/// The delivery that a probe tries: the newest state, or else the oldest event.
pub fn newest(connection: &mut AnyConnection, claim: &Claim) -> Result<Option<DeliveryRow>, Error> {
    let heads = heads(connection, (claim.key, claim.destination))?;
    Ok(heads.state.or(heads.event))
}

/// The deliveries that may follow an event in one request: the next ones in their order, as long as they are due too,
/// or were never tried. `seq + 0` so that no planner walks everything that the destination is owed instead of the lane.
pub fn followers(
    connection: &mut AnyConnection,
    (head, health): (&DeliveryRow, &Health),
    (at_most, now): (i64, Timestamp),
) -> Result<Vec<DeliveryRow>, Error> {
    let lane = (head.collapse_key, head.destination_id);
    let rows: Vec<DeliveryRow> =
        pending(lane, "<> ? AND seq + 0 > ? ORDER BY seq LIMIT ?").bind(head.seq).bind(at_most).all(connection)?;
    // A change of a payment is rendered by the state of that payment's delivery, so that the two never share a request.
    let may_follow = |row: &DeliveryRow| row.event_type != REVENUE_ADJUSTED;
    let is_due = |row: &DeliveryRow| row.tried_at.is_none() || due_at(row, health) <= now;
    Ok(rows.into_iter().take_while(|row| may_follow(row) && is_due(row)).collect())
}

/// Ends every undelivered `purchase.updated` of the lane but the newest.
pub fn supersede(write: &mut Write<'_>, claim: &Claim) -> Result<(), Error> {
    sql("UPDATE deliveries SET status = 'superseded', finished_at = ? WHERE collapse_key = ? AND destination_id = ? \
         AND status = 'pending' AND event_type = ? AND seq < (SELECT MAX(seq) FROM deliveries WHERE collapse_key = ? \
         AND destination_id = ? AND status = 'pending' AND event_type = ?)")
    .bind(write.now)
    .bind(claim.key)
    .bind(claim.destination)
    .bind(PURCHASE_UPDATED)
    .bind(claim.key)
    .bind(claim.destination)
    .bind(PURCHASE_UPDATED)
    .run(write.connection)
    .map(drop)
}

/// Ends every undelivered profile of the lane but the newest of its environment.
pub fn supersede_profiles(write: &mut Write<'_>, claim: &Claim) -> Result<(), Error> {
    sql("UPDATE deliveries SET status = 'superseded', last_error = ?, finished_at = ? WHERE collapse_key = ? \
         AND destination_id = ? AND status = 'pending' AND event_type = ? AND EXISTS (SELECT 1 FROM deliveries m \
         WHERE m.collapse_key = deliveries.collapse_key AND m.destination_id = deliveries.destination_id \
         AND m.status = 'pending' AND m.event_type = deliveries.event_type \
         AND m.environment = deliveries.environment AND m.seq > deliveries.seq)")
    .bind(NEWER_PROFILE)
    .bind(write.now)
    .bind(claim.key)
    .bind(claim.destination)
    .bind(PROFILE_UPDATED)
    .run(write.connection)
    .map(drop)
}

/// Ends a profile that is older than a state of its user that was sent.
pub fn supersede_profile(write: &mut Write<'_>, row: &DeliveryRow) -> Result<(), Error> {
    sql("UPDATE deliveries SET status = 'superseded', last_error = ?, finished_at = ? WHERE id = ? \
         AND status = 'pending'")
    .bind(NEWER_PROFILE)
    .bind(write.now)
    .bind(row.id)
    .run(write.connection)
    .map(drop)
}

fn heads(connection: &mut AnyConnection, lane: (CollapseKey, DestinationId)) -> Result<Heads, Error> {
    Ok(Heads {
        state: pending(lane, "= ? ORDER BY seq DESC LIMIT 1").first(connection)?,
        event: pending(lane, "<> ? ORDER BY seq LIMIT 1").first(connection)?,
    })
}

/// The pending deliveries of a lane whose event's type is, or is not, `purchase.updated`.
fn pending<'a>((key, destination): (CollapseKey, DestinationId), condition: &str) -> Statement<'a> {
    let which = "WHERE collapse_key = ? AND destination_id = ? AND status = 'pending' AND event_type";
    sql(format!("{} {which} {condition}", deliveries::SELECT)).bind(key).bind(destination).bind(PURCHASE_UPDATED)
}
