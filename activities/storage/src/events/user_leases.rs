//! The lease and the pause of a user at destinations that get requests user by user, when their purchases become another
//! user's. `delivery/user_lanes.rs` has the rest of them.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use crate::db::writer::Write;
use domain::{AppId, UserId};

/// The token of a lease that stands for two requests in flight: no request ends it, so it runs out.
const TWO_HOLDERS: &str = "two requests";

/// Waits for a claim that leases the user at this moment.
const LOCK: Sql = statement! {"
    SELECT environment AS value
    FROM user_lanes
    WHERE destination_id IN (SELECT d.id FROM destinations d WHERE d.app_id = ? AND d.per_user) AND user_id = ?
    ORDER BY destination_id, environment
    FOR UPDATE
"};

const HAND_OVER: Sql = statement! {"
    INSERT INTO user_lanes (destination_id, user_id, environment, lease_token, lease_until, paused_until)
    SELECT t.destination_id, CAST(? AS TEXT), t.environment, CASE WHEN t.lease_until > ? THEN t.lease_token END,
        t.lease_until,
        CASE WHEN (SELECT f.external_id FROM users f WHERE f.id = t.user_id) IS NULL THEN t.paused_until END
    FROM user_lanes t
    WHERE t.destination_id IN (SELECT d.id FROM destinations d WHERE d.app_id = ? AND d.per_user)
        AND t.user_id = ? AND (t.lease_until > ? OR t.paused_until > ?)
    ON CONFLICT (destination_id, user_id, environment) DO UPDATE
    SET lease_token = CASE
            WHEN excluded.lease_token IS NULL THEN user_lanes.lease_token
            WHEN user_lanes.lease_until > ? AND user_lanes.lease_token <> excluded.lease_token THEN '{TWO_HOLDERS}'
            ELSE excluded.lease_token
        END,
        lease_until = CASE
            WHEN excluded.lease_token IS NULL OR user_lanes.lease_until > excluded.lease_until
            THEN user_lanes.lease_until
            ELSE excluded.lease_until
        END,
        paused_until = CASE
            WHEN user_lanes.paused_until > excluded.paused_until THEN user_lanes.paused_until
            ELSE COALESCE(excluded.paused_until, user_lanes.paused_until)
        END
"};

/// Applies the leases of a user to another one, who gets purchases of theirs: a request about these may be in flight. The
/// pauses too, if the user is anonymous: another user's stay about them. A lease that its request does not find at the new
/// owner runs out within twenty seconds. If no claim may lease the user meanwhile, the caller has locked both users.
pub fn hand_over(write: &mut Write<'_>, app: AppId, from: UserId, to: UserId) -> Result<(), Error> {
    let now = write.now()?;
    sql(LOCK).bind(app).bind(from).values::<String>(write.connection)?;
    sql(HAND_OVER).bind(to).bind(now).bind(app).bind(from).bind(now).bind(now).bind(now).later(write.connection)
}
