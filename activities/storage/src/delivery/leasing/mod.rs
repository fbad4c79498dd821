//! Leasing a lane: picks the deliveries that are due, checks the destination's limits, freezes the bodies, and leases
//! the lane.
//!
//! Leasing shares the lock of the destination, locks the lane, then its user, and takes one of the destination's places
//! (`delivery/places.rs`). It does not wait for a lane or a user that another process has locked, because that process
//! is already working on it.

pub mod lane;
pub mod limits;
mod render;
mod state;
pub mod tracks;

use crate::delivery::lanes::{Attempt, Batch, Idle, Lease, LeaseResult, Mode};
use crate::delivery::operators::OperatorEvents;
use crate::delivery::places::{self, PlaceAhead, PlaceLease};
use crate::delivery::{destination_lock, health, retry_after};
use crate::events::deliveries::{self, DeliveryRow};
use crate::events::user_leases::{self, is_live};
use crate::settings::destinations;
use db::error::Error;
use db::fault;
use db::secrets::Secrets;
use db::sql::{Sql, insert, statement};
use db::statement::sql;
use db::writer::Write;
use domain::health::wait_until;
use lane::{BUSY, Lane, SlotWait, closed};
use render::{Frozen, FrozenBody, Stop, Tries};
use state::CarriedState;
use tracks::{Heads, due_at};

/// Leases a lane for one request. A lease with the same token is granted again: its first result was lost, so nothing
/// was sent.
pub fn lease(
    write: &mut Write<'_>,
    secrets: &Secrets,
    lease: &Lease,
) -> Result<LeaseResult, Error> {
    // The lock comes first: a concurrent change of the destination either is visible to the reads below, or waits.
    destination_lock::share(write, lease.destination)?;
    let found = destinations::find_ahead(write.connection, lease.destination)?;
    let health = health::find_ahead(write.connection, lease.destination)?;
    let locked = lane::lock_free_ahead(write, lease.lane())?;
    let room = places::room_ahead(write, lease)?;
    let mut heads = Some(tracks::heads(write.connection, lease.lane())?);
    let (found, locked) = (
        found.first(write.connection)?,
        locked.first(write.connection)?,
    );
    if found.is_none() {
        // Ends deliveries that were recorded while the destination was being deleted.
        deliveries::end_deleted_lane(write, lease.key, lease.destination)?;
    }
    let Some(found) = found.filter(|found| found.enabled) else {
        return closed(write, lease);
    };
    let locked = locked.map_or_else(|| lane::lock_new(write, lease.lane()), |row| Ok(Some(row)))?;
    let Some(row) = locked else {
        return Ok(LeaseResult::Idle(Idle::Leased { wait: BUSY }));
    };
    let room = room.first(write.connection)?.ok_or(Error::Missing {
        what: "destination",
    })?;
    if let Some(until) = room.lease_until {
        let now = write.now()?;
        if is_live(until, now) && !fault::is_planted("lease.ignored") {
            return Ok(LeaseResult::Idle(Idle::Leased {
                wait: wait_until(until, now),
            }));
        }
        places::forget(write, lease.lane())?;
        user_leases::end(write, lease.destination, &lease.token)?;
    }
    let health = health.first(write.connection)?.ok_or(Error::Missing {
        what: "destination",
    })?;
    let health = health.as_of(write.now()?);
    if lease.mode != Mode::Probe && retry_after::apply(write, lease.lane(), &row, &health.health)? {
        heads = None;
    }
    let mut lane = Lane {
        lease,
        destination: found.clone().destination(),
        found,
        row,
        health,
        user: None,
        start: SlotWait::default(),
        has_room: room.has_room,
        has_outdated: false,
    };
    if lane.found.per_user {
        tracks::supersede_profiles(write, lease)?;
        heads = None;
    }
    let head = match lane.head(write, heads)? {
        Ok(head) => head,
        Err(idle) => return Ok(idle),
    };
    if let Some(idle) = limits::start(write, &mut lane, head.event_id)? {
        return Ok(idle);
    }
    // While leasing waited for the rate or the user, a newer `purchase.updated` may have been recorded.
    if lane.has_outdated || lane.destination.rate.is_some() || lane.found.per_user {
        tracks::supersede(write, lease)?;
    }
    lane.freeze(write, secrets, head)
}

impl Lane<'_> {
    /// Freezes the bodies of the next deliveries, beginning with `head`, and leases the lane for them.
    fn freeze(
        &mut self,
        write: &mut Write<'_>,
        secrets: &Secrets,
        mut head: DeliveryRow,
    ) -> Result<LeaseResult, Error> {
        let place = places::take_ahead(write, self.lease, self.destination.concurrency)?;
        loop {
            let frozen = match render::batch(write, self, head)? {
                Ok(frozen) => frozen,
                Err(Stop::Undeliverable(OperatorEvents { events, queued_for })) => {
                    return Ok(LeaseResult::Undeliverable { events, queued_for });
                }
                Err(Stop::UserBusy) => return limits::user_busy(write, self.lease, BUSY),
            };
            if !frozen.is_empty() {
                return self.grant(write, secrets, place, frozen);
            }
            head = match self.head(write, None)? {
                Ok(head) => head,
                Err(idle) => return Ok(idle),
            };
            // The new head may be about another user than the previous one.
            if let Some(idle) = limits::user(write, self, head.event_id)? {
                return Ok(idle);
            }
        }
    }

    /// Returns the next delivery if it may be sent now, or why none may. `heads` are the first deliveries of the lane's
    /// tracks, if they were already read.
    fn head(
        &mut self,
        write: &mut Write<'_>,
        heads: Option<Heads>,
    ) -> Result<Result<DeliveryRow, LeaseResult>, Error> {
        let lease = self.lease;
        if lease.mode == Mode::Probe {
            self.has_outdated = true;
            let newest = tracks::newest(write.connection, lease.lane())?;
            return newest.map_or_else(|| closed(write, lease).map(Err), |head| Ok(Ok(head)));
        }
        let heads = heads.map_or_else(|| tracks::heads(write.connection, lease.lane()), Ok)?;
        let head = match self.next(write, heads)? {
            Some(head) => head,
            // A delivery may be committed between two statements. So the number that was the newest before the lane was
            // seen empty closes the lane: for a newer one, the run leases the lane again.
            None => {
                let last_seq =
                    deliveries::last_seq(write.connection, lease.key, lease.destination)?;
                fault::run_at("lease.seen_empty", lease.key);
                let heads = tracks::heads(write.connection, lease.lane())?;
                match self.next(write, heads)? {
                    Some(head) => head,
                    None => return Ok(Err(LeaseResult::Idle(Idle::Closed { last_seq }))),
                }
            }
        };
        let (health, now) = (&self.health.health, write.now()?);
        let due_at = due_at(&head, health, now);
        if let Some(wait) = health.pending_for(due_at, now) {
            return self.pending(write, wait).map(Err);
        }
        if due_at > now {
            let wait = wait_until(due_at, now);
            return Ok(Err(LeaseResult::Idle(Idle::Wait {
                wait,
                last_error: head.last_error,
            })));
        }
        Ok(Ok(head))
    }

    /// Returns the delivery that is due first.
    fn next(&mut self, write: &mut Write<'_>, heads: Heads) -> Result<Option<DeliveryRow>, Error> {
        let tracks = heads.fetch(write.connection)?;
        self.has_outdated = tracks.has_outdated;
        Ok(tracks.next(&self.health.health, write.now()?))
    }

    /// Leases the lane for these deliveries, together with one of the destination's places.
    fn grant(
        &self,
        write: &mut Write<'_>,
        secrets: &Secrets,
        place: PlaceAhead<'_>,
        frozen: Vec<Frozen>,
    ) -> Result<LeaseResult, Error> {
        let lease = self.lease;
        let Some(place) = place.fetch(write)? else {
            return self.pending(write, BUSY);
        };
        let lease_until = write.now()?.plus(lease.duration);
        let nameless_device_id = frozen
            .iter()
            .find_map(|one| one.body.nameless_device_id.clone());
        let mut attempts = Vec::with_capacity(frozen.len());
        for one in frozen {
            if let CarriedState::New(state) = one.state {
                state.note_sent(write)?;
            }
            attempts.push(begin(write, lease, one)?);
        }
        if let Some(device) = nameless_device_id.filter(|_| self.row.nameless_device_id.is_none()) {
            sql(NAMELESS)
                .bind((device, lease.destination, lease.key))
                .later(write.connection)?;
        }
        let user = self.user.map(|lane| lane.user);
        place.lease(
            write,
            &PlaceLease {
                key: lease.key,
                user,
                token: &lease.token,
                until: lease_until,
            },
        )?;
        if let Some(user) = user {
            user_leases::lease(write, lease.destination, user, &lease.token, lease_until)?;
        }
        if lease.mode == Mode::Probe {
            health::note_probe(write, lease.destination)?;
        }
        if let Some(next_slot_at) = self.start.next_slot_at {
            health::note_slot(write, lease.destination, next_slot_at)?;
        }
        Ok(LeaseResult::Send(Box::new(Batch {
            leased_at: write.began,
            destination: self.destination.clone(),
            secret: self.found.open_secret(secrets)?,
            attempts,
            user,
            start_in: self.start.wait,
            lease_until,
        })))
    }
}

const NAMELESS: Sql = statement! {"
    UPDATE lanes
    SET nameless_device_id = ?
    WHERE destination_id = ? AND collapse_key = ?
"};

const FREEZE: Sql = statement! {"
    UPDATE deliveries
    SET attempts = ?, body = ?, environment = ?, revenue = COALESCE(revenue, ?),
        analytics_device_id = COALESCE(analytics_device_id, ?), joined_device_id = ?, first_tried_at = ?
    WHERE id = ?
"};

/// Only a probe sets `tried_at` when it begins, so that the next probe takes another lane even if the worker crashes.
/// Other attempts set it when they fail; until then they change no index.
const PROBED: Sql = statement!("UPDATE deliveries SET tried_at = ? WHERE id = ?");

/// Begins an attempt. If the last attempt ended before its request was sent, its row is reused.
fn begin(write: &mut Write<'_>, lease: &Lease, frozen: Frozen) -> Result<Attempt, Error> {
    let Frozen {
        row,
        body,
        state,
        pending,
        tries,
    } = frozen;
    let FrozenBody {
        body,
        environment,
        revenue,
        analytics_device_id,
        joined_device_id,
        ..
    } = body;
    if pending.first(write.connection)?.is_none() {
        // The destination was deleted after the delivery was picked. The next lease will end its deliveries.
        return Err(Error::unavailable(AlreadyFinished));
    }
    let tries = tries.first(write.connection)?.unwrap_or(Tries {
        counted: 0,
        refused: 0,
        reusable: 0,
    });
    let begun = if tries.reusable > 0 {
        row.attempts
    } else {
        row.attempts + 1
    };
    insert!(
        attempts {
            delivery_id: row.id,
            number: begun,
            token: lease.token.as_str(),
            mode: lease.mode,
            counts: false,
            started_at: write.now()?,
        },
        "ON CONFLICT (delivery_id, number) DO UPDATE SET token = excluded.token, mode = excluded.mode,
        counts = excluded.counts, started_at = excluded.started_at, finished_at = NULL, latency_ms = NULL,
        status = NULL, class = NULL, error = NULL, headers = NULL, response = NULL, next_due_at = NULL"
    )
    .later(write.connection)?;
    let first_tried_at = row.first_tried_at.unwrap_or(write.now()?);
    sql(FREEZE)
        .bind((
            begun,
            body.as_str(),
            environment,
            revenue,
            analytics_device_id,
            joined_device_id,
            first_tried_at,
            row.id,
        ))
        .later(write.connection)?;
    if lease.mode == Mode::Probe {
        sql(PROBED)
            .bind(write.now()?)
            .bind(row.id)
            .later(write.connection)?;
    }
    Ok(Attempt {
        delivery_id: row.id,
        event_id: row.event_id,
        event_type: row.event_type,
        revision: row.revision,
        number: tries.counted + 1,
        refusals: tries.refused,
        first_tried_at: Some(first_tried_at),
        is_stale: matches!(state, CarriedState::Stale),
        body,
        traceparent: row.traceparent,
    })
}

/// The delivery ended after it was picked.
#[derive(Debug, thiserror::Error)]
#[error("the delivery ended while it was leased")]
struct AlreadyFinished;
