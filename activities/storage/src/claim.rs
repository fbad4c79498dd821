//! Claiming a lane: lease it, pick what is due, freeze its body.

use crate::Error;
use crate::connection::AnyConnection;
use crate::deliveries::{self, DeliveryRow};
use crate::destinations::{self, DestinationRow};
use crate::fault;
use crate::lanes::{Attempt, Claimed};
use crate::secrets::Secrets;
use crate::statement::{row, sql};
use crate::writer::Write;
use domain::event::{PURCHASE_UPDATED, for_destination};
use domain::{CollapseKey, DestinationId, EventId, Timestamp};

/// Who wants which lane, and for how long.
pub struct Claim<'a> {
    /// The purchase.
    pub key: CollapseKey,
    /// Whom we tell.
    pub destination: DestinationId,
    /// What the claimer will show later.
    pub token: &'a str,
    /// How long the lease lasts, in milliseconds.
    pub lease_ms: i64,
}

row! {
    /// What is remembered of a lane.
    pub struct LaneRow {
        pub acked_revision: Option<i64>,
        pub lease_token: Option<String>,
        pub lease_delivery_id: Option<String>,
        pub lease_until: Option<Timestamp>,
    }
}

row! {
    /// A delivery's attempts: those that sent a request, and whether the last one's row may be used again.
    struct Told {
        sent: i64,
        reusable: i64,
    }
}

row! {
    struct Body {
        body: String,
    }
}

/// Leases a lane, if something in it is due and nobody else has it.
pub fn claim(write: &mut Write<'_>, secrets: &Secrets, claim: &Claim<'_>) -> Result<Claimed, Error> {
    let destination = destinations::find(write.connection, claim.destination)?;
    if destination.is_none() {
        // What was recorded at the moment when the destination was deleted.
        deliveries::end_deleted(write, claim.destination)?;
    }
    let Some(destination) = destination.filter(|found| found.enabled) else {
        return closed(write, claim);
    };
    let lane = lock_lane(write, claim.key, claim.destination)?;
    if let Some(until) = live_lease(&lane, write.now) {
        return Ok(Claimed::Leased { ms: millis_until(until, write.now) });
    }
    let Some(next) = next(write.connection, claim.key, claim.destination)? else {
        return closed(write, claim);
    };
    if next.next_due_at > write.now {
        let ms = millis_until(next.next_due_at, write.now);
        return Ok(Claimed::Wait { ms, last_error: next.last_error });
    }
    supersede(write, claim)?;
    let attempt = lease(write, secrets, claim, (next, destination, lane.acked_revision))?;
    Ok(Claimed::Send(Box::new(attempt)))
}

fn closed(write: &mut Write<'_>, claim: &Claim<'_>) -> Result<Claimed, Error> {
    Ok(Claimed::Closed { last_seq: deliveries::last_seq(write.connection, claim.key, claim.destination)? })
}

/// Locks a lane until the end of the transaction, and makes its row first.
pub fn lock_lane(write: &mut Write<'_>, key: CollapseKey, destination: DestinationId) -> Result<LaneRow, Error> {
    if let Some(lane) = find_locked(write, key, destination)? {
        return Ok(lane);
    }
    sql("INSERT INTO lanes (destination_id, collapse_key) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(destination)
        .bind(key)
        .run(write.connection)?;
    find_locked(write, key, destination)?.ok_or(Error::Missing { what: "lane" })
}

fn find_locked(write: &mut Write<'_>, key: CollapseKey, destination: DestinationId) -> Result<Option<LaneRow>, Error> {
    let lock = write.connection.for_update();
    let text = format!(
        "SELECT acked_revision, lease_token, lease_delivery_id, lease_until FROM lanes \
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

/// Milliseconds until then, at least 1: rounded up, so that nobody comes back too early.
pub fn millis_until(then: Timestamp, now: Timestamp) -> i64 {
    (then.micros() - now.micros()).saturating_add(999).div_euclid(1000).max(1)
}

/// What a lane sends next: of its two tracks' heads the one that is due first. The tracks are the
/// newest `purchase.updated`, and all other events, the oldest first.
pub fn next(
    connection: &mut AnyConnection,
    key: CollapseKey,
    destination: DestinationId,
) -> Result<Option<DeliveryRow>, Error> {
    let track = |condition: &str| {
        let pending = "WHERE collapse_key = ? AND destination_id = ? AND status = 'pending' AND event_type";
        sql(format!("{} {pending} {condition} LIMIT 1", deliveries::SELECT))
            .bind(key)
            .bind(destination)
            .bind(PURCHASE_UPDATED)
    };
    let newest: Option<DeliveryRow> = track("= ? ORDER BY seq DESC").first(connection)?;
    let oldest: Option<DeliveryRow> = track("<> ? ORDER BY seq").first(connection)?;
    let due = |row: &DeliveryRow| (row.next_due_at, row.seq);
    Ok(newest.into_iter().chain(oldest).min_by_key(due))
}

/// Ends every undelivered `purchase.updated` of the lane but the newest.
fn supersede(write: &mut Write<'_>, claim: &Claim<'_>) -> Result<(), Error> {
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

fn lease(
    write: &mut Write<'_>,
    secrets: &Secrets,
    claim: &Claim<'_>,
    (next, destination, acked_revision): (DeliveryRow, DestinationRow, Option<i64>),
) -> Result<Attempt, Error> {
    let (number, begun) = begin(write, claim, &next)?;
    let body = match next.body {
        Some(body) => body,
        None => frozen(write, next.event_id, claim.destination, acked_revision)?,
    };
    let lease_until = write.now.plus_millis(claim.lease_ms);
    sql("UPDATE deliveries SET attempts = ?, body = ? WHERE id = ?")
        .bind(begun)
        .bind(body.as_str())
        .bind(next.id)
        .run(write.connection)?;
    sql("UPDATE lanes SET lease_token = ?, lease_delivery_id = ?, lease_until = ? \
         WHERE destination_id = ? AND collapse_key = ?")
    .bind(claim.token)
    .bind(next.id)
    .bind(lease_until)
    .bind(claim.destination)
    .bind(claim.key)
    .run(write.connection)?;
    Ok(Attempt {
        delivery_id: next.id,
        event_id: next.event_id,
        event_type: next.event_type,
        revision: next.revision,
        number,
        body,
        secret: destination.open_secret(secrets)?,
        destination: destination.destination()?,
        lease_until,
        traceparent: next.traceparent,
    })
}

/// Begins an attempt: its number among those that sent a request, and how many were begun with it. The row
/// of an attempt that ended before a request was made, for want of usable settings, is used again.
fn begin(write: &mut Write<'_>, claim: &Claim<'_>, next: &DeliveryRow) -> Result<(i64, i64), Error> {
    let told: Option<Told> = sql("SELECT COUNT(CASE WHEN class <> 'invalid_settings' THEN 1 END) AS sent, \
         COUNT(CASE WHEN number = ? AND class = 'invalid_settings' THEN 1 END) AS reusable \
         FROM attempts WHERE delivery_id = ?")
    .bind(next.attempts)
    .bind(next.id)
    .first(write.connection)?;
    let told = told.unwrap_or(Told { sent: 0, reusable: 0 });
    let begun = if told.reusable > 0 { next.attempts } else { next.attempts + 1 };
    sql("INSERT INTO attempts (delivery_id, number, token, started_at) VALUES (?, ?, ?, ?) \
         ON CONFLICT (delivery_id, number) DO UPDATE SET token = excluded.token, started_at = excluded.started_at, \
         finished_at = NULL, latency_ms = NULL, status = NULL, class = NULL, error = NULL, response = NULL")
    .bind(next.id)
    .bind(begun)
    .bind(claim.token)
    .bind(write.now)
    .run(write.connection)?;
    Ok((told.sent + 1, begun))
}

/// The body as this destination gets it in every attempt.
fn frozen(
    write: &mut Write<'_>,
    event: EventId,
    destination: DestinationId,
    acked_revision: Option<i64>,
) -> Result<String, Error> {
    let event: Option<Body> = sql("SELECT body FROM events WHERE id = ?").bind(event).first(write.connection)?;
    let body = event.ok_or(Error::Missing { what: "event" })?.body;
    let body = serde_json::from_str(&body).map_err(|cause| Error::corrupt_by("an event's body is not JSON", cause))?;
    Ok(for_destination(body, destination, acked_revision).to_string())
}
