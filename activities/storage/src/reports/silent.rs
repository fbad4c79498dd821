//! Stores that do not respond: since when, and how many purchases wait for them. Such a store is reported from the
//! first failed query on, not only after the patience with it ends. A store that responds about other purchases is not
//! silent, although some purchases still wait for their next query.

use crate::events::deliveries::MAX_COUNTED;
use crate::purchases::purchase;
use crate::reports::filtered::Filtered;
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, row, sql};
use domain::notification::is_sample_purchase;
use domain::{PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A store is silent if a query failed at least this long ago and none was answered since. The first retries take a few
/// seconds.
const SILENT: Duration = Duration::from_secs(30);

/// A store that does not respond about purchases of a platform, either at all or about some of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SilentStore {
    /// Id of the platform.
    pub platform_id: PlatformId,
    /// Name of the platform.
    pub platform: String,
    /// Name of the store.
    pub store: String,
    /// When the store stopped responding: the first failed query for the purchase that has waited longest, or the
    /// store's last response if it has not responded about any purchase since.
    pub since: Timestamp,
    /// Number of purchases without a response from the store.
    pub purchases: i64,
    /// Error of the query for one of the purchases.
    pub because: Option<String>,
    /// When the next query for one of these purchases is due.
    pub next_at: Option<Timestamp>,
    /// When the store responded about another purchase after the first failed query for each of these; null if it
    /// responds about no purchase.
    pub answered_at: Option<Timestamp>,
}

impl SilentStore {
    /// Whether the store responds about no purchase at all.
    pub const fn is_silent(&self) -> bool {
        self.answered_at.is_none()
    }
}

row! {
    /// The purchases of a platform for which the store did not respond.
    struct FailingQueries {
        platform_id: PlatformId,
        platform: String,
        store: String,
        /// When the first query failed for the purchase that has waited longest; `newest` is the same for the newest
        /// purchase.
        since: Timestamp,
        newest: Timestamp,
        purchases: i64,
        because: Option<String>,
        next_at: Option<Timestamp>,
    }
}

impl FailingQueries {
    /// Returns the result if the store last responded about a purchase of the platform at `answered`; `None` before
    /// [`SILENT`] has passed.
    fn judge(self, answered: Option<Timestamp>, now: Timestamp) -> Option<SilentStore> {
        let is_answering = answered.is_some_and(|at| at >= self.newest);
        let since = match answered {
            Some(at) if !is_answering => self.since.max(at),
            _ => self.since,
        };
        (now.since(since) >= SILENT).then_some(SilentStore {
            platform_id: self.platform_id,
            platform: self.platform,
            store: self.store,
            since,
            purchases: self.purchases,
            because: self.because,
            next_at: self.next_at,
            answered_at: answered.filter(|_| is_answering),
        })
    }
}

const SILENT_STORES: Sql = statement! {"
    SELECT f.id AS platform_id, f.name AS platform, f.store, MIN(w.unverified_since) AS since,
        MAX(w.unverified_since) AS newest, COUNT(*) AS purchases, MAX(w.unverified_because) AS because,
        MIN(w.next_wake_at) AS next_at
    FROM (SELECT p.platform_id, p.unverified_since, p.unverified_because, p.next_wake_at
        FROM purchases p
        WHERE (p.waits_for IS NOT NULL OR p.waits_through IS NOT NULL) AND {{which}}
        LIMIT {MAX_COUNTED}) w
    JOIN platforms f ON f.id = w.platform_id
    WHERE w.unverified_since IS NOT NULL
    GROUP BY f.id, f.name, f.store
    ORDER BY 4, f.id
"};
const ON_PLATFORMS: Clause =
    clause!(&[SILENT_STORES], hot "purchases_waiting", "p.platform_id IN (?*)");

/// Maximum number of platforms whose last response is looked up. In a store's outage, all platforms seem silent, and
/// are.
const MAX_EXAMINED: usize = 20;

row! {
    struct Recorded {
        receipt_id: String,
        purchase: String,
    }
}

/// The latest records of a platform; those that record a response contain its time. Read only for a store that seems
/// silent. The condition is written as a range, so that no index that is ordered only by time is used.
const RECORDED: Sql = statement! {hot "purchases_platform", "
    SELECT receipt_id, purchase
    FROM purchases
    WHERE platform_id >= ? AND platform_id <= ?
    ORDER BY platform_id DESC, updated_at DESC, collapse_key DESC
    LIMIT 100
"};

impl Store {
    /// Returns the stores that do not respond, at all or about some purchases, by platform.
    pub async fn silent_stores(&self) -> Result<Vec<SilentStore>, Error> {
        self.read_now(|connection, now| of(connection, None, now))
            .await
    }
}

/// Returns the stores of these platforms, or of all, that do not respond; considers the first 10,000 waiting purchases.
pub fn of(
    connection: &mut AnyConnection,
    platforms: Option<&[PlatformId]>,
    now: Timestamp,
) -> Result<Vec<SilentStore>, Error> {
    let on = match platforms {
        Some([]) => return Ok(Vec::new()),
        Some(all) => Value::list(all.iter().copied()),
        None => None,
    };
    let mut unanswered: Vec<FailingQueries> = Filtered::new(SILENT_STORES, [])
        .and(ON_PLATFORMS, on)
        .statement()
        .all(connection)?;
    unanswered.retain(|one| now.since(one.since) >= SILENT);
    let mut found = Vec::new();
    for (at, one) in unanswered.into_iter().enumerate() {
        let answered = if at < MAX_EXAMINED {
            last_answer(connection, one.platform_id, one.since)?
        } else {
            None
        };
        found.extend(one.judge(answered, now));
    }
    Ok(found)
}

/// Returns when the store last responded about a purchase of a platform, if that was after `since`. Samples do not
/// count, since settle itself responds about them.
pub fn last_answer(
    connection: &mut AnyConnection,
    platform: PlatformId,
    since: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let recorded: Vec<Recorded> = sql(RECORDED)
        .bind(platform)
        .bind(platform)
        .all(connection)?;
    let real = recorded
        .iter()
        .filter(|one| !is_sample_purchase(&one.receipt_id));
    Ok(real
        .filter_map(|one| purchase::read(&one.purchase).ok()?.last_verified())
        .filter(|at| *at > since)
        .max())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    /// Returns since when the store is silent, and when it responded about other purchases.
    fn judged(answered: Option<i64>, now: i64) -> Option<(Timestamp, Option<Timestamp>)> {
        let failing = FailingQueries {
            platform_id: PlatformId::new(uuid::Uuid::nil()),
            platform: "Fire TV".to_owned(),
            store: "shop".to_owned(),
            since: at(0),
            newest: at(100),
            purchases: 2,
            because: None,
            next_at: None,
        };
        failing
            .judge(answered.map(at), at(now))
            .map(|one| (one.since, one.answered_at))
    }

    #[test]
    fn a_store_that_answers_about_others_is_not_silent() {
        assert_eq!(judged(None, 29), None, "the first retries");
        assert_eq!(judged(None, 130), Some((at(0), None)));
        assert_eq!(judged(Some(101), 130), Some((at(0), Some(at(101)))));
        assert_eq!(
            judged(Some(60), 130),
            Some((at(60), None)),
            "it is silent since its last answer"
        );
        assert_eq!(judged(Some(99), 101), None);
    }
}
