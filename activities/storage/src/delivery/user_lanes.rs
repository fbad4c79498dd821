//! A user at a destination with requests in the order of its user: which states were sent and acknowledged, who has the
//! lease, and how long the user is paused.
//!
//! Environments are separate at a destination: a state in one says nothing of the other. Requests about a user are made
//! one after the other over both, since events of a platform may be of either.

use crate::db::error::Error;
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
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

/// The rows of a user in both environments, locked until the end of the transaction and made first; `None` when another
/// process has one of them locked.
pub fn lock_free(
    write: &mut Write<'_>,
    (destination, user): (DestinationId, UserId),
) -> Result<Option<[(Environment, UserLaneRow); 2]>, Error> {
    let lock = write.connection.for_update_of_free();
    let text = format!(
        "SELECT lease_token, lease_until, paused_until FROM user_lanes \
         WHERE destination_id = ? AND user_id = ? AND environment = ?{lock}"
    );
    let mut locked = |environment: Environment| -> Result<Option<(Environment, UserLaneRow)>, Error> {
        sql("INSERT INTO user_lanes (destination_id, user_id, environment) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(destination)
            .bind(user)
            .bind(environment)
            .run(write.connection)?;
        let row: Option<UserLaneRow> =
            sql(text.clone()).bind(destination).bind(user).bind(environment).first(write.connection)?;
        Ok(row.map(|row| (environment, row)))
    };
    let (production, sandbox) = (locked(Environment::Production)?, locked(Environment::Sandbox)?);
    Ok(production.zip(sandbox).map(|(production, sandbox)| [production, sandbox]))
}

/// Leases a user, whose rows are locked.
pub fn lease(
    write: &mut Write<'_>,
    (destination, user): (DestinationId, UserId),
    (token, until): (&str, Timestamp),
) -> Result<(), Error> {
    sql("UPDATE user_lanes SET lease_token = ?, lease_until = ? WHERE destination_id = ? AND user_id = ?")
        .bind(token)
        .bind(until)
        .bind(destination)
        .bind(user)
        .run(write.connection)
        .map(drop)
}

/// Ends the lease with this token, and begins a pause in an environment if there is one.
pub fn end_lease(
    write: &mut Write<'_>,
    (destination, user): (DestinationId, UserId),
    (token, paused): (&str, Option<(Environment, Timestamp)>),
) -> Result<(), Error> {
    sql("UPDATE user_lanes SET lease_token = NULL, lease_until = NULL, \
         paused_until = CASE WHEN environment = ? THEN ? ELSE paused_until END \
         WHERE destination_id = ? AND user_id = ? AND lease_token = ?")
    .bind(paused.map(|(environment, _)| environment.as_str()))
    .bind(paused.map(|(_, until)| until))
    .bind(destination)
    .bind(user)
    .bind(token)
    .run(write.connection)
    .map(drop)
}

/// Notes which state of the user a request carries.
pub fn note_sent(write: &mut Write<'_>, lane: UserLane, revision: i64) -> Result<(), Error> {
    sql("INSERT INTO user_lanes (destination_id, user_id, environment, sent_revision) VALUES (?, ?, ?, ?) \
         ON CONFLICT (destination_id, user_id, environment) DO UPDATE SET sent_revision = excluded.sent_revision \
         WHERE user_lanes.sent_revision IS NULL OR user_lanes.sent_revision < excluded.sent_revision")
    .bind(lane.destination)
    .bind(lane.user)
    .bind(lane.environment)
    .bind(revision)
    .run(write.connection)
    .map(drop)
}

/// Notes the state that a delivery carried, where requests are made user by user. The acknowledged revision never
/// falls.
pub fn acknowledge(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<(), Error> {
    let Some((lane, revision)) = state_of(write, delivery)? else { return Ok(()) };
    sql("INSERT INTO user_lanes (destination_id, user_id, environment, acked_revision) VALUES (?, ?, ?, ?) \
         ON CONFLICT (destination_id, user_id, environment) DO UPDATE SET acked_revision = excluded.acked_revision \
         WHERE user_lanes.acked_revision IS NULL OR user_lanes.acked_revision < excluded.acked_revision")
    .bind(lane.destination)
    .bind(lane.user)
    .bind(lane.environment)
    .bind(revision)
    .run(write.connection)
    .map(drop)
}

/// Forgets the newest sent state when its delivery died and the destination surely does not have it. Then the newest is
/// what it acknowledged, or one above that which was sent without a clear refusal: it walks down from the forgotten one
/// to the acknowledged one, and stops at the first.
pub fn forget_sent(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<(), Error> {
    let Some((lane, revision)) = state_of(write, delivery)? else { return Ok(()) };
    sql(format!(
        "UPDATE user_lanes SET sent_revision = COALESCE((SELECT e.user_revision FROM events e \
         WHERE e.user_id = user_lanes.user_id AND e.user_revision <= user_lanes.sent_revision \
         AND e.user_revision > COALESCE(user_lanes.acked_revision, 0) AND EXISTS (SELECT 1 FROM deliveries d \
         WHERE d.event_id = e.id AND d.destination_id = user_lanes.destination_id \
         AND d.environment = user_lanes.environment AND (d.status = 'delivered' OR EXISTS (SELECT 1 FROM attempts a \
         WHERE a.delivery_id = d.id AND {UNCLEAR}))) ORDER BY e.user_revision DESC LIMIT 1), acked_revision) \
         WHERE destination_id = ? AND user_id = ? AND environment = ? AND sent_revision = ?"
    ))
    .bind(lane.destination)
    .bind(lane.user)
    .bind(lane.environment)
    .bind(revision)
    .run(write.connection)
    .map(drop)
}

/// Which state of a user a delivery carried, and where, if requests are made user by user there.
fn state_of(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<Option<(UserLane, i64)>, Error> {
    let destination = delivery.destination_id;
    if !destinations::find(write.connection, destination)?.is_some_and(|found| found.per_user) {
        return Ok(None);
    }
    let about: Option<About> = sql("SELECT user_id, user_revision FROM events WHERE id = ?")
        .bind(delivery.event_id)
        .first(write.connection)?;
    let Some(About { user_id: Some(user), user_revision: Some(revision) }) = about else { return Ok(None) };
    let lane = delivery.environment.map(|environment| UserLane { destination, user, environment });
    Ok(lane.map(|lane| (lane, revision)))
}
