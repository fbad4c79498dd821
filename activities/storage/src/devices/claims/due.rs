//! Which claims are due, of which platforms, and which refused ones are old.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use domain::{CollapseKey, DeviceId, DevicePlace, PlatformId, Timestamp};
use std::time::Duration;

/// The claims of a platform that are due, and when the next one is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimPage {
    /// Those that are due, the longest due first.
    pub due: Vec<(DevicePlace, CollapseKey)>,
    /// How long until the next one is due that is not in `due`; `None` if none is pending.
    pub next_due_in: Option<Duration>,
}

row! {
    struct PendingRow {
        device_id: DeviceId,
        collapse_key: CollapseKey,
        due_at: Timestamp,
    }
}

row! {
    struct OldRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        collapse_key: CollapseKey,
    }
}

/// A platform `f` whose store can be queried: it is not deleted, and has a secret that the store has not refused.
const CAN_VERIFY: &str = "f.shared_secret IS NOT NULL AND f.secret_refused_at IS NULL AND f.deleted_at IS NULL";

const PLATFORMS_DUE: Sql = statement! {hot "claims_due", "
    SELECT DISTINCT platform_id AS value FROM claims WHERE status = 'pending' AND due_at <= ?
"};

const VERIFIES: Sql = statement!("SELECT f.id AS value FROM platforms f WHERE f.id = ? AND {CAN_VERIFY}");

const PENDING: Sql = statement! {hot "claims_due", "
    SELECT device_id, collapse_key, due_at
    FROM claims
    WHERE platform_id = ? AND status = 'pending'
    ORDER BY due_at
    LIMIT ?
"};

const OLD: Sql = statement! {hot "claims_refused", "
    SELECT platform_id, device_id, collapse_key
    FROM claims
    WHERE status = 'refused' AND due_at < ?
    ORDER BY due_at
    LIMIT ?
"};

const REMOVE: Sql = statement! {"
    DELETE FROM claims WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status = 'refused'
"};

/// A claim `c` that an answer of the store about its receipt verifies: it is pending, or the store did not know the receipt
/// before.
pub const AWAITS_ANSWER: &str = "(c.status = 'pending' OR (c.status = 'refused' AND c.reason = 'unknown_receipt'))";

const TAKE_UP: Sql = statement! {hot "claims_of_key", "
    UPDATE claims AS c
    SET status = 'pending', reason = NULL, due_at = ?, created_at = ?
    WHERE c.collapse_key = ? AND c.app_user_id = ? AND {AWAITS_ANSWER}
"};

/// Lets the claims of a purchase that its settling left be examined at once: the store answered about the purchase of this
/// customer.
pub fn take_up(write: &mut Write<'_>, key: CollapseKey, app_user_id: &str) -> Result<(), Error> {
    sql(TAKE_UP).bind(write.now).bind(write.now).bind(key).bind(app_user_id).later(write.connection)
}

impl Store {
    /// The platforms with claims that are due, and whose store can be queried.
    pub async fn platforms_with_due_claims(&self) -> Result<Vec<PlatformId>, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let due: Vec<PlatformId> = sql(PLATFORMS_DUE).bind(now).values(connection)?;
            let mut able = Vec::with_capacity(due.len());
            for platform in due {
                able.extend(sql(VERIFIES).bind(platform).value::<PlatformId>(connection)?);
            }
            Ok(able)
        })
        .await
    }

    /// At most `limit` claims of a platform that are due; `None` if its store cannot be queried.
    pub async fn due_claims(&self, platform: PlatformId, limit: i64) -> Result<Option<ClaimPage>, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let verifies: Option<PlatformId> = sql(VERIFIES).bind(platform).value(connection)?;
            if verifies.is_none() {
                return Ok(None);
            }
            let now = connection.now(clock)?;
            let pending: Vec<PendingRow> = sql(PENDING).bind(platform).bind(limit).all(connection)?;
            let next = pending.iter().find(|row| row.due_at > now).map(|row| row.due_at.since(now));
            let due = pending.into_iter().filter(|row| row.due_at <= now);
            let due = due.map(|row| (DevicePlace { platform, device: row.device_id }, row.collapse_key));
            Ok(Some(ClaimPage { due: due.collect(), next_due_in: next }))
        })
        .await
    }

    /// Removes at most `limit` refused claims whose time is over: their receipts may be claimed again. Returns their
    /// number.
    pub async fn forget_refused_claims(&self, limit: i64) -> Result<usize, Error> {
        let clock = self.clock;
        let old: Vec<OldRow> = self
            .read(move |connection| {
                let now = connection.now(clock)?;
                sql(OLD).bind(now).bind(limit).all(connection)
            })
            .await?;
        let removed = old.len();
        if removed > 0 {
            self.write(move |write| {
                old.iter().try_for_each(|row| {
                    let remove = sql(REMOVE).bind(row.platform_id).bind(row.device_id).bind(row.collapse_key);
                    remove.later(write.connection)
                })
            })
            .await?;
        }
        Ok(removed)
    }
}
