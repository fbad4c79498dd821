//! `/v1/events`: the recorded events.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, Query};
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::EventId;
use storage::{EventFilter, EventView, Paged};

/// `GET /v1/events`, the newest first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<EventFilter>>,
) -> Result<Json<Paged<EventView>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    Ok(Json(edge.store.events(filter, page.page()).await?))
}

/// `GET /v1/events/{event_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<EventId>) -> Result<Json<EventView>, Error> {
    match edge.store.event(id).await {
        Err(storage::Error::Missing { .. }) => Err(Error::missing("event", id)),
        found => Ok(Json(found?)),
    }
}
