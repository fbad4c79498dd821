//! The lane of a user at a destination that gets requests user by user: which states of the user were sent and
//! acknowledged, and how long requests about the user are paused. `events/user_leases.rs` has the leases.
//!
//! A destination keeps the states of the two environments apart. Requests about one user are sent one after the other
//! over both environments, because events of one platform may be of either.

use crate::events::deliveries::UNCLEAR;
use crate::events::user_leases;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use db::writer::Write;
use domain::{DeliveryId, DestinationId, Environment, Timestamp, UserId};

/// A user at a destination, in an environment.
#[derive(Clone, Copy)]
pub struct UserLane {
    pub destination: DestinationId,
    pub user: UserId,
    pub environment: Environment,
}

row! {
    /// The pause of a user at a destination, in one environment.
    pub struct UserLaneRow {
        pub environment: Environment,
        pub paused_until: Option<Timestamp>,
    }
}

row! {
    struct EventAbout {
        user_id: Option<UserId>,
        user_revision: Option<i64>,
        environment: Option<Environment>,
    }
}

const INSERT: Sql = statement! {"
    INSERT INTO user_lanes (destination_id, user_id, environment)
    VALUES (?, ?, ?)
    ON CONFLICT DO NOTHING
"};

const LOCK_FREE: Sql = statement! {hot "sqlite_autoindex_user_lanes or user_lanes_pkey", "
    SELECT environment, paused_until
    FROM user_lanes
    WHERE destination_id = ? AND user_id = ? AND environment = ?
    FOR UPDATE SKIP LOCKED
"};

/// A user's rows and leases at a destination, as read while a lane is leased.
pub struct Locked {
    pub rows: [UserLaneRow; 2],
    /// When the user's leases end, including expired leases of requests that were never finished.
    pub leases: Vec<Timestamp>,
}

/// Locks the rows of a user in both environments until the end of the transaction, inserts them if they are missing,
/// and then reads the leases. `None` if another process has locked a row.
pub fn lock_free(write: &mut Write<'_>, lane: UserLane) -> Result<Option<Locked>, Error> {
    let mut lock = |environment: Environment| -> Result<Ahead<'static, UserLaneRow>, Error> {
        let of_user = |text: Sql| sql(text).bind((lane.destination, lane.user, environment));
        of_user(INSERT).later(write.connection)?;
        of_user(LOCK_FREE).ahead(write.connection)
    };
    let (production, sandbox) = (lock(Environment::Production)?, lock(Environment::Sandbox)?);
    let leases = user_leases::all_ahead(write.connection, lane.destination, lane.user)?;
    let (production, sandbox) = (
        production.first(write.connection)?,
        sandbox.first(write.connection)?,
    );
    let leases = leases.values(write.connection)?;
    Ok(production.zip(sandbox).map(|rows| Locked {
        rows: rows.into(),
        leases,
    }))
}

/// The revision of a user's state that a request carries.
#[derive(Clone, Copy)]
pub struct UserState {
    pub lane: UserLane,
    /// The revision of the user's state.
    pub revision: i64,
}

const NOTE_SENT: Sql = statement! {"
    INSERT INTO user_lanes (destination_id, user_id, environment, sent_revision)
    VALUES (?, ?, ?, ?)
    ON CONFLICT (destination_id, user_id, environment) DO UPDATE SET sent_revision = excluded.sent_revision
    WHERE user_lanes.sent_revision IS NULL OR user_lanes.sent_revision < excluded.sent_revision
"};

const ACKNOWLEDGE: Sql = statement! {"
    INSERT INTO user_lanes (destination_id, user_id, environment, acked_revision)
    VALUES (?, ?, ?, ?)
    ON CONFLICT (destination_id, user_id, environment) DO UPDATE SET acked_revision = excluded.acked_revision
    WHERE user_lanes.acked_revision IS NULL OR user_lanes.acked_revision < excluded.acked_revision
"};

const FORGET_SENT: Sql = statement! {hot "events_of_user", "
    UPDATE user_lanes
    SET sent_revision = COALESCE((
        SELECT e.user_revision
        FROM events e
        WHERE e.user_id = user_lanes.user_id AND e.user_revision <= user_lanes.sent_revision
            AND e.user_revision > COALESCE(user_lanes.acked_revision, 0)
            AND EXISTS (
                SELECT 1
                FROM deliveries d
                WHERE d.event_id = e.id AND d.destination_id = user_lanes.destination_id
                    AND d.environment = user_lanes.environment
                    AND (d.status = 'delivered'
                        OR EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id AND {UNCLEAR}))
            )
        ORDER BY e.user_revision DESC
        LIMIT 1), acked_revision)
    WHERE destination_id = ? AND user_id = ? AND environment = ? AND sent_revision = ?
"};

impl UserState {
    /// Records that the state is being sent.
    pub fn note_sent(self, write: &mut Write<'_>) -> Result<(), Error> {
        self.run(write, NOTE_SENT)
    }

    fn run(self, write: &mut Write<'_>, text: Sql) -> Result<(), Error> {
        let UserLane {
            destination,
            user,
            environment,
        } = self.lane;
        sql(text)
            .bind((destination, user, environment, self.revision))
            .later(write.connection)
    }

    /// Records that the destination acknowledged the state. The acknowledged revision never decreases.
    pub fn acknowledge(self, write: &mut Write<'_>) -> Result<(), Error> {
        self.run(write, ACKNOWLEDGE)
    }

    /// Lowers the latest sent revision after the delivery of the state failed, if the destination certainly did not
    /// receive it. The new value is the highest revision between the acknowledged one and this one that was delivered,
    /// or sent without a clear refusal; if there is none, it is the acknowledged one.
    pub fn forget_sent(self, write: &mut Write<'_>) -> Result<(), Error> {
        self.run(write, FORGET_SENT)
    }
}

const ABOUT: Sql = statement! {hot "deliveries_id", "
    SELECT e.user_id, e.user_revision, y.environment
    FROM deliveries y
    JOIN events e ON e.id = y.event_id
    JOIN destinations d ON d.id = y.destination_id AND d.per_user
    WHERE y.id = ?
"};

/// The user's state that a delivery carried; it is fetched later.
pub struct StateAhead {
    destination: DestinationId,
    about: Ahead<'static, EventAbout>,
}

/// Starts reading the user's state that a delivery carried.
pub fn state_ahead(
    write: &mut Write<'_>,
    destination: DestinationId,
    delivery: DeliveryId,
) -> Result<StateAhead, Error> {
    Ok(StateAhead {
        destination,
        about: sql(ABOUT).bind(delivery).ahead(write.connection)?,
    })
}

impl StateAhead {
    /// Fetches the state; `None` if the delivery carried none, or if its destination does not get requests user by
    /// user.
    pub fn fetch(self, write: &mut Write<'_>) -> Result<Option<UserState>, Error> {
        let about = self.about.first(write.connection)?;
        let Some(EventAbout {
            user_id: Some(user),
            user_revision: Some(revision),
            environment,
        }) = about
        else {
            return Ok(None);
        };
        let lane = environment.map(|environment| UserLane {
            destination: self.destination,
            user,
            environment,
        });
        Ok(lane.map(|lane| UserState { lane, revision }))
    }
}
