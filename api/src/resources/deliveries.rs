//! `/v1/deliveries`: one event to one destination, with its attempts.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, PageQuery, Query};
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, DeliveryId, DestinationId};
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{AttemptView, DeliveryFilter, DeliveryStatus, DeliveryView, Paged};

/// Which deliveries.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DeliveryQuery {
    /// Only those of this purchase.
    collapse_key: Option<CollapseKey>,
    /// Only those to this destination.
    destination_id: Option<DestinationId>,
    /// Only those in this status.
    #[schemars(
        with = "Option<String>",
        extend("enum" = ["pending", "waiting", "delivered", "superseded", "skipped", "dead", null])
    )]
    status: Option<DeliveryStatus>,
    /// The page.
    #[serde(flatten)]
    page: PageQuery,
}

/// `GET /v1/deliveries`, the newest first.
pub async fn list(
    State(edge): State<Shared>,
    Query(query): Query<DeliveryQuery>,
) -> Result<Json<Paged<DeliveryView>>, Error> {
    let DeliveryQuery { collapse_key, destination_id, status, page } = query;
    let filter = DeliveryFilter { collapse_key, destination_id, status };
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
