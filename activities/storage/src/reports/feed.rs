//! The feed: the purchases of an app and their revisions, for a receiver that lost its table or doubts it.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Value, row};
use crate::db::store::Store;
use crate::reports::listing::Filtered;
use crate::settings::destinations::{self, Filter};
use domain::{AppId, CollapseKey, DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

/// A purchase in the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fed {
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// Its newest revision.
    pub revision: i64,
    /// The digest of its newest state: `attributes.state_digest` of its newest `purchase.updated`.
    pub state_digest: String,
    /// The newest revision that the destination acknowledged, when the feed is for one.
    pub acknowledged_revision: Option<i64>,
    /// When it was settled last.
    pub updated_at: Timestamp,
}

row! {
    struct FedRow {
        collapse_key: CollapseKey,
        revision: i64,
        digest: String,
        acked_revision: Option<i64>,
        updated_at: Timestamp,
    }
}

const FEED: Sql = statement! {"
    SELECT p.collapse_key, p.revision, p.digest, l.acked_revision, p.updated_at
    FROM purchases p
    LEFT JOIN lanes l ON l.destination_id = ? AND l.collapse_key = p.collapse_key
    WHERE p.app_id = ? AND p.collapse_key > ? AND p.revision > 0 AND {{which}}
    ORDER BY p.collapse_key
    LIMIT ?
"};
const ON_PLATFORMS: Clause = clause!(&[FEED], "p.platform_id IN (?*)");
const IN_ENVIRONMENT: Clause = clause!(&[FEED], hot "purchases_environment", "p.environment = ?");
const IN_ENVIRONMENTS: Clause = clause!(&[FEED], "p.environment IN (?*)");

impl Store {
    /// The purchases of an app that were announced, each once, in the order of their keys; for a destination those of
    /// the platforms and environments that it wants.
    pub async fn feed(&self, app: AppId, to: Option<DestinationId>, page: Page) -> Result<Paged<Fed>, Error> {
        self.read(move |connection| {
            let wanted = to.map(|id| wanted(connection, app, id)).transpose()?;
            let Filter { platforms, environments } = wanted.unwrap_or_default();
            let after = page.cursor.clone().unwrap_or_default();
            let to = to.map(|id| id.to_string()).unwrap_or_default();
            let one = environments.first().filter(|_| environments.len() == 1).copied();
            let several = environments.into_iter().filter(|_| one.is_none());
            let rows: Vec<FedRow> = Filtered::new(FEED, [to.into(), app.into(), after.into()])
                .and(ON_PLATFORMS, Value::list(platforms))
                .and(IN_ENVIRONMENT, one)
                .and(IN_ENVIRONMENTS, Value::list(several))
                .page(&page)
                .all(connection)?;
            Paged::cut(rows, page.size(), |row| row.collapse_key.to_string(), |row| Ok(row.fed()))
        })
        .await
    }
}

/// What a destination wants of the purchases of its app: [`Filter::wants`] is a condition on a purchase as it was
/// recorded last.
fn wanted(connection: &mut AnyConnection, app: AppId, id: DestinationId) -> Result<Filter, Error> {
    let missing = Error::Missing { what: "destination of this app" };
    let found = destinations::find(connection, id)?.filter(|found| found.app_id == app).ok_or(missing)?;
    Ok(found.destination().filter)
}

impl FedRow {
    fn fed(self) -> Fed {
        Fed {
            collapse_key: self.collapse_key,
            revision: self.revision,
            state_digest: self.digest,
            acknowledged_revision: self.acked_revision,
            updated_at: self.updated_at,
        }
    }
}
