//! Leases of users at destinations that get requests user by user: a lease shows that a request about the user is in
//! flight. Also what happens to a user's leases and pauses when purchases move to another user.

use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, insert, statement};
use db::statement::{Ahead, Single, sql};
use db::writer::Write;
use domain::health::LONGEST_PAUSE;
use domain::time::OVERLAP;
use domain::{AppId, DestinationId, Environment, Timestamp, UserId};
use std::time::Duration;

/// Maximum duration of a lease. A lease that ends later than this from now was taken before the clock was set back, and
/// counts as ended. The conditions here are [`Timestamp::unless_ahead`] in SQL.
const LONGEST: Duration = Duration::from_secs(60);
const LONGEST_MICROS: u128 = LONGEST.saturating_add(OVERLAP).as_micros();

/// Condition for a live lease. Binds now.
pub const LIVE: &str = const_format::formatcp!("lease_until - ? BETWEEN 1 AND {LONGEST_MICROS}");
/// Condition for an ended lease. Binds now.
pub const FREE: &str =
    const_format::formatcp!("lease_until - ? NOT BETWEEN 1 AND {LONGEST_MICROS}");

const LONGEST_PAUSE_MICROS: u128 = LONGEST_PAUSE.saturating_add(OVERLAP).as_micros();

/// Condition for a user's pause that is in force. A pause that ends later than the maximum from now was stored before
/// the clock was set back, and counts as ended. Binds now.
pub const PAUSED: &str =
    const_format::formatcp!("paused_until - ? BETWEEN 1 AND {LONGEST_PAUSE_MICROS}");

/// Whether a lease that ends at this time is live.
pub fn is_live(until: Timestamp, now: Timestamp) -> bool {
    until > now && until.unless_ahead(LONGEST, now).is_some()
}

const UNTIL: Sql = statement! {hot "sqlite_autoindex_user_leases or user_leases_pkey", "
    SELECT lease_until AS value
    FROM user_leases
    WHERE destination_id = ? AND user_id = ?
"};

/// Starts reading when the leases of a user end, including expired leases of requests that were never finished.
pub fn all_ahead(
    connection: &mut AnyConnection,
    destination: DestinationId,
    user: UserId,
) -> Result<Ahead<'static, Single<Timestamp>>, Error> {
    sql(UNTIL)
        .bind(destination)
        .bind(user)
        .value_ahead(connection)
}

const FORGET: Sql = statement! {hot "sqlite_autoindex_user_leases or user_leases_pkey", "
    DELETE FROM user_leases
    WHERE destination_id = ? AND user_id = ?
"};

/// Removes expired leases of a user whose requests were never finished. The user must be locked at the destination.
pub fn forget(
    write: &mut Write<'_>,
    destination: DestinationId,
    user: UserId,
) -> Result<(), Error> {
    sql(FORGET)
        .bind(destination)
        .bind(user)
        .later(write.connection)
}

/// Leases a user to the request with this token. The user must be locked at the destination.
pub fn lease(
    write: &mut Write<'_>,
    destination: DestinationId,
    user: UserId,
    token: &str,
    until: Timestamp,
) -> Result<(), Error> {
    insert!(
        user_leases { destination_id: destination, user_id: user, lease_token: token, lease_until: until },
        "ON CONFLICT (destination_id, user_id, lease_token) DO UPDATE SET lease_until = excluded.lease_until"
    )
    .later(write.connection)
}

const PAUSE: Sql = statement! {"
    INSERT INTO user_lanes (destination_id, user_id, environment, paused_until)
    SELECT l.destination_id, l.user_id, CAST(? AS TEXT), CAST(? AS BIGINT)
    FROM user_leases l
    WHERE l.destination_id = ? AND l.lease_token = ?
    ON CONFLICT (destination_id, user_id, environment) DO UPDATE SET paused_until = excluded.paused_until
    WHERE COALESCE(user_lanes.paused_until, 0) < excluded.paused_until OR NOT user_lanes.{PAUSED}
"};

/// Pauses requests about the users of a request, in one environment.
pub fn pause(
    write: &mut Write<'_>,
    destination: DestinationId,
    token: &str,
    environment: Environment,
    until: Timestamp,
) -> Result<(), Error> {
    let now = write.now_value();
    sql(PAUSE)
        .bind((environment, until, destination, token, now))
        .later(write.connection)
}

const END: Sql = statement! {hot "user_leases_of_request", "
    DELETE FROM user_leases
    WHERE destination_id = ? AND lease_token = ?
"};

/// Ends the leases of a request, including that of a user who received the purchase in the meantime.
pub fn end(write: &mut Write<'_>, destination: DestinationId, token: &str) -> Result<(), Error> {
    sql(END)
        .bind(destination)
        .bind(token)
        .later(write.connection)
}

/// Waits for a transaction that is leasing the user at this moment.
const LOCK: Sql = statement! {"
    SELECT environment AS value
    FROM user_lanes
    WHERE destination_id IN (SELECT d.id FROM destinations d WHERE d.app_id = ? AND d.per_user) AND user_id = ?
    ORDER BY destination_id, environment
    FOR UPDATE
"};

const HAND_OVER: Sql = statement! {"
    INSERT INTO user_leases (destination_id, user_id, lease_token, lease_until)
    SELECT l.destination_id, CAST(? AS TEXT), l.lease_token, l.lease_until
    FROM user_leases l
    WHERE l.destination_id IN (SELECT d.id FROM destinations d WHERE d.app_id = ? AND d.per_user) AND l.user_id = ?
        AND {LIVE}
    ON CONFLICT DO NOTHING
"};

const HAND_PAUSES_OVER: Sql = statement! {"
    INSERT INTO user_lanes (destination_id, user_id, environment, paused_until)
    SELECT t.destination_id, CAST(? AS TEXT), t.environment, t.paused_until
    FROM user_lanes t
    WHERE t.destination_id IN (SELECT d.id FROM destinations d WHERE d.app_id = ? AND d.per_user)
        AND t.user_id = ? AND t.{PAUSED}
        AND (SELECT f.external_id FROM users f WHERE f.id = t.user_id) IS NULL
    ON CONFLICT (destination_id, user_id, environment) DO UPDATE SET paused_until = excluded.paused_until
    WHERE COALESCE(user_lanes.paused_until, 0) < excluded.paused_until OR NOT user_lanes.{PAUSED}
"};

/// Extends the leases of a user to another user who receives purchases of the first one, because a request about these
/// purchases may be in flight. Also extends the pauses if the first user is anonymous; the pauses of a named user apply
/// only to that user. The caller must have locked both users if no request may lease the first one in the meantime.
pub fn hand_over(write: &mut Write<'_>, app: AppId, from: UserId, to: UserId) -> Result<(), Error> {
    let now = write.now()?;
    sql(LOCK)
        .bind(app)
        .bind(from)
        .values::<String>(write.connection)?;
    sql(HAND_OVER)
        .bind((to, app, from, now))
        .later(write.connection)?;
    sql(HAND_PAUSES_OVER)
        .bind((to, app, from))
        .bind_all([now; 2])
        .later(write.connection)
}
