//! `/v1/events`: the recorded events.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, Query};
use axum::Json;
use axum::extract::State;
use domain::EventId;
use storage::{EventFilter, EventView, Paged};

/// `GET /v1/events`, the newest first.
pub async fn list(
    State(edge): State<Shared>,
    Query(query): Query<Listed<EventFilter>>,
) -> Result<Json<Paged<EventView>>, Error> {
    Ok(Json(edge.store.events(query.filter, query.page.page()).await?))
}

/// `GET /v1/events/{event_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<EventId>) -> Result<Json<EventView>, Error> {
    match edge.store.event(id).await {
        Err(storage::Error::Missing { .. }) => Err(Error::missing("event", id)),
        found => Ok(Json(found?)),
    }
}
