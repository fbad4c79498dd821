//! `/v1/explain`: why something is as it is, in words and as data. The facts are storage's, the sentences are `words`',
//! and `story` puts one under the other.

mod node;
mod sentences;
mod story;
#[cfg(test)]
mod tests;

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Id;
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, DestinationId, EventId};
use node::Node;

/// `GET /v1/explain/notifications/{message_id}`: what became of a message of a store, and what came of that.
pub async fn notification(State(edge): State<Shared>, Id(message_id): Id<String>) -> Result<Json<Node>, Error> {
    Ok(Json(story::message(&message_id, &edge.store.explain_message(&message_id).await?)))
}

/// `GET /v1/explain/purchases/{collapse_key}`: what was told to us, what we told, and what became of it.
pub async fn purchase(State(edge): State<Shared>, Id(key): Id<CollapseKey>) -> Result<Json<Node>, Error> {
    Ok(Json(story::purchase(key, &edge.store.explain_purchase(key).await?)))
}

/// `GET /v1/explain/events/{event_id}`: what caused it, and to whom it went.
pub async fn event(State(edge): State<Shared>, Id(id): Id<EventId>) -> Result<Json<Node>, Error> {
    Ok(Json(story::event(&edge.store.explain_event(id).await?)))
}

/// `GET /v1/explain/destinations/{destination_id}`: how it fares, what is owed to it and what died on the way.
pub async fn destination(State(edge): State<Shared>, Id(id): Id<DestinationId>) -> Result<Json<Node>, Error> {
    Ok(Json(story::destination(&edge.store.explain_destination(id).await?)))
}
