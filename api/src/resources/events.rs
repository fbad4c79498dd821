//! `/v1/events`: the recorded events.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, PageQuery, Query};
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, EventId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
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

/// An event.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Event {
    /// Its id.
    id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    event_type: String,
    /// Its purchase.
    collapse_key: CollapseKey,
    /// The revision of the purchase.
    revision: i64,
    /// When it was recorded.
    created_at: Timestamp,
    /// Its body, without the fields that depend on a destination; null when it was pruned.
    body: Value,
}

impl From<EventView> for Event {
    fn from(event: EventView) -> Self {
        let EventView { id, collapse_key, event_type, revision, created_at, body } = event;
        Self { id, event_type, collapse_key, revision, created_at, body }
    }
}

/// `GET /v1/events`, the newest first.
pub async fn list(State(edge): State<Shared>, Query(query): Query<EventQuery>) -> Result<Json<Paged<Event>>, Error> {
    let EventQuery { collapse_key, event_type, page } = query;
    let found = edge.store.events(EventFilter { collapse_key, event_type }, page.page()).await?;
    let items = found.items.into_iter().map(Event::from).collect();
    Ok(Json(Paged { items, next_cursor: found.next_cursor }))
}

/// `GET /v1/events/{event_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<EventId>) -> Result<Json<Event>, Error> {
    match edge.store.event(id).await {
        Ok(event) => Ok(Json(event.into())),
        Err(storage::Error::Missing { .. }) => Err(Error::missing("event", id)),
        Err(error) => Err(error.into()),
    }
}
