//! `/v1/events`: the recorded events.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, PageQuery, Query};
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, EventId};
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{EventFilter, EventView, Paged};

/// Which events.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct EventQuery {
    /// Only those of this purchase; with the id of a destination in its place, those about that destination.
    collapse_key: Option<CollapseKey>,
    /// Only those of this type.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// The page.
    #[serde(flatten)]
    page: PageQuery,
}

/// `GET /v1/events`, the newest first.
pub async fn list(
    State(edge): State<Shared>,
    Query(query): Query<EventQuery>,
) -> Result<Json<Paged<EventView>>, Error> {
    let EventQuery { collapse_key, event_type, page } = query;
    Ok(Json(edge.store.events(EventFilter { collapse_key, event_type }, page.page()).await?))
}

/// `GET /v1/events/{event_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<EventId>) -> Result<Json<EventView>, Error> {
    match edge.store.event(id).await {
        Ok(event) => Ok(Json(event)),
        Err(storage::Error::Missing { .. }) => Err(Error::missing("event", id)),
        Err(error) => Err(error.into()),
    }
}
