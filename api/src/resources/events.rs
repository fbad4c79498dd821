//! `/v1/events`: what was told to the world.

use super::{Id, Query};
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::EventId;
use serde_json::{Value, json};
use storage::{EventFilter, EventView};

/// `GET /v1/events`, the newest first.
pub async fn list(State(edge): State<Shared>, Query(mut fields): Query) -> Result<Json<Value>, Error> {
    let filter = EventFilter {
        collapse_key: fields.parsed("collapse_key", "a collapse key (a UUID)"),
        event_type: fields.text("type"),
    };
    let page = fields.page();
    fields.finish()?;
    let found = edge.store.events(filter, page).await?;
    let items: Vec<Value> = found.items.into_iter().map(view).collect();
    Ok(Json(json!({ "items": items, "next_cursor": found.next_cursor })))
}

/// `GET /v1/events/{event_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<EventId>) -> Result<Json<Value>, Error> {
    match edge.store.event(id).await {
        Ok(event) => Ok(Json(view(event))),
        Err(storage::Error::Missing { .. }) => Err(Error::missing("event", id)),
        Err(error) => Err(error.into()),
    }
}

fn view(event: EventView) -> Value {
    json!({
        "id": event.id,
        "type": event.event_type,
        "collapse_key": event.collapse_key,
        "revision": event.revision,
        "created_at": event.created_at,
        "body": event.body,
    })
}
