//! The places of a destination: one for each request that it may take at once, and one for its probe. A request leases
//! a place until it is finished, or until its lease expires if its worker crashed. So requests in flight need not be
//! counted to limit concurrency.
//!
//! A lease takes a free place that no other transaction has locked, without waiting. After the concurrency was lowered,
//! no place is leased until all places above the new limit are free.
//!
//! The stream of device events leases several places at once. While it waits because all are taken, the first place is
//! reserved for it.

use crate::delivery::lanes::{LaneKey, Lease, Mode};
use crate::events::user_leases::{FREE, LIVE};
use const_format::formatcp;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Number, row, sql};
use db::writer::Write;
use domain::{CollapseKey, DestinationId, Timestamp, UserId};
use std::ops::Range;

/// The place of probes, which the concurrency does not limit.
const OF_PROBE: i64 = -1;

const PROVIDE: Sql = statement! {"
    WITH RECURSIVE numbers (place) AS (
        SELECT CAST({OF_PROBE} AS BIGINT)
        UNION ALL
        SELECT place + 1 FROM numbers WHERE place + 1 < ?
    )
    INSERT INTO leases (destination_id, place, lease_until)
    SELECT CAST(? AS TEXT), place, 0
    FROM numbers
    WHERE TRUE
    ON CONFLICT DO NOTHING
"};

/// Inserts the places that a destination lacks for this concurrency.
pub fn provide(
    write: &mut Write<'_>,
    destination: DestinationId,
    concurrency: i64,
) -> Result<(), Error> {
    sql(PROVIDE)
        .bind(concurrency)
        .bind(destination)
        .later(write.connection)
}

row! {
    /// What leasing a lane reads before it picks deliveries.
    pub struct Room {
        /// When the lane's lease ends or ended; `None` if its last request was finished. 0 if the lease has the same
        /// token, because the result of that leasing was lost.
        pub lease_until: Option<Timestamp>,
        pub has_room: bool,
    }
}

/// Number of places reserved for a waiting stream, unless it is the stream with this token. Binds now and the token.
const RESERVED: &str = formatcp!(
    "
    SELECT COUNT(*)
    FROM streams s
    WHERE s.destination_id = l.destination_id AND s.is_waiting AND s.{LIVE} AND s.lease_token <> ?"
);

/// A place above the concurrency that is still leased. Binds now; the concurrency must follow.
const LOWERED: &str = formatcp!(
    "
    SELECT 1
    FROM leases h
    WHERE h.destination_id = l.destination_id AND h.{LIVE} AND h.place >= "
);

const ROOM: Sql = statement! {hot "leases_pkey or sqlite_autoindex_leases", "
    SELECT (
            SELECT MAX(CASE WHEN l.lease_token = ? THEN 0 ELSE l.lease_until END)
            FROM leases l
            WHERE l.destination_id = d.id AND l.collapse_key = ?) AS lease_until,
        EXISTS (
            SELECT 1
            FROM leases l
            WHERE l.destination_id = d.id AND l.place >= ({RESERVED}) AND l.place < d.concurrency
                AND ({FREE} OR l.lease_token = ?) AND NOT EXISTS ({LOWERED}d.concurrency)
        ) AS has_room
    FROM destinations d
    WHERE d.id = ?
"};

/// Reads the lease of a lane, and whether its destination has a free place. The result is empty if there is no such
/// destination.
pub fn room_ahead<'c>(write: &mut Write<'_>, lease: &'c Lease) -> Result<Ahead<'c, Room>, Error> {
    let now = write.now_value();
    sql(ROOM)
        .bind((
            lease.token.as_str(),
            lease.key,
            now.clone(),
            lease.token.as_str(),
            now.clone(),
            lease.token.as_str(),
            now,
            lease.destination,
        ))
        .ahead(write.connection)
}

const TAKE: Sql = statement! {hot "leases_pkey or sqlite_autoindex_leases", "
    SELECT l.place AS value
    FROM leases l
    WHERE l.destination_id = ? AND l.place >= ? AND l.place < ? AND {FREE}
        AND (l.place < 0 OR l.place >= ({RESERVED}) AND NOT EXISTS ({LOWERED}?))
    ORDER BY l.place
    LIMIT ?
    FOR UPDATE SKIP LOCKED
"};

struct PlaceRequest<'a> {
    destination: DestinationId,
    range: Range<i64>,
    token: &'a str,
    at_most: i64,
}

impl<'a> PlaceRequest<'a> {
    /// Locks the places until the end of the transaction; the result is fetched later.
    fn take_ahead(self, write: &mut Write<'_>) -> Result<Ahead<'a, Number>, Error> {
        let now = write.now_value();
        sql(TAKE)
            .bind((
                self.destination,
                self.range.start,
                self.range.end,
                now.clone(),
                now.clone(),
                self.token,
                now,
                self.range.end,
                self.at_most,
            ))
            .ahead(write.connection)
    }
}

/// A place that is being locked for a lease.
pub struct PlaceAhead<'c> {
    destination: DestinationId,
    place: Ahead<'c, Number>,
}

/// A free place that is locked for a lease.
pub struct FreePlace {
    destination: DestinationId,
    number: i64,
}

/// Takes a place for a request; a probe has its own.
pub fn take_ahead<'c>(
    write: &mut Write<'_>,
    lease: &'c Lease,
    concurrency: i64,
) -> Result<PlaceAhead<'c>, Error> {
    let (destination, token) = (lease.destination, lease.token.as_str());
    let range = if lease.mode == Mode::Probe {
        OF_PROBE..0
    } else {
        0..concurrency
    };
    let place = PlaceRequest {
        destination,
        range,
        token,
        at_most: 1,
    }
    .take_ahead(write)?;
    Ok(PlaceAhead { destination, place })
}

impl PlaceAhead<'_> {
    /// Fetches the place; `None` if none is free any more.
    pub fn fetch(self, write: &mut Write<'_>) -> Result<Option<FreePlace>, Error> {
        let place = self.place.first(write.connection)?;
        Ok(place.map(|number| FreePlace {
            destination: self.destination,
            number: number.value,
        }))
    }
}

/// The request for which a place is leased.
pub struct PlaceLease<'a> {
    pub key: CollapseKey,
    /// The user, if the destination gets requests user by user.
    pub user: Option<UserId>,
    pub token: &'a str,
    /// When the lease ends if the request is not finished before.
    pub until: Timestamp,
}

const LEASE: Sql = statement! {"
    UPDATE leases
    SET collapse_key = ?, user_id = ?, lease_token = ?, lease_until = ?
    WHERE destination_id = ? AND place = ?
"};

impl FreePlace {
    /// Leases the place to a lane that is locked and has no lease.
    pub fn lease(self, write: &mut Write<'_>, lease: &PlaceLease<'_>) -> Result<(), Error> {
        sql(LEASE)
            .bind((
                lease.key,
                lease.user,
                lease.token,
                lease.until,
                self.destination,
                self.number,
            ))
            .later(write.connection)
    }
}

const FORGET: Sql = statement! {hot "leases_of_lane", "
    UPDATE leases
    SET collapse_key = NULL, lease_token = NULL, lease_until = 0
    WHERE destination_id = ? AND collapse_key = ?
"};

/// Removes the expired lease of a lane, so that its request no longer holds the lane when it finishes. The lane must be
/// locked.
pub fn forget(write: &mut Write<'_>, lane: LaneKey) -> Result<(), Error> {
    sql(FORGET)
        .bind(lane.destination)
        .bind(lane.key)
        .later(write.connection)
}

row! {
    /// The user of an ended lease.
    pub struct LeaseUser {
        /// The user of the request.
        pub user_id: Option<UserId>,
    }
}

const END: Sql = statement! {hot "leases_of_lane", "
    UPDATE leases
    SET collapse_key = NULL, lease_token = NULL, lease_until = 0
    WHERE destination_id = ? AND collapse_key = ? AND lease_token = ?
    RETURNING user_id
"};

/// Ends the lease of a lane with this token, unless it was lost; the result is fetched later.
pub fn end_ahead<'t>(
    write: &mut Write<'_>,
    lane: LaneKey,
    token: &'t str,
) -> Result<Ahead<'t, LeaseUser>, Error> {
    sql(END)
        .bind((lane.destination, lane.key, token))
        .ahead(write.connection)
}

const LIVE_UNTIL: Sql = statement! {hot "leases_of_lane", "
    SELECT lease_until AS value
    FROM leases
    WHERE destination_id = ? AND collapse_key = ? AND {LIVE}
"};

/// Returns when the lease of a lane ends; `None` if the lane is free.
pub fn live_until(
    connection: &mut AnyConnection,
    lane: LaneKey,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    sql(LIVE_UNTIL)
        .bind((lane.destination, lane.key, now))
        .value(connection)
}

const HELD: Sql = statement! {hot "leases_of_lane", "
    SELECT COUNT(*) AS value
    FROM leases
    WHERE destination_id = ? AND collapse_key = ? AND lease_token = ? AND {LIVE}
"};

/// Whether a lane is leased with this token at this time.
pub fn is_held(
    connection: &mut AnyConnection,
    lane: LaneKey,
    token: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let held = sql(HELD).bind((lane.destination, lane.key, token, now));
    Ok(held.value::<i64>(connection)?.unwrap_or_default() > 0)
}

const RELEASE: Sql = statement! {hot "leases_of_stream", "
    UPDATE leases
    SET lease_token = NULL, lease_until = 0
    WHERE destination_id = ? AND collapse_key IS NULL AND lease_token = ?
"};

/// Frees the places of a stream.
pub fn release(
    write: &mut Write<'_>,
    destination: DestinationId,
    token: &str,
) -> Result<(), Error> {
    sql(RELEASE)
        .bind(destination)
        .bind(token)
        .later(write.connection)
}

const LEASE_SEVERAL: Sql = statement! {"
    UPDATE leases
    SET collapse_key = NULL, user_id = NULL, lease_token = ?, lease_until = ?
    WHERE destination_id = ? AND place IN (?*)
"};

/// Leases at most `at_most` free places to the stream of a destination with this token; returns their number.
pub fn lease_several(
    write: &mut Write<'_>,
    destination: DestinationId,
    concurrency: i64,
    at_most: i64,
    token: &str,
    until: Timestamp,
) -> Result<usize, Error> {
    let wanted = PlaceRequest {
        destination,
        range: 0..concurrency,
        token,
        at_most,
    };
    let taken = wanted.take_ahead(write)?.all(write.connection)?;
    let count = taken.len();
    if count > 0 {
        let taken = taken.into_iter().map(|place| place.value);
        let lease = sql(LEASE_SEVERAL)
            .uncached()
            .bind((token, until, destination))
            .bind_list(taken);
        lease.run(write.connection)?;
    }
    Ok(count)
}
