//! `/v1/deliveries`: one event to one destination, with its attempts.

use super::{Id, Query};
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::DeliveryId;
use serde_json::{Value, json};
use storage::{DeliveryFilter, DeliveryView, Paged};

const STATUSES: [&str; 6] = ["pending", "waiting", "delivered", "superseded", "skipped", "dead"];

/// `GET /v1/deliveries`, the newest first.
pub async fn list(State(edge): State<Shared>, Query(mut fields): Query) -> Result<Json<Paged<DeliveryView>>, Error> {
    let status = fields.text("status");
    if status.as_ref().is_some_and(|status| !STATUSES.contains(&status.as_str())) {
        fields.wrong("status", format!("one of {}", STATUSES.join(", ")));
    }
    let filter = DeliveryFilter {
        collapse_key: fields.parsed("collapse_key", "a collapse key (a UUID)"),
        destination_id: fields.parsed("destination_id", "a destination id (a UUID)"),
        status,
    };
    let page = fields.page();
    fields.finish()?;
    Ok(Json(edge.store.deliveries(filter, page).await?))
}

/// `GET /v1/deliveries/{delivery_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<DeliveryId>) -> Result<Json<DeliveryView>, Error> {
    Ok(Json(edge.store.delivery(id).await?))
}

/// `GET /v1/deliveries/{delivery_id}/attempts`, the oldest first.
pub async fn attempts(State(edge): State<Shared>, Id(id): Id<DeliveryId>) -> Result<Json<Value>, Error> {
    edge.store.delivery(id).await?;
    Ok(Json(json!({ "items": edge.store.attempts(id).await?, "next_cursor": null })))
}
