//! `/v1/destinations`: whom an app's events are told. What a kind needs to know is in that kind's file.

mod snapshot;
mod webhook;

pub use snapshot::snapshot;

use super::{Body, Fields, Id, Query};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::{AppId, DestinationId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use storage::{Destination, DestinationPatch, NewDestination};

/// More names than there are to choose from are a mistake.
const MOST_EVENTS: usize = 32;

/// `POST /v1/apps/{app_id}/destinations`. The only answer that shows the secret.
pub async fn create(
    State(edge): State<Shared>,
    Id(app_id): Id<AppId>,
    Body(mut fields): Body,
) -> Result<(StatusCode, Json<Value>), Error> {
    let kind = fields.required_text("kind");
    let name = fields.required_text("name");
    let events = events(&mut fields).unwrap_or_else(|| vec!["*".to_owned()]);
    let enabled = fields.flag("enabled").unwrap_or(true);
    let (settings, secret) = of_kind(&edge, &kind, &mut fields);
    fields.finish()?;
    edge.store.app(app_id).await?;
    let new = NewDestination { app_id, kind, name, events, settings, secret: secret.clone(), enabled };
    let mut view = view(&edge.store.new_destination(new).await?);
    view["secret"] = json!(secret.expose_secret());
    Ok((StatusCode::CREATED, Json(view)))
}

/// `GET /v1/apps/{app_id}/destinations`
pub async fn list(
    State(edge): State<Shared>,
    Id(app): Id<AppId>,
    Query(mut fields): Query,
) -> Result<Json<Value>, Error> {
    let page = fields.page();
    fields.finish()?;
    edge.store.app(app).await?;
    let found = edge.store.destinations(app, page).await?;
    let items: Vec<Value> = found.items.iter().map(view).collect();
    Ok(Json(json!({ "items": items, "next_cursor": found.next_cursor })))
}

/// `GET /v1/destinations/{destination_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<DestinationId>) -> Result<Json<Value>, Error> {
    Ok(Json(view(&edge.store.destination(id).await?)))
}

/// `PATCH /v1/destinations/{destination_id}`. What is owed stays owed while it is disabled.
pub async fn update(
    State(edge): State<Shared>,
    Id(id): Id<DestinationId>,
    Body(mut fields): Body,
) -> Result<Json<Value>, Error> {
    let before = edge.store.destination(id).await?;
    let name = fields.text("name");
    let events = events(&mut fields);
    let enabled = fields.flag("enabled");
    let settings = webhook::change(&edge, &before.settings, &mut fields);
    fields.finish()?;
    let switched = enabled.filter(|enabled| *enabled != before.enabled);
    let state = switched.map(|on| if on { "healthy" } else { "disabled" }.to_owned());
    let reason = switched.map(|on| (!on).then(|| "disabled by an admin".to_owned()));
    let patch = DestinationPatch { name, events, settings, secret: None, enabled, state, reason };
    Ok(Json(view(&edge.store.update_destination(id, patch).await?)))
}

/// `DELETE /v1/destinations/{destination_id}`
pub async fn delete(State(edge): State<Shared>, Id(id): Id<DestinationId>) -> Result<StatusCode, Error> {
    edge.store.delete_destination(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn of_kind(edge: &Edge, kind: &str, fields: &mut Fields) -> (Value, SecretString) {
    match kind {
        webhook::KIND | "" => {}
        other => fields.wrong("kind", format!("`webhook`, and it is `{other}`")),
    }
    let settings = webhook::settings(edge, fields);
    let secret = (edge.kinds.secret)(webhook::KIND, (edge.random)()).unwrap_or_else(|wrong| {
        fields.wrong(&wrong.field, wrong.expected);
        String::new()
    });
    (settings, SecretString::from(secret))
}

fn events(fields: &mut Fields) -> Option<Vec<String>> {
    let events = fields.texts("events")?;
    if events.len() > MOST_EVENTS {
        fields.wrong("events", format!("at most {MOST_EVENTS} names"));
    } else if let Err(expected) = domain::event::check_choice(&events) {
        fields.wrong("events", expected);
    }
    Some(events)
}

fn view(destination: &Destination) -> Value {
    let mut view = json!({
        "id": destination.id,
        "app_id": destination.app_id,
        "kind": destination.kind,
        "name": destination.name,
        "events": destination.events,
        "enabled": destination.enabled,
        "state": destination.state,
        "since": destination.since,
        "created_at": destination.created_at,
    });
    if let Some(reason) = &destination.reason {
        view["reason"] = json!(reason);
    }
    for (name, value) in destination.settings.as_object().into_iter().flatten() {
        view[name] = value.clone();
    }
    view
}
