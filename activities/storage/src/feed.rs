//! The feed: which purchases there are and how far each is, for a receiver that lost its table or doubts it.

use crate::connection::AnyConnection;
use crate::statement::{Value, places, row, sql};
use crate::{Error, Filter, Page, Paged, Store, destinations};
use domain::{AppId, CollapseKey, DestinationId, PlatformId, Timestamp};
use serde::Serialize;

/// A purchase as the feed tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fed {
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// Its newest revision.
    pub revision: i64,
    /// The digest of its newest state: `attributes.state_digest` of its newest `purchase.updated`.
    pub state_digest: String,
    /// The newest revision that the destination acknowledged, when the feed is asked for one.
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

row! {
    struct Platform {
        id: PlatformId,
        environment: domain::Environment,
    }
}

impl Store {
    /// The purchases of an app of which something was told, each once, in the order of their keys; of a destination
    /// those of the platforms and environments that it wants.
    pub async fn feed(&self, app: AppId, to: Option<DestinationId>, page: Page) -> Result<Paged<Fed>, Error> {
        self.read(move |connection| {
            let wanted = to.map(|id| wanted(connection, app, id)).transpose()?.flatten();
            let of = wanted.as_ref().map(|ids| format!(" AND p.platform_id IN ({})", places(ids.len())));
            let text = format!(
                "SELECT p.collapse_key, p.revision, p.digest, l.acked_revision, p.updated_at FROM purchases p \
                 LEFT JOIN lanes l ON l.destination_id = ? AND l.collapse_key = p.collapse_key \
                 WHERE p.app_id = ? AND p.collapse_key > ? AND p.revision > 0{} ORDER BY p.collapse_key LIMIT ?",
                of.unwrap_or_default()
            );
            let rows: Vec<FedRow> = sql(text)
                .bind(to.map(|id| id.to_string()).unwrap_or_default())
                .bind(app)
                .bind(page.cursor.clone().unwrap_or_default())
                .bind_all(wanted.unwrap_or_default().into_iter().map(Value::from))
                .bind(page.size() + 1)
                .all(connection)?;
            Paged::cut(rows, page.size(), |row| row.collapse_key.to_string(), |row| Ok(row.fed()))
        })
        .await
    }
}

/// The platforms whose purchases a destination wants; `None` for all.
fn wanted(connection: &mut AnyConnection, app: AppId, id: DestinationId) -> Result<Option<Vec<PlatformId>>, Error> {
    let missing = Error::Missing { what: "destination of this app" };
    let found = destinations::find(connection, id)?.filter(|found| found.app_id == app).ok_or(missing)?;
    let filter = found.destination()?.filter;
    if filter == Filter::default() {
        return Ok(None);
    }
    let platforms: Vec<Platform> =
        sql("SELECT id, environment FROM platforms WHERE app_id = ?").bind(app).all(connection)?;
    let wanted = platforms.into_iter().filter(|one| filter.wants(one.id, one.environment));
    let mut wanted: Vec<PlatformId> = wanted.map(|one| one.id).collect();
    if wanted.is_empty() {
        // No platform has this id: an empty list is no SQL.
        wanted.push(PlatformId::new(uuid::Uuid::nil()));
    }
    Ok(Some(wanted))
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
