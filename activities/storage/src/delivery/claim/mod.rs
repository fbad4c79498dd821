//! Claiming a lane: pick the deliveries that are due, check the destination's limits, freeze the bodies, lease the
//! lane.
//!
//! Locks the lane, then its user, then the destination's health. A claim does not wait for a lane or a user that
//! another process has locked, because that process is working on it.

pub mod lane;
pub mod limits;
pub mod pick;
mod render;

use crate::db::error::Error;
use crate::db::fault;
use crate::db::secrets::Secrets;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::delivery::lanes::{Attempt, Batch, Claim, Claimed, Idle, Mode};
use crate::delivery::operators::OperatorEvents;
use crate::delivery::{health, retry_after, user_lanes};
use crate::events::deliveries::{self, DeliveryRow};
use crate::settings::destinations;
use domain::health::wait_until;
use lane::{BUSY, Lane, Start, closed, live_lease};
use pick::{due_at, next};
use render::{Frozen, State};

row! {
    /// A delivery's attempts: how many were counted, how many of these the destination refused, and 1 if the row of the
    /// last attempt may be used again.
    struct Tries {
        counted: i64,
        refused: i64,
        reusable: i64,
    }
}

/// Leases a lane for one request.
pub fn claim(write: &mut Write<'_>, secrets: &Secrets, claim: &Claim) -> Result<Claimed, Error> {
    let found = destinations::find(write.connection, claim.destination)?;
    if found.is_none() {
        // Ends deliveries that were recorded while the destination was being deleted.
        deliveries::end_deleted_lane(write, claim.key, claim.destination)?;
    }
    let Some(found) = found.filter(|found| found.enabled) else { return closed(write, claim) };
    let Some(row) = lane::lock_free(write, claim.lane())? else {
        return Ok(Claimed::Idle(Idle::Leased { wait: BUSY }));
    };
    if let Some(until) = live_lease(&row, write.now) {
        return Ok(Claimed::Idle(Idle::Leased { wait: wait_until(until, write.now) }));
    }
    let health = health::find(write.connection, claim.destination)?;
    if claim.mode != Mode::Probe {
        retry_after::apply(write, claim.lane(), &row, &health.health)?;
    }
    let mut lane = Lane {
        claim,
        destination: found.clone().destination(),
        found,
        row,
        health,
        user: None,
        start: Start::default(),
    };
    if lane.found.per_user {
        pick::supersede_profiles(write, claim)?;
    }
    let mut head = match lane.head(write)? {
        Ok(head) => head,
        Err(claimed) => return Ok(claimed),
    };
    if let Some(claimed) = limits::start(write, &mut lane)? {
        return Ok(claimed);
    }
    pick::supersede(write, claim)?;
    loop {
        let frozen = match render::batch(write, &lane, head)? {
            Ok(frozen) => frozen,
            Err(OperatorEvents { events, owing }) => return Ok(Claimed::Undeliverable { events, owing }),
        };
        if !frozen.is_empty() {
            return lane.lease(write, secrets, frozen);
        }
        head = match lane.head(write)? {
            Ok(head) => head,
            Err(claimed) => return Ok(claimed),
        };
    }
}

impl Lane<'_> {
    /// The next delivery, if one may be sent now, or why none may.
    fn head(&self, write: &mut Write<'_>) -> Result<Result<DeliveryRow, Claimed>, Error> {
        let (claim, health) = (self.claim, &self.health.health);
        if claim.mode == Mode::Probe {
            let newest = pick::newest(write.connection, claim.lane())?;
            return newest.map_or_else(|| closed(write, claim).map(Err), |head| Ok(Ok(head)));
        }
        let head = match next(write.connection, claim.lane(), health)? {
            Some(head) => head,
            // A record may commit between two statements. So a lane is closed by the number that was the newest before
            // it was seen empty: the run claims again for a newer one.
            None => {
                let last_seq = deliveries::last_seq(write.connection, claim.key, claim.destination)?;
                fault::run_at("claim.seen_empty", claim.key);
                match next(write.connection, claim.lane(), health)? {
                    Some(head) => head,
                    None => return Ok(Err(Claimed::Idle(Idle::Closed { last_seq }))),
                }
            }
        };
        let due_at = due_at(&head, health);
        if let Some(wait) = health.owed_for(due_at, write.now) {
            return self.owed(write, wait).map(Err);
        }
        if due_at > write.now {
            let wait = wait_until(due_at, write.now);
            return Ok(Err(Claimed::Idle(Idle::Wait { wait, last_error: head.last_error })));
        }
        Ok(Ok(head))
    }

    fn lease(&self, write: &mut Write<'_>, secrets: &Secrets, frozen: Vec<Frozen>) -> Result<Claimed, Error> {
        let claim = self.claim;
        let lease_until = write.now.plus(claim.lease);
        let mut attempts = Vec::with_capacity(frozen.len());
        for one in frozen {
            if let State::New(state) = one.state {
                state.note_sent(write)?;
            }
            attempts.push(begin(write, claim, one)?);
        }
        sql(LEASE)
            .bind(claim.token.as_str())
            .bind(lease_until)
            .bind(self.user.map(|lane| lane.user))
            .bind(claim.destination)
            .bind(claim.key)
            .run(write.connection)?;
        if let Some(user) = self.user {
            user_lanes::lease(write, user, &claim.token, lease_until)?;
        }
        if claim.mode == Mode::Probe {
            health::note_probe(write, claim.destination)?;
        }
        if let Some(next_slot_at) = self.start.next_slot_at {
            health::note_slot(write, claim.destination, next_slot_at)?;
        }
        Ok(Claimed::Send(Box::new(Batch {
            claimed_at: write.began,
            destination: self.destination.clone(),
            secret: self.found.open_secret(secrets)?,
            attempts,
            start_in: self.start.wait,
            lease_until,
        })))
    }
}

const LEASE: Sql = statement! {"
    UPDATE lanes
    SET lease_token = ?, lease_until = ?, lease_user_id = ?
    WHERE destination_id = ? AND collapse_key = ?
"};

const BEGIN: Sql = statement! {"
    INSERT INTO attempts (delivery_id, number, token, mode, counts, started_at)
    VALUES (?, ?, ?, ?, FALSE, ?)
    ON CONFLICT (delivery_id, number) DO UPDATE SET token = excluded.token, mode = excluded.mode,
        counts = excluded.counts, started_at = excluded.started_at, finished_at = NULL, latency_ms = NULL,
        status = NULL, class = NULL, error = NULL, headers = NULL, response = NULL, next_due_at = NULL
"};

const FREEZE: Sql = statement! {"
    UPDATE deliveries
    SET attempts = ?, body = ?, environment = ?, revenue = COALESCE(revenue, ?), first_tried_at = ?, tried_at = ?
    WHERE id = ? AND status = 'pending'
"};

/// Begins an attempt. If the last attempt ended before its request was sent, its row is used again.
fn begin(write: &mut Write<'_>, claim: &Claim, frozen: Frozen) -> Result<Attempt, Error> {
    let Frozen { row, body, environment, revenue, state } = frozen;
    let tries = tries(write, &row)?;
    let begun = if tries.reusable > 0 { row.attempts } else { row.attempts + 1 };
    sql(BEGIN)
        .bind(row.id)
        .bind(begun)
        .bind(claim.token.as_str())
        .bind(claim.mode)
        .bind(write.now)
        .run(write.connection)?;
    let first_tried_at = row.first_tried_at.unwrap_or(write.now);
    let changed = sql(FREEZE)
        .bind(begun)
        .bind(body.as_str())
        .bind(environment)
        .bind(revenue)
        .bind(first_tried_at)
        .bind(write.now)
        .bind(row.id)
        .run(write.connection)?;
    if changed == 0 {
        // The destination was deleted after the delivery was picked. The next claim will end its deliveries.
        return Err(Error::unavailable(AlreadyFinished));
    }
    Ok(Attempt {
        delivery_id: row.id,
        event_id: row.event_id,
        event_type: row.event_type,
        revision: row.revision,
        number: tries.counted + 1,
        refusals: tries.refused,
        first_tried_at: Some(first_tried_at),
        is_stale: matches!(state, State::Stale),
        body,
        traceparent: row.traceparent,
    })
}

const TRIES: Sql = statement! {hot "sqlite_autoindex_attempts or attempts_pkey", "
    SELECT COUNT(CASE WHEN counts THEN 1 END) AS counted,
        COUNT(CASE WHEN counts AND class = 'refused' THEN 1 END) AS refused,
        COUNT(CASE WHEN number = ? AND class IN ('invalid_settings', 'late') THEN 1 END) AS reusable
    FROM attempts
    WHERE delivery_id = ?
"};

fn tries(write: &mut Write<'_>, row: &DeliveryRow) -> Result<Tries, Error> {
    let tries: Option<Tries> = sql(TRIES).bind(row.attempts).bind(row.id).first(write.connection)?;
    Ok(tries.unwrap_or(Tries { counted: 0, refused: 0, reusable: 0 }))
}

/// The delivery ended after it was picked.
#[derive(Debug, thiserror::Error)]
#[error("the delivery ended while it was claimed")]
struct AlreadyFinished;
