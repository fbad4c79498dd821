//! `/v1/deliveries`: one event to one destination, with its attempts.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, Query};
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::DeliveryId;
use storage::{AttemptView, DeliveryFilter, DeliveryView, Paged};

/// `GET /v1/deliveries`, the newest first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<DeliveryFilter>>,
) -> Result<Json<Paged<DeliveryView>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    Ok(Json(edge.store.deliveries(filter, page.page()).await?))
}

/// `GET /v1/deliveries/{delivery_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<DeliveryId>) -> Result<Json<DeliveryView>, Error> {
    Ok(Json(edge.store.delivery(id).await?))
}

/// `GET /v1/deliveries/{delivery_id}/attempts`, the oldest first.
pub async fn attempts(State(edge): State<Shared>, Id(id): Id<DeliveryId>) -> Result<Json<Paged<AttemptView>>, Error> {
    edge.store.delivery(id).await?;
    Ok(Json(Paged { items: edge.store.attempts(id).await?, next_cursor: None }))
}
