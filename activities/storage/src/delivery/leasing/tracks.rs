//! The next delivery of a lane. A lane has two tracks: one sends only the latest `purchase.updated`, the other all
//! other events, oldest first.

use crate::delivery::lanes::{LaneKey, Lease};
use crate::delivery::leasing::lane::Lane;
use crate::events::deliveries::{DeliveryRow, FREED, SELECT};
use db::connection::AnyConnection;
use db::error::Error;
use db::fault;
use db::partial::{PENDING_BY_KEY, PENDING_OF_LANE, WAITING_OF_LANE};
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use db::writer::Write;
use domain::event::REVENUE_ADJUSTED;
use domain::health::Health;
use domain::user::PROFILE_UPDATED;
use domain::{EventId, Timestamp, UserId};

const NEWER_PROFILE: &str = "a newer state of the user replaces it";

/// Returns when a delivery is due at a destination with this health.
pub fn due_at(row: &DeliveryRow, health: &Health, now: Timestamp) -> Timestamp {
    health.due_at(row.next_due_at, row.tried_at, now)
}

/// The first deliveries of both tracks of a lane; they are fetched later.
pub struct Heads {
    state: Ahead<'static, DeliveryRow>,
    event: Ahead<'static, DeliveryRow>,
}

/// Starts reading the first deliveries of both tracks.
pub fn heads(connection: &mut AnyConnection, lane: LaneKey) -> Result<Heads, Error> {
    let mut head = |text: Sql| {
        sql(text)
            .bind(lane.key)
            .bind(lane.destination)
            .ahead(connection)
    };
    Ok(Heads {
        state: head(NEWEST_STATE)?,
        event: head(OLDEST_EVENT)?,
    })
}

impl Heads {
    pub fn fetch(self, connection: &mut AnyConnection) -> Result<Tracks, Error> {
        let states = self.state.all(connection)?;
        let has_outdated = states.len() > 1;
        Ok(Tracks {
            heads: [states.into_iter().next(), self.event.first(connection)?],
            has_outdated,
        })
    }
}

/// The first deliveries of both tracks of a lane.
pub struct Tracks {
    heads: [Option<DeliveryRow>; 2],
    /// Whether an older `purchase.updated` than the latest is pending.
    pub has_outdated: bool,
}

impl Tracks {
    /// Returns the delivery that is due first.
    pub fn next(self, health: &Health, now: Timestamp) -> Option<DeliveryRow> {
        self.heads
            .into_iter()
            .flatten()
            .min_by_key(|row| (due_at(row, health, now), row.seq))
    }
}

/// Returns the delivery that a probe sends: the latest `purchase.updated`, or the oldest event if there is none.
pub fn newest(connection: &mut AnyConnection, lane: LaneKey) -> Result<Option<DeliveryRow>, Error> {
    newest_state(connection, lane)?
        .map_or_else(|| oldest_event(connection, lane), |state| Ok(Some(state)))
}

/// The latest state, and the one before it if that is pending too.
const NEWEST_STATE: Sql = statement! {hot "deliveries_pending_of_lane", "
    {SELECT}
    WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE} AND event_type = 'purchase.updated'
    ORDER BY seq DESC
    LIMIT 2
"};

fn newest_state(
    connection: &mut AnyConnection,
    lane: LaneKey,
) -> Result<Option<DeliveryRow>, Error> {
    sql(NEWEST_STATE)
        .bind(lane.key)
        .bind(lane.destination)
        .first(connection)
}

const OLDEST_EVENT: Sql = statement! {hot "deliveries_pending_of_lane", "
    {SELECT}
    WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE} AND event_type <> 'purchase.updated'
    ORDER BY seq
    LIMIT 1
"};

fn oldest_event(
    connection: &mut AnyConnection,
    lane: LaneKey,
) -> Result<Option<DeliveryRow>, Error> {
    sql(OLDEST_EVENT)
        .bind(lane.key)
        .bind(lane.destination)
        .first(connection)
}

/// `seq + 0` keeps the planner from scanning all deliveries to the destination instead of those of the lane.
const FOLLOWERS: Sql = statement! {hot "deliveries_pending_of_lane", "
    {SELECT}
    WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE} AND event_type <> 'purchase.updated'
        AND seq + 0 > ?
    ORDER BY seq
    LIMIT ?
"};

/// The user that an event `e` of a purchase `p` is about, where `u` is the event's user. An anonymous user may have
/// become another user since, so the purchase's owner counts. A user with an external id still exists, even if another
/// user owns the purchase now.
pub const SUBJECT: &str = "CASE WHEN u.external_id IS NULL THEN p.user_id ELSE u.id END";

row! {
    struct LaneSubject {
        id: EventId,
        user_id: Option<UserId>,
    }
}

/// An event `e` with its user and its purchase, from which its [`SUBJECT`] is read.
const WITH_SUBJECT: &str = "
    FROM events e
    LEFT JOIN users u ON u.id = e.user_id
    LEFT JOIN purchases p ON p.collapse_key = e.collapse_key";

const SUBJECTS: Sql = statement! {hot "events_id", "
    SELECT e.id, {SUBJECT} AS user_id
    {WITH_SUBJECT}
    WHERE e.id IN (?*)
"};

/// Returns the deliveries that may follow `head` in its request: the next ones in order, up to the first that was tried
/// and is not due yet, that changes a payment, or that is about another user.
pub fn followers(
    write: &mut Write<'_>,
    lane: &Lane<'_>,
    head: &DeliveryRow,
    at_most: i64,
) -> Result<Vec<DeliveryRow>, Error> {
    let LaneKey { key, destination } = lane.lease.lane();
    let rows: Vec<DeliveryRow> = sql(FOLLOWERS)
        .bind((key, destination, head.seq, at_most))
        .all(write.connection)?;
    // The body of a change of a payment depends on whether the payment was delivered, so they never share a request.
    let may_follow = |row: &DeliveryRow| row.event_type != REVENUE_ADJUSTED;
    let now = write.now()?;
    let is_due =
        |row: &DeliveryRow| row.tried_at.is_none() || due_at(row, &lane.health.health, now) <= now;
    let mut rows: Vec<DeliveryRow> = rows
        .into_iter()
        .take_while(|row| may_follow(row) && is_due(row))
        .collect();
    if !rows.is_empty() {
        let ids = rows.iter().map(|row| row.event_id).chain([head.event_id]);
        let subjects: Vec<LaneSubject> = sql(SUBJECTS)
            .uncached()
            .bind_list(ids)
            .all(write.connection)?;
        let subject = |event| {
            subjects
                .iter()
                .find(|one| one.id == event)
                .and_then(|one| one.user_id)
        };
        let others = rows
            .iter()
            .position(|row| subject(row.event_id) != subject(head.event_id));
        rows.truncate(others.unwrap_or(rows.len()));
    }
    Ok(rows)
}

const SUPERSEDE: Sql = statement! {hot "deliveries_pending_of_lane", "
    UPDATE deliveries
    SET status = 'superseded', finished_at = ?, {FREED}
    WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE} AND event_type = 'purchase.updated'
        AND seq < (
            SELECT MAX(seq)
            FROM deliveries
            WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE} AND event_type = 'purchase.updated'
        )
"};

/// Statement of a planted fault: it also ends deliveries that have already ended.
const SUPERSEDE_FINAL: Sql = statement! {"
    UPDATE deliveries
    SET status = 'superseded', finished_at = ?, {FREED}
    WHERE collapse_key = ? AND destination_id = ? AND event_type = 'purchase.updated'
        AND seq < (
            SELECT MAX(seq)
            FROM deliveries
            WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE} AND event_type = 'purchase.updated'
        )
"};

/// Ends every pending `purchase.updated` of the lane except the latest as `superseded`.
pub fn supersede(write: &mut Write<'_>, lease: &Lease) -> Result<(), Error> {
    if fault::is_planted("lease.keep_outdated") {
        return Ok(());
    }
    sql(if fault::is_planted("lease.supersede_ended") {
        SUPERSEDE_FINAL
    } else {
        SUPERSEDE
    })
    .bind((
        write.now()?,
        lease.key,
        lease.destination,
        lease.key,
        lease.destination,
    ))
    .later(write.connection)
}

const SUPERSEDE_WAITING: Sql = statement! {hot "deliveries_unnamed_of_lane", "
    UPDATE deliveries
    SET status = 'superseded', last_error = NULL, finished_at = ?, {FREED}
    WHERE collapse_key = ? AND destination_id = ? AND status {WAITING_OF_LANE} AND event_type = 'purchase.updated' AND seq < ?
"};

/// Ends every `purchase.updated` of the lane that waits for its customer's external id and is older than `newer` as
/// `superseded`: only the latest state of a purchase waits.
pub fn supersede_waiting(write: &mut Write<'_>, newer: &DeliveryRow) -> Result<(), Error> {
    sql(SUPERSEDE_WAITING)
        .bind((
            write.now()?,
            newer.collapse_key,
            newer.destination_id,
            newer.seq,
        ))
        .later(write.connection)
}

const SUPERSEDE_PROFILES: Sql = statement! {hot "deliveries_pending_of_lane", "
    UPDATE deliveries
    SET status = 'superseded', last_error = ?, finished_at = ?, {FREED}
    WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE} AND event_type = ?
        AND EXISTS (
            SELECT 1
            FROM deliveries m
            WHERE m.collapse_key = deliveries.collapse_key AND m.destination_id = deliveries.destination_id
                AND m.status {PENDING_OF_LANE} AND m.event_type = deliveries.event_type
                AND m.environment = deliveries.environment AND m.seq > deliveries.seq
                AND (SELECT {SUBJECT} {WITH_SUBJECT} WHERE e.id = m.event_id)
                    = (SELECT {SUBJECT} {WITH_SUBJECT} WHERE e.id = deliveries.event_id)
        )
"};

/// Ends every pending `profile.updated` of the lane except the newest of its user and environment as `superseded`.
/// After a transfer, a lane contains profiles of both users.
pub fn supersede_profiles(write: &mut Write<'_>, lease: &Lease) -> Result<(), Error> {
    sql(SUPERSEDE_PROFILES)
        .bind((
            NEWER_PROFILE,
            write.now()?,
            lease.key,
            lease.destination,
            PROFILE_UPDATED,
        ))
        .later(write.connection)
}

const SUPERSEDE_PROFILE: Sql = statement! {hot "deliveries_id", "
    UPDATE deliveries
    SET status = 'superseded', last_error = ?, finished_at = ?, {FREED}
    WHERE id = ? AND status {PENDING_BY_KEY}
"};

/// Ends a `profile.updated` as `superseded`, because a newer state of its user was sent.
pub fn supersede_profile(write: &mut Write<'_>, row: &DeliveryRow) -> Result<(), Error> {
    sql(SUPERSEDE_PROFILE)
        .bind((NEWER_PROFILE, write.now()?, row.id))
        .later(write.connection)
}
