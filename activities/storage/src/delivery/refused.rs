//! Lanes whose lease or request's result the database permanently refuses. Such a lane is postponed, so that its events
//! are not sent over and over without a recorded result, and its place becomes free for another lane.

use crate::delivery::lanes::LaneKey;
use crate::delivery::leasing::lane;
use crate::delivery::{health, places, retry_after};
use crate::events::user_leases;
use crate::store::Store;
use db::error::Error;
use db::partial::PENDING_OF_LANE;
use db::sql::{Sql, statement};
use db::statement::{clean, sql};
use db::writer::{JobKind, Write};
use domain::health::RetryAfter;
use domain::time::refused_wait;
use domain::{CollapseKey, DestinationId, Timestamp};
use std::time::Duration;

const OLDEST: Sql = statement! {hot "deliveries_pending_of_lane", "
    SELECT MIN(created_at) AS value
    FROM deliveries
    WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE}
"};

impl Store {
    /// Ends the lease with this token, and postpones the due deliveries of its lane with this error. Returns how long
    /// they wait; `None` if none is due, or if another request has leased the lane.
    pub async fn set_lane_back(
        &self,
        key: CollapseKey,
        destination: DestinationId,
        token: &str,
        error: &str,
    ) -> Result<Option<Duration>, Error> {
        let (token, error) = (token.to_owned(), clean(error).into_owned());
        let kind = JobKind::Lane(destination, key);
        self.database
            .writer
            .write(kind, move |write| {
                set_back(write, LaneKey { key, destination }, &token, &error)
            })
            .await
    }
}

fn set_back(
    write: &mut Write<'_>,
    lane: LaneKey,
    token: &str,
    error: &str,
) -> Result<Option<Duration>, Error> {
    let locked = lane::lock_ahead(write, lane)?;
    let lease = places::end_ahead(write, lane, token)?;
    locked.first(write.connection)?;
    let lease = lease.first(write.connection)?;
    let now = write.now()?;
    if lease.is_none() && places::live_until(write.connection, lane, now)?.is_some() {
        return Ok(None);
    }
    if lease.is_some_and(|lease| lease.user_id.is_some()) {
        user_leases::end(write, lane.destination, token)?;
    }
    let oldest: Option<Option<Timestamp>> = sql(OLDEST)
        .bind(lane.key)
        .bind(lane.destination)
        .value(write.connection)?;
    let wait = refused_wait(now.since(oldest.flatten().unwrap_or(now)));
    let back_off = RetryAfter {
        received_at: now,
        until: now.plus(wait),
    };
    let health = health::find(write.connection, lane.destination, now)?.health;
    let held_back = retry_after::hold_back(write, lane, back_off, &health, Some(error))?;
    Ok((held_back > 0).then_some(wait))
}
