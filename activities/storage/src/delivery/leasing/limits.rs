//! The limits on leasing a lane: a request in flight about its user, the user's pause, and the destination's breaker,
//! pause, rate and free places.

use super::lane::{BUSY, Lane, SlotWait};
use crate::delivery::health;
use crate::delivery::lanes::{Idle, Lease, LeaseResult, Mode};
use crate::delivery::leasing::tracks::SUBJECT;
use crate::delivery::user_lanes::{self, Locked, UserLane};
use crate::events::user_leases::is_live;
use crate::events::{deliveries, user_leases};
use crate::purchases::owned::PRESENT_ENVIRONMENT;
use crate::purchases::users;
use db::error::Error;
use db::fault;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::health::{LONGEST_PAUSE, Slot, slot, wait_until};
use domain::{Environment, EventId, UserId};
use std::time::Duration;

/// Maximum wait before a lane is leased again while a request about its user is in flight for another purchase: most
/// requests complete long before their lease ends.
const USER_BUSY: Duration = Duration::from_millis(500);

row! {
    #[derive(PartialEq)]
    struct Owner {
        user_id: Option<UserId>,
        environment: Environment,
    }
}

/// Sets when a request for this lane may start, or returns why none may start now. Locks the user, and the health of a
/// destination with a rate. A probe is held back only by its user.
pub fn start(
    write: &mut Write<'_>,
    lane: &mut Lane<'_>,
    next: EventId,
) -> Result<Option<LeaseResult>, Error> {
    if let Some(idle) = user(write, lane, next)? {
        return Ok(Some(idle));
    }
    if lane.destination.rate.is_some() {
        lane.health = health::lock_row(write, lane.lease.destination)?;
    }
    let is_probe = lane.lease.mode == Mode::Probe;
    let blocked_for = lane.health.health.blocked_for(write.now()?);
    let busy_for = (!lane.has_room).then_some(BUSY);
    if let (false, Some(wait)) = (is_probe, blocked_for.or(busy_for)) {
        return lane.pending(write, wait).map(Some);
    }
    let Some(rate) = lane.destination.rate else {
        return Ok(None);
    };
    match slot(lane.health.next_slot_at, rate, write.now()?) {
        Slot::Free { wait, next_at } => {
            lane.start = SlotWait {
                wait,
                next_slot_at: Some(next_at),
            }
        }
        Slot::Later { .. } if is_probe => {}
        Slot::Later { wait } => return lane.pending(write, wait).map(Some),
    }
    Ok(None)
}

const OWNER: Sql = statement! {hot "purchases_pkey or sqlite_autoindex_purchases", "
    SELECT {SUBJECT} AS user_id, {PRESENT_ENVIRONMENT} AS environment
    FROM purchases p
    JOIN platforms f ON f.id = p.platform_id
    LEFT JOIN events e ON e.id = ?
    LEFT JOIN users u ON u.id = e.user_id
    WHERE p.collapse_key = ?
"};

fn owner(write: &mut Write<'_>, lane: &Lane<'_>, next: EventId) -> Result<Option<Owner>, Error> {
    sql(OWNER)
        .bind(next)
        .bind(lane.lease.key)
        .first(write.connection)
}

/// Locks the user of the next event, if the destination gets requests user by user. Returns why no request about the
/// user may be sent now; `None` if one may. While the lock is held, the purchase cannot move to another user: a move
/// locks the user, and then finds the lease.
pub fn user(
    write: &mut Write<'_>,
    lane: &mut Lane<'_>,
    next: EventId,
) -> Result<Option<LeaseResult>, Error> {
    lane.user = None;
    if !lane.destination.per_user {
        return Ok(None);
    }
    let found = owner(write, lane, next)?;
    let Some(Owner {
        user_id: Some(user),
        environment,
    }) = found
    else {
        return Ok(None);
    };
    if write.connection.is_shared()
        && !(users::lock_shared(write, user)? && owner(write, lane, next)? == found)
    {
        return user_busy(write, lane.lease, BUSY).map(Some);
    }
    let user = UserLane {
        destination: lane.lease.destination,
        user,
        environment,
    };
    let Some(Locked { rows, leases }) = user_lanes::lock_free(write, user)? else {
        return user_busy(write, lane.lease, BUSY).map(Some);
    };
    lane.user = Some(user);
    let is_ignored = fault::is_planted("lease.ignored");
    let now = write.now()?;
    let leased = leases
        .iter()
        .copied()
        .filter(|until| is_live(*until, now) && !is_ignored)
        .max();
    if let Some(until) = leased {
        return user_busy(write, lane.lease, wait_until(until, now).min(USER_BUSY)).map(Some);
    }
    if !leases.is_empty() {
        user_leases::forget(write, user.destination, user.user)?;
    }
    let paused = rows
        .iter()
        .filter(|row| row.environment == environment)
        .find_map(|row| row.paused_until);
    let paused = paused
        .and_then(|until| until.unless_ahead(LONGEST_PAUSE, now))
        .filter(|until| *until > now);
    Ok(paused.map(|until| {
        LeaseResult::Idle(Idle::Wait {
            wait: wait_until(until, now),
            last_error: Some("the destination paused requests about this user".to_owned()),
        })
    }))
}

/// Builds the result of leasing a lane whose user has another request in flight, or is being changed.
pub fn user_busy(
    write: &mut Write<'_>,
    lease: &Lease,
    wait: Duration,
) -> Result<LeaseResult, Error> {
    let last_seq = deliveries::last_seq(write.connection, lease.key, lease.destination)?;
    Ok(LeaseResult::Idle(Idle::UserBusy { last_seq, wait }))
}
