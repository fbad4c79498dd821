//! The feed: the purchases of an app with their latest revisions, page by page. A receiver can use it to rebuild or
//! check its own table.

use crate::reports::filtered::Filtered;
use crate::reports::walk::{LIMIT, WALKED};
use crate::settings::destinations::{self, Filter};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, row, sql};
use db::time_limit;
use domain::{AppId, CollapseKey, DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

row! {
    /// A purchase in the feed.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    #[schemars(rename = "Fed")]
    pub struct FeedEntry {
        /// Key of the purchase.
        pub collapse_key: CollapseKey,
        /// Latest revision of the purchase.
        pub revision: i64,
        /// Digest of the latest state: `attributes.state_digest` of the latest `purchase.updated`.
        pub state_digest: String,
        /// Latest revision that the destination acknowledged; null if the request names no destination.
        pub acknowledged_revision: Option<i64>,
        /// When the purchase was last settled.
        pub updated_at: Timestamp,
    }
}

const FEED: Sql = statement! {"
    SELECT p.collapse_key AS cursor, p.collapse_key, p.revision, p.digest AS state_digest,
        l.acked_revision AS acknowledged_revision, p.updated_at
    FROM purchases p
    LEFT JOIN lanes l ON l.destination_id = ? AND l.collapse_key = p.collapse_key
    WHERE p.app_id = ? AND p.collapse_key > ? AND p.revision > 0 AND {{which}}
    ORDER BY p.collapse_key
    LIMIT ?
"};
const ON_PLATFORMS: Clause = clause!(&[FEED], "p.platform_id IN (?*)");
const UP_TO: Clause = clause!(&[FEED], "p.collapse_key <= ?");
/// The last purchase that a page scans if its filter may match few of the app's purchases.
const FLOOR: Sql = statement! {"
    SELECT collapse_key AS value
    FROM purchases
    WHERE app_id = ? AND collapse_key > ?
    ORDER BY collapse_key
    LIMIT 1 OFFSET ?
"};
const IN_ENVIRONMENT: Clause = clause!(&[FEED], hot "purchases_environment", "p.environment = ?");

impl Store {
    /// Lists the announced purchases of an app, in order of their keys. For a destination, only those whose platform
    /// and environment its filter matches. If the filter names platforms, a page scans a bounded number of the app's
    /// purchases. It may then have fewer entries than its limit, or none, even if another page follows.
    pub async fn feed(
        &self,
        app: AppId,
        to: Option<DestinationId>,
        page: Page,
    ) -> Result<Paged<FeedEntry>, Error> {
        self.read(move |connection| {
            let _limited = time_limit::limit(LIMIT);
            let wanted = to
                .map(|id| wanted(connection, app, id))
                .transpose()?
                .unwrap_or_default();
            // Every announced purchase is in one of the two environments, so a filter with both needs no condition.
            let environment = wanted
                .environments
                .first()
                .copied()
                .filter(|_| wanted.is_one_environment());
            let after = page.key()?;
            let to = to.map(|id| id.to_string()).unwrap_or_default();
            let floor: Option<CollapseKey> = if wanted.platforms.is_empty() {
                None
            } else {
                sql(FLOOR)
                    .bind((app, after.as_str(), WALKED - 1))
                    .value(connection)?
            };
            let list = Filtered::new(FEED, [to.into(), app.into(), after.into()])
                .and(ON_PLATFORMS, Value::list(wanted.platforms))
                .and(IN_ENVIRONMENT, environment)
                .and(UP_TO, floor);
            let mut found = page.read(connection, list.statement())?;
            found.next_cursor = found
                .next_cursor
                .or_else(|| floor.map(|floor| floor.to_string()));
            Ok(found)
        })
        .await
    }
}

/// Returns the filter of a destination. The statement applies it to the latest record of each purchase, as
/// [`Filter::wants`] does.
fn wanted(connection: &mut AnyConnection, app: AppId, id: DestinationId) -> Result<Filter, Error> {
    let missing = Error::Missing {
        what: "destination of this app",
    };
    let found = destinations::find(connection, id)?
        .filter(|found| found.app_id == app)
        .ok_or(missing)?;
    Ok(found.destination().common.filter)
}
