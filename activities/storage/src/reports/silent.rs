//! Stores that do not answer: since when, and how many purchases wait for them. Known from the first failed query on, and
//! not only when the patience with a store ends.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Value, row};
use crate::db::store::Store;
use crate::events::deliveries::MAX_COUNTED;
use crate::reports::listing::Filtered;
use domain::{PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// A store is silent if a query failed this long ago and none was answered since. The first retries take a few seconds.
const SILENT: Duration = Duration::from_secs(30);

row! {
    /// A store that does not answer about purchases of a platform.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct SilentStore {
        /// The platform.
        pub platform_id: PlatformId,
        /// Its name.
        pub platform: String,
        /// The store's name.
        pub store: String,
        /// Since when it has not answered about the purchase that waits longest.
        pub since: Timestamp,
        /// Number of purchases about which it has not answered.
        pub purchases: i64,
        /// Why the query about one of them failed.
        pub because: Option<String>,
    }
}

const SILENT_STORES: Sql = statement! {"
    SELECT f.id AS platform_id, f.name AS platform, f.store, MIN(w.unverified_since) AS since, COUNT(*) AS purchases,
        MAX(w.unverified_because) AS because
    FROM (SELECT p.platform_id, p.unverified_since, p.unverified_because
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

impl Store {
    /// The stores that do not answer, by platform.
    pub async fn silent_stores(&self) -> Result<Vec<SilentStore>, Error> {
        self.read_now(|connection, now| of(connection, None, now))
            .await
    }
}

/// The stores of these platforms that do not answer, or of all; among the first 10,000 purchases that wait.
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
    let mut found: Vec<SilentStore> = Filtered::new(SILENT_STORES, [])
        .and(ON_PLATFORMS, on)
        .statement()
        .all(connection)?;
    found.retain(|one| now.since(one.since) >= SILENT);
    Ok(found)
}
