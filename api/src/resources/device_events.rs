//! `/v1/device-events`: the events that devices reported, each with its deliveries.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, Query};
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::EventId;
use storage::{DeviceEventFilter, DeviceEventFull, DeviceEventView, Paged};

/// `GET /v1/device-events`, newest first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<DeviceEventFilter>>,
) -> Result<Json<Paged<DeviceEventView>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    Ok(Json(edge.store.device_events(filter, page.page()).await?))
}

/// `GET /v1/device-events/{event_id}`
pub async fn show(
    State(edge): State<Shared>,
    Id(id): Id<EventId>,
) -> Result<Json<DeviceEventFull>, Error> {
    match edge.store.device_event(id).await {
        Err(storage::Error::Missing { .. }) => Err(Error::missing("event of a device", id)),
        found => Ok(Json(found?)),
    }
}
