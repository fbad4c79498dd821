//! Due claims, the platforms that have them, and expired refused claims. The networks that reported claims take turns,
//! so that a network with many claims does not delay those with few.

use crate::settings::credential::IS_USABLE;
use crate::store::Store;
use const_format::formatcp;
use db::error::Error;
use db::partial::{PENDING_DUE, REFUSED_BY_KEY};
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::{CollapseKey, DeviceId, DevicePlace, PlatformId, Timestamp};
use std::time::Duration;

/// The due claims of a platform, and when the next claim is due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimPage {
    /// Due claims, alternating between networks: first each network's claim that has been due longest, then each
    /// network's next one.
    pub due: Vec<(DevicePlace, CollapseKey)>,
    /// The network of the last claim, after which the next page begins; empty if there is none.
    pub network: String,
    /// How long until the first claim is due that is not in `due`; `None` if no other claim is pending.
    pub next_due_in: Option<Duration>,
}

row! {
    struct DueRow {
        device_id: DeviceId,
        collapse_key: CollapseKey,
        network: String,
    }
}

row! {
    struct OldRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        collapse_key: CollapseKey,
    }
}

/// The condition for a platform whose store can be queried: it is not deleted, and has a usable credential.
pub const CAN_VERIFY: &str = formatcp!("{IS_USABLE} AND deleted_at IS NULL");

/// The platforms whose store can be queried and that have due claims. Takes one index step per platform, however many
/// of its claims are due.
const PLATFORMS_DUE: Sql = statement! {hot "claims_pending_due", "
    WITH RECURSIVE next (platform_id) AS (
        SELECT (SELECT c.platform_id FROM claims c WHERE c.status {PENDING_DUE} ORDER BY c.platform_id LIMIT 1)
        UNION ALL
        SELECT (SELECT c.platform_id FROM claims c WHERE c.status {PENDING_DUE} AND c.platform_id > next.platform_id
            ORDER BY c.platform_id LIMIT 1)
        FROM next
        WHERE next.platform_id IS NOT NULL
    )
    SELECT platform_id AS value
    FROM next
    WHERE (SELECT c.due_at FROM claims c WHERE c.platform_id = next.platform_id AND c.status {PENDING_DUE} AND c.due_at <= ?
            LIMIT 1) IS NOT NULL
        AND (SELECT created_at FROM platforms WHERE id = next.platform_id AND {CAN_VERIFY}) IS NOT NULL
"};

/// Selects a platform whose store can be queried.
pub const VERIFIES: Sql =
    statement!("SELECT id AS value FROM platforms WHERE id = ? AND {CAN_VERIFY}");

const DUE: Sql = statement! {hot "claims_pending_due", "
    SELECT device_id, collapse_key, network
    FROM (SELECT device_id, collapse_key, network,
            ROW_NUMBER() OVER (PARTITION BY network ORDER BY due_at, device_id, collapse_key) AS turn
        FROM claims
        WHERE platform_id = ? AND status {PENDING_DUE} AND due_at <= ?) due
    ORDER BY turn, network <= ?, network
    LIMIT ?
"};

const NEXT_DUE: Sql = statement! {hot "claims_pending_due", "
    SELECT due_at AS value
    FROM claims
    WHERE platform_id = ? AND status {PENDING_DUE} AND due_at > ?
    ORDER BY due_at
    LIMIT 1
"};

const OLD: Sql = statement! {hot "claims_refused", "
    SELECT platform_id, device_id, collapse_key
    FROM claims
    WHERE status = 'refused' AND due_at < ?
    ORDER BY due_at
    LIMIT ?
"};

const REMOVE: Sql = statement! {"
    DELETE FROM claims WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status {REFUSED_BY_KEY}
"};

/// The condition for a claim `c` that a response of the store about its purchase can decide: it is pending, or it was
/// refused because the store did not know the purchase, or because it was displaced and so never queried.
pub const AWAITS_ANSWER: &str = "(c.status = 'pending' OR (c.status = 'refused' AND c.reason IN ('unknown_receipt', 'displaced')))";

const TAKE_UP: Sql = statement! {hot "claims_of_key", "
    UPDATE claims AS c
    SET status = 'pending', reason = NULL, failure = NULL, due_at = ?, created_at = ?
    WHERE c.collapse_key = ? AND c.app_user_id IN (?, ?) AND {AWAITS_ANSWER}
"};

/// Makes the remaining claims of a purchase due at once: the store has answered about the purchase, which belongs to
/// this customer. In some claims, the purchase's key stands for the customer.
pub fn take_up(
    write: &mut Write<'_>,
    key: CollapseKey,
    app_user_id: &str,
    unnamed: &str,
) -> Result<(), Error> {
    sql(TAKE_UP)
        .bind((write.now()?, write.now()?, key, app_user_id, unnamed))
        .later(write.connection)
}

impl Store {
    /// Returns the platforms with due claims whose store can be queried.
    pub async fn platforms_with_due_claims(&self) -> Result<Vec<PlatformId>, Error> {
        let clock = self.database.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            sql(PLATFORMS_DUE).bind(now).values(connection)
        })
        .await
    }

    /// Returns at most `limit` due claims of a platform, starting with the network after that of the last page; `None`
    /// if the store cannot be queried.
    pub async fn due_claims(
        &self,
        platform: PlatformId,
        network: &str,
        limit: i64,
    ) -> Result<Option<ClaimPage>, Error> {
        let network = network.to_owned();
        self.read_now(move |connection, now| {
            let verifies: Option<PlatformId> = sql(VERIFIES).bind(platform).value(connection)?;
            if verifies.is_none() {
                return Ok(None);
            }
            let due = sql(DUE).bind((platform, now, network, limit));
            let due: Vec<DueRow> = due.all(connection)?;
            let next: Option<Timestamp> =
                sql(NEXT_DUE).bind(platform).bind(now).value(connection)?;
            let network = due
                .last()
                .map(|row| row.network.clone())
                .unwrap_or_default();
            let due = due.into_iter();
            let due = due.map(|row| {
                (
                    DevicePlace {
                        platform,
                        device: row.device_id,
                    },
                    row.collapse_key,
                )
            });
            Ok(Some(ClaimPage {
                due: due.collect(),
                network,
                next_due_in: next.map(|at| at.since(now)),
            }))
        })
        .await
    }

    /// Removes at most `limit` expired refused claims, whose purchases may then be claimed again. Returns their number.
    pub async fn forget_refused_claims(&self, limit: i64) -> Result<usize, Error> {
        let clock = self.database.clock;
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
                    let remove =
                        sql(REMOVE).bind((row.platform_id, row.device_id, row.collapse_key));
                    remove.later(write.connection)
                })
            })
            .await?;
        }
        Ok(removed)
    }
}
