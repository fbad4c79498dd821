//! Late deliveries: they are found per destination, not per purchase.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::fault;
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use crate::db::store::Store;
use crate::delivery::destination_need::Tried;
use crate::delivery::free_lanes::{Key, LATE, Lanes, TRIED_BEFORE};
use crate::delivery::health;
use crate::events::deliveries;
use domain::{DestinationId, Timestamp};
use std::time::Duration;

/// How long a due delivery may stay unattempted before the sweep continues its destination.
const LANE_GRACE: Duration = Duration::from_secs(45);

/// The destinations whose runs the sweep signals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateDestinations {
    /// Those with a late delivery, or that must be probed.
    pub destinations: Vec<DestinationId>,
    /// The disabled destinations whose lanes may wait for a back-off in a purchase's run, which must be cancelled.
    pub in_backoff: Vec<DestinationId>,
    /// The time of the reading, by the database's clock.
    pub at: Timestamp,
}

impl Store {
    /// The destinations whose runs must be signalled.
    pub async fn late_destinations(&self) -> Result<LateDestinations, Error> {
        self.read_now(|connection, now| {
            let (destinations, in_backoff) = (late(connection, now)?, disabled(connection, now)?);
            Ok(LateDestinations { destinations, in_backoff, at: now })
        })
        .await
    }
}
const ENABLED: Sql =
    statement!("SELECT id AS value FROM destinations WHERE enabled AND deleted_at IS NULL ORDER BY id");

/// The enabled destinations with a late delivery, or that must be probed. There are few destinations, so they are read
/// one by one.
fn late(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<DestinationId>, Error> {
    if fault::is_planted("sweep.forget_lanes") {
        return Ok(Vec::new());
    }
    let mut late = Vec::new();
    for id in sql(ENABLED).values(connection)? {
        if is_late(connection, id, now)? {
            late.push(id);
        }
    }
    Ok(late)
}

/// Whether a free lane has a delivery that is past its time, or that was last tried before the destination recovered;
/// or whether the destination must be probed.
fn is_late(connection: &mut AnyConnection, id: DestinationId, now: Timestamp) -> Result<bool, Error> {
    let before = now.minus(LANE_GRACE);
    let health = health::find(connection, id)?.health;
    let lanes = Lanes::new(id, &health, now);
    let past = lanes.matching(LATE).bind(before).bind_all(lanes.head()).bind(1);
    if past.first::<Key>(connection)?.is_some() {
        return Ok(true);
    }
    if let Some(due_since) = health.due_since().filter(|at| *at < before) {
        let left = lanes.matching(TRIED_BEFORE).bind(due_since).bind_all(lanes.head()).bind(1);
        if left.first::<Key>(connection)?.is_some() {
            return Ok(true);
        }
    }
    Ok(health.opened_at.is_some_and(|at| at < before) && deliveries::is_owed(connection, id)?)
}

const DISABLED: Sql =
    statement!("SELECT id AS value FROM destinations WHERE NOT enabled AND deleted_at IS NULL ORDER BY id");

/// The disabled destinations whose lanes may wait for a back-off in a purchase's run, which must be cancelled.
fn disabled(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<DestinationId>, Error> {
    let mut found = Vec::new();
    for id in sql(DISABLED).values(connection)? {
        let through = health::find(connection, id)?.backoff_cancelled_through;
        let tried = Tried { destination: id, after: through.unwrap_or(Timestamp::EARLIEST), until: now };
        if tried.end_of_page(connection, 1)?.is_some() {
            found.push(id);
        }
    }
    Ok(found)
}
