//! Deliveries: the events that are queued for destinations.

use crate::events::lanes;
use crate::events::status::DeliveryStatus;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::{
    PENDING_BY_KEY, PENDING_OF_DESTINATION, WAITING_OF_DESTINATION, WAITING_OF_LANE,
};
use db::sql::{Clause, Sql, clause, insert, statement};
use db::statement::{Ahead, Number, row, sql};
use db::writer::Write;
use domain::event::PURCHASE_UPDATED;
use domain::{CollapseKey, DeliveryId, DestinationId, Environment, EventId, Timestamp, UserId};

row! {
    #[derive(Clone)]
    pub struct Event {
        pub id: EventId,
        pub event_type: String,
        pub collapse_key: CollapseKey,
        pub revision: i64,
        pub traceparent: Option<String>,
    }
}

row! {
    /// A delivery, with the columns that a lane needs.
    pub struct DeliveryRow {
        pub seq: i64,
        pub id: DeliveryId,
        pub event_id: EventId,
        pub event_type: String,
        pub collapse_key: CollapseKey,
        pub destination_id: DestinationId,
        pub revision: i64,
        pub attempts: i64,
        pub next_due_at: Timestamp,
        pub first_tried_at: Option<Timestamp>,
        pub tried_at: Option<Timestamp>,
        pub body: Option<String>,
        pub environment: Option<Environment>,
        pub last_error: Option<String>,
        pub traceparent: Option<String>,
        pub joined_device_id: Option<String>,
    }
}

/// The columns of a [`DeliveryRow`].
pub const SELECT: &str = "
    SELECT seq, id, event_id, event_type, collapse_key, destination_id, revision, attempts, next_due_at,
        first_tried_at, tried_at, body, environment, last_error, traceparent, joined_device_id
    FROM deliveries";

/// The next open `user.*` deliveries of a destination after a sequence number. Repeats the condition of the index
/// `deliveries_news`, so that deliveries of `purchase.updated` are not read.
pub const NEXT_OF_USERS: &str = "
    SELECT seq
    FROM deliveries
    WHERE destination_id = ? AND status IN ('pending', 'waiting')
        AND event_type <> 'purchase.updated' AND event_type LIKE 'user.%' AND seq > ?
    ORDER BY seq
    LIMIT ?";

/// Columns that an ended delivery does not need, because it is never sent again. Each statement that ends deliveries
/// clears them.
pub const FREED: &str = "body = NULL, traceparent = NULL";

/// Number of deliveries per transaction, so that other writes do not wait long.
pub const BATCH: i64 = 2000;
/// Number of purchases whose waiting deliveries one statement releases.
const RELEASED_AT_ONCE: usize = 500;
/// The statuses of deliveries that have not ended: pending, or waiting for the user's external id.
pub const OPEN: [DeliveryStatus; 2] = [DeliveryStatus::Pending, DeliveryStatus::Waiting];
/// The error of a delivery to a deleted destination.
const DELETED: &str = "the destination was deleted";

/// Maximum number of deliveries of a destination that are counted.
pub const MAX_COUNTED: i64 = 10_000;

/// A delivery to be recorded.
struct NewDelivery<'a> {
    id: DeliveryId,
    event: &'a Event,
    destination: DestinationId,
    /// Numbers the deliveries of the event to the destination, from 0.
    n: u32,
}

/// Queues an event of the same transaction for a destination.
pub fn queue(
    write: &mut Write<'_>,
    event: &Event,
    destination: DestinationId,
) -> Result<(), Error> {
    let id = DeliveryId::of(destination, event.id, 0);
    NewDelivery {
        id,
        event,
        destination,
        n: 0,
    }
    .insert(write)
}

/// Queues an event for a destination again that was recorded earlier, perhaps in an earlier epoch. `n` is the number of
/// deliveries of the event that the destination already has.
pub fn queue_again(
    write: &mut Write<'_>,
    event: &Event,
    destination: DestinationId,
    n: u32,
) -> Result<(), Error> {
    let id = DeliveryId::in_epoch(destination, event.id, write.epoch()?, n);
    NewDelivery {
        id,
        event,
        destination,
        n,
    }
    .insert(write)
}

impl NewDelivery<'_> {
    fn insert(&self, write: &mut Write<'_>) -> Result<(), Error> {
        let event = self.event;
        // Each revision has one `purchase.updated`, so with this most lanes have a row before they are leased.
        if event.event_type == PURCHASE_UPDATED {
            lanes::insert_later(write, event.collapse_key, self.destination)?;
        }
        insert!(deliveries {
            id: self.id,
            destination_id: self.destination,
            event_id: event.id,
            n: i64::from(self.n),
            event_type: event.event_type.as_str(),
            collapse_key: event.collapse_key,
            revision: event.revision,
            status: "pending",
            attempts: 0_i64,
            next_due_at: write.now()?,
            traceparent: event.traceparent.as_deref(),
            created_at: write.now()?,
        })
        .later(write.connection)
    }
}

const SET_ENVIRONMENT: Sql = statement!("UPDATE deliveries SET environment = ? WHERE id = ?");

/// Queues an event like [`queue`], and freezes the environment of the delivery, so that it stays the same even if its
/// purchase's changes.
pub fn queue_in(
    write: &mut Write<'_>,
    event: &Event,
    destination: DestinationId,
    environment: Environment,
) -> Result<(), Error> {
    queue(write, event, destination)?;
    sql(SET_ENVIRONMENT)
        .bind(environment)
        .bind(DeliveryId::of(destination, event.id, 0))
        .later(write.connection)
}

const FIND: Sql = statement!("{SELECT} WHERE id = ?");

/// Starts reading a delivery; its row is fetched later.
pub fn find_ahead(
    connection: &mut AnyConnection,
    id: DeliveryId,
) -> Result<Ahead<'static, DeliveryRow>, Error> {
    sql(FIND).bind(id).ahead(connection)
}

const LOCK_PENDING: Sql = statement! {hot "deliveries_id", "
    SELECT seq AS value
    FROM deliveries
    WHERE id = ? AND status {PENDING_BY_KEY}
    FOR NO KEY UPDATE
"};

/// Locks a delivery until the end of the transaction, if it is pending. Its row is fetched later.
pub fn lock_pending_ahead(
    write: &mut Write<'_>,
    id: DeliveryId,
) -> Result<Ahead<'static, Number>, Error> {
    sql(LOCK_PENDING).bind(id).ahead(write.connection)
}

const RELEASE: Sql = statement! {"
    UPDATE deliveries
    SET status = 'pending', next_due_at = ?, last_error = NULL
    WHERE {{which}}
"};
const OF_PURCHASES: Clause = clause! {&[RELEASE], hot "deliveries_unnamed_of_lane", "
    status {WAITING_OF_LANE} AND collapse_key IN (?*)
"};
const OF_PURCHASE: Clause = clause! {&[RELEASE], hot "deliveries_unnamed_of_lane", "
    status {WAITING_OF_LANE} AND collapse_key = ?
"};
const OF_BATCH: Clause = clause! {&[RELEASE], hot "deliveries_unnamed_of_destination", "
    status {WAITING_OF_DESTINATION} AND destination_id = ? AND seq > ? AND seq <= ?
"};

/// Makes the deliveries of a user's purchases due that waited for the user's external id.
pub fn release(write: &mut Write<'_>, user: UserId) -> Result<(), Error> {
    let waiting: Vec<CollapseKey> = sql(WAITING_OF_USER).bind(user).values(write.connection)?;
    release_purchases(write, &waiting)
}

/// Makes the waiting deliveries of purchases due, because they have a new owner, or because their user now has an id.
pub fn release_purchases(write: &mut Write<'_>, keys: &[CollapseKey]) -> Result<(), Error> {
    for keys in keys.chunks(RELEASED_AT_ONCE) {
        let release = sql(RELEASE.of(OF_PURCHASES)).uncached().bind(write.now()?);
        release
            .bind_list(keys.iter().copied())
            .run(write.connection)?;
    }
    Ok(())
}

/// Makes the waiting deliveries of one purchase due, because it has a new owner.
pub fn release_purchase(write: &mut Write<'_>, key: CollapseKey) -> Result<(), Error> {
    sql(RELEASE.of(OF_PURCHASE))
        .bind(write.now()?)
        .bind(key)
        .later(write.connection)
}

/// The purchases of a user that have a waiting delivery. They are read by a separate statement: in a combined one, a
/// planner would begin with all waiting deliveries.
const WAITING_OF_USER: Sql = statement! {hot "deliveries_unnamed_of_lane", "
    SELECT p.collapse_key AS value
    FROM purchases p
    WHERE p.user_id = ? AND (
        SELECT d.seq
        FROM deliveries d
        WHERE d.collapse_key = p.collapse_key AND d.status {WAITING_OF_LANE}
        LIMIT 1) IS NOT NULL
"};

const END_OF_BATCH: Sql = statement! {"
    SELECT MAX(seq) AS value
    FROM (SELECT seq FROM deliveries WHERE destination_id = ? AND seq > ? AND {{which}}
        ORDER BY seq LIMIT ?) batch
    HAVING MAX(seq) IS NOT NULL
"};

// A partial index for one status is used only by a statement that contains this status as a literal.
const PENDING: Clause = clause! {&[END_OF_BATCH, END_BATCH], hot "deliveries_pending_of_destination", "
    status {PENDING_OF_DESTINATION}
"};
const WAITING: Clause = clause! {
    &[END_OF_BATCH, END_BATCH], hot "deliveries_unnamed_of_destination", "
    status {WAITING_OF_DESTINATION}
"};

const fn in_status(status: DeliveryStatus) -> Clause {
    if matches!(status, DeliveryStatus::Waiting) {
        WAITING
    } else {
        PENDING
    }
}

/// Returns the last sequence number of the next batch of a destination's deliveries in a status; `None` if there are
/// none. The batch begins after `after`.
fn end_of_batch(
    connection: &mut AnyConnection,
    destination: DestinationId,
    status: DeliveryStatus,
    after: i64,
) -> Result<Option<i64>, Error> {
    sql(END_OF_BATCH.of(in_status(status)))
        .bind((destination, after, BATCH))
        .value(connection)
}

const REQUEST_RECONSIDERATION: Sql =
    statement!("UPDATE destinations SET reconsider_after = 0 WHERE id = ?");

/// Marks a destination whose settings changed: all its deliveries that wait for a user's external id are to be
/// reconsidered, which makes them due.
pub fn request_reconsideration(
    write: &mut Write<'_>,
    destination: DestinationId,
) -> Result<(), Error> {
    sql(REQUEST_RECONSIDERATION)
        .bind(destination)
        .run(write.connection)
        .map(drop)
}

const LOCK_RECONSIDERATION: Sql = statement! {"
    SELECT reconsider_after AS value
    FROM destinations
    WHERE id = ? AND deleted_at IS NULL AND reconsider_after IS NOT NULL
    FOR NO KEY UPDATE
"};

const NOTE_RECONSIDERED: Sql =
    statement!("UPDATE destinations SET reconsider_after = ? WHERE id = ?");

/// Makes the next batch of a destination's waiting deliveries due, and records the end of the batch. Returns how many
/// became due, or `None` if none is left. The destination's mark is locked in the meantime, so that a new request for
/// reconsideration is not lost.
pub fn reconsider(write: &mut Write<'_>, destination: DestinationId) -> Result<Option<i64>, Error> {
    let noted: Option<i64> = sql(LOCK_RECONSIDERATION)
        .bind(destination)
        .value(write.connection)?;
    let Some(after) = noted else { return Ok(None) };
    let last = end_of_batch(
        write.connection,
        destination,
        DeliveryStatus::Waiting,
        after,
    )?;
    let reconsidered = sql(RELEASE.of(OF_BATCH))
        .bind((write.now()?, destination, after, last.unwrap_or(after)))
        .run(write.connection)?;
    sql(NOTE_RECONSIDERED)
        .bind(last)
        .bind(destination)
        .run(write.connection)?;
    Ok(last.map(|_| i64::try_from(reconsidered).unwrap_or(i64::MAX)))
}

const UNRECONSIDERED: Sql = statement! {"
    SELECT id AS value
    FROM destinations
    WHERE deleted_at IS NULL AND reconsider_after IS NOT NULL
    ORDER BY id
    LIMIT ?
"};

/// Returns at most `limit` destinations whose waiting deliveries are still to be reconsidered.
pub fn unreconsidered(
    connection: &mut AnyConnection,
    limit: i64,
) -> Result<Vec<DestinationId>, Error> {
    sql(UNRECONSIDERED).bind(limit).values(connection)
}

const LAST_SEQ: Sql = statement! {hot "deliveries_of_key", "
    SELECT seq AS value
    FROM deliveries
    WHERE collapse_key = ? AND destination_id = ?
    ORDER BY seq DESC
    LIMIT 1
"};

/// Returns the newest sequence number ever recorded in a lane, or 0.
pub fn last_seq(
    connection: &mut AnyConnection,
    key: CollapseKey,
    destination: DestinationId,
) -> Result<i64, Error> {
    let last: Option<Number> = last_seq_ahead(connection, key, destination)?.first(connection)?;
    Ok(last.map_or(0, |last| last.value))
}

/// Starts the query of [`last_seq`]; the number is fetched later, and a missing row means 0.
pub fn last_seq_ahead(
    connection: &mut AnyConnection,
    key: CollapseKey,
    destination: DestinationId,
) -> Result<Ahead<'static, Number>, Error> {
    sql(LAST_SEQ).bind(key).bind(destination).ahead(connection)
}

const COUNT_PENDING: Sql = statement! {
    hot "deliveries_pending_of_destination", "
    SELECT COUNT(*) AS value
    FROM (SELECT seq FROM deliveries WHERE destination_id = ?
        AND status {PENDING_OF_DESTINATION} LIMIT {MAX_COUNTED}) AS pending
"};

/// Counts the pending deliveries of a destination, up to [`MAX_COUNTED`].
pub fn pending(connection: &mut AnyConnection, destination: DestinationId) -> Result<i64, Error> {
    Ok(sql(COUNT_PENDING)
        .bind(destination)
        .value(connection)?
        .unwrap_or(0))
}

const ANY_PENDING: Sql = statement! {
    hot "deliveries_pending_of_destination", "
    SELECT seq AS value
    FROM deliveries
    WHERE destination_id = ? AND status {PENDING_OF_DESTINATION}
    ORDER BY seq DESC
    LIMIT 1
"};

/// Whether a destination has a pending delivery.
pub fn is_pending(
    connection: &mut AnyConnection,
    destination: DestinationId,
) -> Result<bool, Error> {
    Ok(sql(ANY_PENDING)
        .bind(destination)
        .value::<i64>(connection)?
        .is_some())
}

const END_BATCH: Sql = statement! {"
    UPDATE deliveries
    SET status = 'failed', last_error = ?, finished_at = ?, {FREED}
    WHERE destination_id = ? AND seq > ? AND seq <= ? AND {{which}}
"};

/// Ends a batch of a deleted destination's open deliveries in a status as failed. Returns the last sequence number of
/// the batch and the number of ended deliveries; `None` if none is left.
pub fn end_deleted(
    write: &mut Write<'_>,
    destination: DestinationId,
    status: DeliveryStatus,
    after: i64,
) -> Result<Option<(i64, i64)>, Error> {
    let Some(last) = end_of_batch(write.connection, destination, status, after)? else {
        return Ok(None);
    };
    let finished = sql(END_BATCH.of(in_status(status)))
        .bind((DELETED, write.now()?, destination, after, last))
        .run(write.connection)?;
    Ok(Some((last, i64::try_from(finished).unwrap_or(i64::MAX))))
}

const END_LANE: Sql = statement! {"
    UPDATE deliveries
    SET status = 'failed', last_error = ?, finished_at = ?, {FREED}
    WHERE collapse_key = ? AND destination_id = ? AND status IN ('pending', 'waiting')
"};

/// Ends the open deliveries in one lane of a deleted destination as failed.
pub fn end_deleted_lane(
    write: &mut Write<'_>,
    key: CollapseKey,
    destination: DestinationId,
) -> Result<(), Error> {
    sql(END_LANE)
        .bind((DELETED, write.now()?, key, destination))
        .run(write.connection)
        .map(drop)
}

const DELETED_PENDING: Sql = statement! {"
    SELECT x.id AS value
    FROM destinations x
    WHERE x.deleted_at IS NOT NULL
        AND ((SELECT 1 FROM deliveries d WHERE d.destination_id = x.id
                AND d.status {PENDING_OF_DESTINATION} LIMIT 1) IS NOT NULL
            OR (SELECT 1 FROM deliveries d WHERE d.destination_id = x.id
                AND d.status {WAITING_OF_DESTINATION} LIMIT 1) IS NOT NULL)
    ORDER BY x.id
    LIMIT ?
"};

/// Returns at most `limit` deleted destinations that still have open deliveries.
pub fn deleted_pending(
    connection: &mut AnyConnection,
    limit: i64,
) -> Result<Vec<DestinationId>, Error> {
    sql(DELETED_PENDING).bind(limit).values(connection)
}

/// The condition that the destination may have received the event in attempt `a`, although it did not acknowledge it. A
/// 4xx response is a clear refusal, and attempts of the listed classes sent no request.
pub const UNCLEAR: &str = "
    (a.status IS NULL OR a.status >= 500 OR (a.status < 400 AND COALESCE(a.class, '') <> 'success'))
        AND COALESCE(a.class, '') NOT IN ('invalid_settings', 'late', 'too_late', 'no_key', 'postponed')";
