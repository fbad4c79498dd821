//! The free lanes of a destination: those with a pending delivery that is not leased.
//!
//! `hot "index"` in a statement names the index that serves it; a test checks that both databases use it.

use crate::events::user_leases::{LIVE, PAUSED};
use crate::purchases::owned::PRESENT_ENVIRONMENT;
use const_format::formatcp;
use db::partial::{PENDING_DUE, PENDING_OF_DESTINATION, PENDING_OF_LANE, PENDING_TRIED};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Statement, row, sql};
use domain::health::Health;
use domain::{CollapseKey, DestinationId, Timestamp};

row! {
    pub struct CollapseKeyRow {
        pub collapse_key: CollapseKey,
    }
}

row! {
    /// A lane in which a delivery was found, and the times of the delivery.
    pub struct FreeLane {
        pub collapse_key: CollapseKey,
        pub next_due_at: Timestamp,
        pub tried_at: Option<Timestamp>,
    }
}

/// The condition that the delivery is first in its track: it is a `purchase.updated`, or the lane has no earlier event
/// that is not due yet. Events of a lane are sent in order, so an event behind one that is not due is not due either.
/// Binds now. The time before which a tried delivery is due despite its back-off follows, and then [`HEAD_END`].
pub const HEAD: &str = formatcp!(
    "(d.event_type = 'purchase.updated' OR NOT EXISTS (
        SELECT 1
        FROM deliveries h
        WHERE h.collapse_key = d.collapse_key AND h.destination_id = d.destination_id AND h.status {PENDING_OF_LANE}
            AND h.event_type <> 'purchase.updated' AND h.seq < d.seq AND h.next_due_at > ?
            AND (h.tried_at IS NULL OR h.tried_at >= "
);
pub const HEAD_END: &str = ")))";

/// [`HEAD`] with the values of [`Lanes::head`].
const IS_HEAD: &str = formatcp!("{HEAD}?{HEAD_END}");

/// The live lease of the delivery's lane, at most one row. It is used as a subquery that returns a value, because a
/// planner that expects no delivery would join all pending deliveries with all leases. Binds now.
pub const LEASE: &str = formatcp!(
    "
        SELECT 1
        FROM leases l
        WHERE l.destination_id = d.destination_id AND l.collapse_key = d.collapse_key AND {LIVE}
        LIMIT 1"
);

const FREE: Sql = statement! {"
    SELECT d.collapse_key, d.next_due_at, d.tried_at
    FROM deliveries d
    WHERE d.destination_id = ? AND ({LEASE}) IS NULL
        AND {{which}}
    LIMIT ?
"};

/// Free lanes of a destination that gets requests user by user: the lane's user, too, must be neither leased nor paused
/// in this environment. The condition is a subquery that returns a value instead of a `NOT EXISTS`: a planner expects
/// few leased or paused users, and would start with all of them.
const FREE_OF_USERS: Sql = statement! {"
    SELECT d.collapse_key, d.next_due_at, d.tried_at
    FROM deliveries d
    WHERE d.destination_id = ? AND ({LEASE}) IS NULL
        AND (
            SELECT u.{PAUSED} OR EXISTS (
                SELECT 1
                FROM user_leases l
                WHERE l.destination_id = d.destination_id AND l.user_id = p.user_id AND {LIVE})
            FROM purchases p
            JOIN platforms f ON f.id = p.platform_id
            LEFT JOIN user_lanes u ON u.destination_id = d.destination_id AND u.user_id = p.user_id
                AND u.environment = {PRESENT_ENVIRONMENT}
            WHERE p.collapse_key = d.collapse_key) IS NOT TRUE
        AND {{which}}
    LIMIT ?
"};

const ALL: &[Sql] = &[FREE, FREE_OF_USERS];

/// Lanes with a delivery that is due by its own time, from a low mark on. Binds now, the mark and the values of
/// [`Lanes::head`].
pub const DUE: Clause = clause! {ALL, hot "deliveries_pending_due", "
    d.status {PENDING_DUE} AND d.next_due_at <= ? AND d.next_due_at >= ? AND {IS_HEAD}
    ORDER BY d.next_due_at
"};

/// Lanes with a delivery that is due because it was last tried before [`Lanes::due_since`], from a low mark on. Binds
/// that time, the mark and the values of [`Lanes::head`].
pub const TRIED_BEFORE: Clause = clause! {ALL, hot "deliveries_pending_tried", "
    d.status {PENDING_TRIED} AND d.tried_at < ? AND d.tried_at >= ? AND {IS_HEAD}
    ORDER BY d.tried_at
"};

/// Lanes without a delivery that was tried after a time, the newest delivery first. Binds that time.
pub const UNTRIED_SINCE: Clause = clause! {ALL, hot "deliveries_pending_of_destination", "
    d.status {PENDING_OF_DESTINATION} AND (
        SELECT 1
        FROM deliveries t
        WHERE t.collapse_key = d.collapse_key AND t.destination_id = d.destination_id AND t.status {PENDING_OF_LANE}
            AND t.tried_at > ?
        LIMIT 1) IS NULL
    ORDER BY d.seq DESC
"};

/// Lanes with a delivery that was tried after a time, the one tried longest ago first. Binds that time.
pub const TRIED_SINCE: Clause = clause! {ALL, hot "deliveries_pending_tried", "
    d.status {PENDING_TRIED} AND d.tried_at > ?
    ORDER BY d.tried_at
"};

/// A leased lane with a due delivery. The worker that leased it may have crashed.
const TAKEN: Sql = statement! {hot "deliveries_pending_of_lane", "
    SELECT l.collapse_key
    FROM leases l
    WHERE l.destination_id = ? AND l.collapse_key IS NOT NULL AND {LIVE} AND (
        SELECT d.seq
        FROM deliveries d
        WHERE d.collapse_key = l.collapse_key AND d.destination_id = l.destination_id AND d.status {PENDING_OF_LANE}
            AND d.next_due_at <= ? AND {IS_HEAD}
        LIMIT 1) IS NOT NULL
    LIMIT 1
"};

/// A lane with a due delivery, leased or not.
const ANY_DUE: Sql = statement! {hot "deliveries_pending_due", "
    SELECT d.collapse_key
    FROM deliveries d
    WHERE d.destination_id = ? AND d.status {PENDING_DUE} AND d.next_due_at <= ? AND {IS_HEAD}
    ORDER BY d.next_due_at
    LIMIT 1
"};

/// The lanes of a destination, as of `now`.
#[derive(Clone, Copy)]
pub struct Lanes {
    pub destination: DestinationId,
    per_user: bool,
    /// A delivery that was last tried before this time is due; see [`Health::due_since`].
    pub due_since: Option<Timestamp>,
    /// The time by the database's clock.
    pub now: Timestamp,
}

impl Lanes {
    pub fn new(destination: DestinationId, health: &Health, now: Timestamp) -> Self {
        Self {
            destination,
            per_user: false,
            due_since: health.due_since(),
            now,
        }
    }

    /// Restricts the lanes to those whose user is neither leased nor paused, for a destination that gets requests user
    /// by user.
    pub const fn of_free_users(self) -> Self {
        Self {
            per_user: true,
            ..self
        }
    }

    /// Selects the free lanes that match a clause. The caller binds the clause's values next, then the limit.
    pub fn matching(self, which: Clause) -> Statement<'static> {
        if !self.per_user {
            return sql(FREE.of(which)).bind(self.destination).bind(self.now);
        }
        sql(FREE_OF_USERS.of(which))
            .bind(self.destination)
            .bind_all([self.now; 3])
    }

    /// Selects a leased lane with a due delivery.
    pub fn taken(self) -> Statement<'static> {
        sql(TAKEN)
            .bind(self.destination)
            .bind_all([self.now; 2])
            .bind_all(self.head())
    }

    /// Selects a lane with a due delivery, leased or not.
    pub fn any_due(self) -> Statement<'static> {
        sql(ANY_DUE)
            .bind(self.destination)
            .bind(self.now)
            .bind_all(self.head())
    }

    /// Returns the values that [`IS_HEAD`] binds.
    pub fn head(self) -> [Timestamp; 2] {
        [self.now, self.due_since.unwrap_or(Timestamp::EARLIEST)]
    }
}
