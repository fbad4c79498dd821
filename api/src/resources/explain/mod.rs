//! `/v1/explain`: explains a notification, purchase, event or destination, in sentences and as data. Storage reads the
//! facts, `sentences` writes the texts, and `story` builds the tree; `failing` adds what the engine retries.

pub mod failing;
pub mod node;
mod sentences;
pub mod story;
#[cfg(test)]
mod tests;

pub use sentences::{held_back, waits};

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Id;
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, DestinationId, EventId};
use node::Node;

/// `GET /v1/explain/notifications/{message_id}`: the outcome of a store's message, and the events that followed.
pub async fn notification(
    State(edge): State<Shared>,
    Id(message_id): Id<String>,
) -> Result<Json<Node>, Error> {
    let facts = edge.store.explain_message(&message_id).await?;
    Ok(Json(
        story::message(&message_id, &facts).preceded_by(failing::of_message(&edge, &facts).await),
    ))
}

/// `GET /v1/explain/purchases/{collapse_key}`: its notifications, its events and their deliveries.
pub async fn purchase(
    State(edge): State<Shared>,
    Id(key): Id<CollapseKey>,
) -> Result<Json<Node>, Error> {
    let facts = edge.store.explain_purchase(key).await?;
    Ok(Json(story::purchase(key, &facts).preceded_by(
        failing::of_purchase(&edge, key, &facts).await,
    )))
}

/// `GET /v1/explain/events/{event_id}`: what caused it, and its deliveries. Also of an event that a device reported.
pub async fn event(State(edge): State<Shared>, Id(id): Id<EventId>) -> Result<Json<Node>, Error> {
    match edge.store.explain_event(id).await {
        Err(storage::Error::Missing { .. }) => Ok(Json(story::device_event(
            &edge.store.explain_device_event(id).await?,
        ))),
        found => Ok(Json(story::event(&found?))),
    }
}

/// `GET /v1/explain/destinations/{destination_id}`: its health, what is pending for it and what failed.
pub async fn destination(
    State(edge): State<Shared>,
    Id(id): Id<DestinationId>,
) -> Result<Json<Node>, Error> {
    let facts = edge.store.explain_destination(id).await?;
    Ok(Json(story::destination(&facts).preceded_by(
        failing::of_destination(&edge, id, &facts).await,
    )))
}
