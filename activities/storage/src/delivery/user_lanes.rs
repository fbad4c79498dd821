//! A user at a destination with requests in the order of its user: which states were sent and acknowledged, who has the
//! lease, and how long the user is paused.
//!
//! Environments are separate at a destination: a state in one says nothing of the other. Requests about a user are made
//! one after the other over both, since events of a platform may be of either.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::delivery::lanes::Finish;
use crate::events::deliveries::{DeliveryRow, UNCLEAR};
use crate::settings::destinations;
use domain::{DestinationId, Environment, Timestamp, UserId};

/// A user at a destination, in an environment.
#[derive(Clone, Copy)]
pub struct UserLane {
    /// The destination.
    pub destination: DestinationId,
    /// The user.
    pub user: UserId,
    /// The environment.
    pub environment: Environment,
}

row! {
    /// Its lease and pause.
    pub struct UserLaneRow {
        pub environment: Environment,
        pub lease_token: Option<String>,
        pub lease_until: Option<Timestamp>,
        pub paused_until: Option<Timestamp>,
    }
}

row! {
    struct About {
        user_id: Option<UserId>,
        user_revision: Option<i64>,
    }
}

const INSERT: Sql = statement! {"
    INSERT INTO user_lanes (destination_id, user_id, environment)
    VALUES (?, ?, ?)
    ON CONFLICT DO NOTHING
"};

const LOCK_FREE: Sql = statement! {hot "sqlite_autoindex_user_lanes or user_lanes_pkey", "
    SELECT environment, lease_token, lease_until, paused_until
    FROM user_lanes
    WHERE destination_id = ? AND user_id = ? AND environment = ?
    FOR UPDATE SKIP LOCKED
"};

/// The rows of a user in both environments, locked until the end of the transaction and made first; `None` when another
/// process has one of them locked.
pub fn lock_free(write: &mut Write<'_>, lane: UserLane) -> Result<Option<[UserLaneRow; 2]>, Error> {
    let mut locked = |environment: Environment| -> Result<Option<UserLaneRow>, Error> {
        let of_user = |text: Sql| sql(text).bind(lane.destination).bind(lane.user).bind(environment);
        of_user(INSERT).run(write.connection)?;
        of_user(LOCK_FREE).first(write.connection)
    };
    let (production, sandbox) = (locked(Environment::Production)?, locked(Environment::Sandbox)?);
    Ok(production.zip(sandbox).map(<[_; 2]>::from))
}

const LEASE: Sql = statement! {"
    UPDATE user_lanes
    SET lease_token = ?, lease_until = ?
    WHERE destination_id = ? AND user_id = ?
"};

/// Leases a user in both environments. The rows are locked.
pub fn lease(write: &mut Write<'_>, lane: UserLane, token: &str, until: Timestamp) -> Result<(), Error> {
    sql(LEASE).bind(token).bind(until).bind(lane.destination).bind(lane.user).run(write.connection).map(drop)
}

const END_LEASE: Sql = statement! {"
    UPDATE user_lanes
    SET lease_token = NULL, lease_until = NULL,
        paused_until = CASE WHEN environment = ? THEN ? ELSE paused_until END
    WHERE destination_id = ? AND user_id = ? AND lease_token = ?
"};

/// Ends the lease of a user, and begins the pause that the destination wants in the environment of the request.
pub fn end_lease(
    write: &mut Write<'_>,
    finish: &Finish,
    user: UserId,
    environment: Option<Environment>,
) -> Result<(), Error> {
    let paused_until = finish.result.user_pause.map(|pause| write.now.plus(pause));
    let paused_in = environment.filter(|_| paused_until.is_some());
    sql(END_LEASE)
        .bind(paused_in.map(Environment::as_str))
        .bind(paused_until)
        .bind(finish.destination)
        .bind(user)
        .bind(finish.token.as_str())
        .run(write.connection)
        .map(drop)
}

/// The state of a user in a request: revision numbers of one user, in one environment.
#[derive(Clone, Copy)]
pub struct UserState {
    /// The user at the destination.
    pub lane: UserLane,
    /// Which of their revisions.
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

const FORGET_SENT: Sql = statement! {"
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
    /// Notes that a request carries it.
    pub fn note_sent(self, write: &mut Write<'_>) -> Result<(), Error> {
        self.run(write, NOTE_SENT)
    }

    fn run(self, write: &mut Write<'_>, text: Sql) -> Result<(), Error> {
        let UserLane { destination, user, environment } = self.lane;
        sql(text).bind(destination).bind(user).bind(environment).bind(self.revision).run(write.connection).map(drop)
    }
}

/// Notes the state that a delivery carried, where requests are made user by user. The acknowledged revision never
/// falls.
pub fn acknowledge(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<(), Error> {
    state_of(write, delivery)?.map_or(Ok(()), |state| state.run(write, ACKNOWLEDGE))
}

/// Forgets the newest sent state when its delivery died and the destination surely does not have it. Then the newest is
/// what it acknowledged, or one above that which was sent without a clear refusal: it walks down from the forgotten one
/// to the acknowledged one, and stops at the first.
pub fn forget_sent(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<(), Error> {
    state_of(write, delivery)?.map_or(Ok(()), |state| state.run(write, FORGET_SENT))
}

const ABOUT: Sql = statement!("SELECT user_id, user_revision FROM events WHERE id = ?");

/// Which state of a user a delivery carried, and where, if requests are made user by user there.
fn state_of(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<Option<UserState>, Error> {
    let destination = delivery.destination_id;
    if !destinations::find(write.connection, destination)?.is_some_and(|found| found.per_user) {
        return Ok(None);
    }
    let about: Option<About> = sql(ABOUT).bind(delivery.event_id).first(write.connection)?;
    let Some(About { user_id: Some(user), user_revision: Some(revision) }) = about else { return Ok(None) };
    let lane = delivery.environment.map(|environment| UserLane { destination, user, environment });
    Ok(lane.map(|lane| UserState { lane, revision }))
}
