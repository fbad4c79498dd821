//! `/v1/explain`: explains a notification, purchase, event or destination, in sentences and as data. Storage reads the
//! facts, `sentences` writes the texts, and `story` builds the tree; `failing` adds activities that the engine retries.

pub mod customer;
pub mod failing;
pub mod node;
mod sentences;
pub mod story;
#[cfg(test)]
mod tests;

pub use sentences::{duty, held_back, waits};

use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Id;
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, DestinationId, EventId, PlatformId};
use node::Node;
use storage::{Destination, DestinationExplanation, EventExplanation, PurchaseExplanation};

/// Stored facts about a resource, and the sentences about it.
pub struct Explained<F> {
    pub facts: F,
    pub tree: Node,
}

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

/// `GET /v1/explain/purchases/{collapse_key}`: a purchase's notifications, its events and their deliveries.
pub async fn purchase(
    State(edge): State<Shared>,
    Id(key): Id<CollapseKey>,
) -> Result<Json<Node>, Error> {
    Ok(Json(of_purchase(&edge, key).await?.tree))
}

/// Explains a purchase.
///
/// # Errors
/// 404 if there is no such purchase.
pub async fn of_purchase(
    edge: &Edge,
    key: CollapseKey,
) -> Result<Explained<PurchaseExplanation>, Error> {
    let facts = edge.store.explain_purchase(key).await?;
    let fails = failing::of_purchase(edge, key, &facts).await;
    let tree = story::purchase(key, &facts).preceded_by(fails);
    Ok(Explained { facts, tree })
}

/// `GET /v1/explain/events/{event_id}`: an event's cause and its deliveries. Includes events that devices reported.
pub async fn event(State(edge): State<Shared>, Id(id): Id<EventId>) -> Result<Json<Node>, Error> {
    Ok(Json(ExplainedEvent::of(&edge, id).await?.tree))
}

/// An explained event, with the destinations that can receive it again.
pub struct ExplainedEvent {
    pub tree: Node,
    /// Whether a device reported the event.
    pub is_of_device: bool,
    /// Destinations that are not deleted.
    pub destinations: Vec<Destination>,
    pub platform: Option<PlatformId>,
}

impl ExplainedEvent {
    /// Explains an event, including one that a device reported.
    ///
    /// # Errors
    /// 404 if there is no such event.
    pub async fn of(edge: &Edge, id: EventId) -> Result<Self, Error> {
        let facts = match edge.store.explain_event(id).await {
            Err(storage::Error::Missing { .. }) => {
                let facts = edge.store.explain_device_event(id).await?;
                return Ok(Self {
                    tree: story::device_event(&facts),
                    is_of_device: true,
                    destinations: Vec::new(),
                    platform: Some(facts.event.event.platform_id),
                });
            }
            facts => facts?,
        };
        let active = facts
            .addressees
            .iter()
            .filter(|one| one.deleted_at.is_none());
        Ok(Self {
            tree: story::event(&facts),
            is_of_device: false,
            destinations: active.map(|one| one.destination.clone()).collect(),
            platform: facts.event.event.origin.map(|(_, platform, _)| platform),
        })
    }
}

/// Explains an event about a purchase.
///
/// # Errors
/// 404 if there is no such event.
pub async fn of_event(edge: &Edge, id: EventId) -> Result<Explained<EventExplanation>, Error> {
    let facts = edge.store.explain_event(id).await?;
    let tree = story::event(&facts);
    Ok(Explained { facts, tree })
}

/// `GET /v1/explain/destinations/{destination_id}`: a destination's health, and its pending and failed deliveries.
pub async fn destination(
    State(edge): State<Shared>,
    Id(id): Id<DestinationId>,
) -> Result<Json<Node>, Error> {
    Ok(Json(of_destination(&edge, id).await?.tree))
}

/// Explains a destination, even a deleted one.
///
/// # Errors
/// 404 if there is no such destination.
pub async fn of_destination(
    edge: &Edge,
    id: DestinationId,
) -> Result<Explained<DestinationExplanation>, Error> {
    let facts = edge.store.explain_destination(id).await?;
    let fails = failing::of_destination(edge, id, &facts).await;
    let tree = story::destination(&facts).preceded_by(fails);
    Ok(Explained { facts, tree })
}
