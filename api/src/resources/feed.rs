//! `/v1/apps/{app_id}/feed`: an app's purchases with their revisions, for a receiver that lost its own records.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{PageQuery, Query, Stored};
use axum::Json;
use axum::extract::State;
use domain::DestinationId;
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{App, FeedEntry, Paged};

/// Filter of the feed.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct FeedQuery {
    /// Only purchases that this destination is to receive, with the revision that it acknowledged.
    destination_id: Option<DestinationId>,
    /// The page.
    #[serde(flatten)]
    page: PageQuery,
}

/// `GET /v1/apps/{app_id}/feed`: each purchase once, ordered by key. A purchase that changes while pages are read keeps
/// its place.
pub async fn list(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<FeedQuery>,
) -> Result<Json<Paged<FeedEntry>>, Error> {
    let page = query.page.page();
    Ok(Json(
        edge.store.feed(app.id, query.destination_id, page).await?,
    ))
}
