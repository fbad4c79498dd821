//! `/v1/apps/{app_id}/feed`: which purchases there are and how far each is, for a receiver that lost its table.

use super::redeliveries::check_cursor;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{PageQuery, Query, Stored};
use axum::Json;
use axum::extract::State;
use domain::DestinationId;
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{App, Fed, Paged};

/// Which purchases.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct FeedQuery {
    /// Leaves out what this destination does not want, and adds what it acknowledged.
    destination_id: Option<DestinationId>,
    /// The page.
    #[serde(flatten)]
    page: PageQuery,
}

/// `GET /v1/apps/{app_id}/feed`: each purchase once, in the order of the keys, so that what changes meanwhile moves
/// nothing.
pub async fn list(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<FeedQuery>,
) -> Result<Json<Paged<Fed>>, Error> {
    let page = query.page.page();
    check_cursor(page.cursor.as_deref())?;
    Ok(Json(edge.store.feed(app.id, query.destination_id, page).await?))
}
