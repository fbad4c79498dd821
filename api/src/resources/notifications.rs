//! `/v1/notifications`: what became of what we were told.

use super::{Id, Query};
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::PlatformId;
use serde_json::{Map, Value, json};
use storage::NotificationView;

/// `GET /v1/notifications`, the newest first.
pub async fn list(State(edge): State<Shared>, Query(mut fields): Query) -> Result<Json<Value>, Error> {
    let platform: Option<PlatformId> = fields.parsed("platform_id", "a platform id (a UUID)");
    let page = fields.page();
    fields.finish()?;
    let found = edge.store.notifications(platform, page).await?;
    let items: Vec<Value> = found.items.iter().map(listed).collect();
    Ok(Json(json!({ "items": items, "next_cursor": found.next_cursor })))
}

fn listed(found: &NotificationView) -> Value {
    let mut view = view(found);
    view.insert("seq".to_owned(), json!(found.seq));
    view.insert("message_id".to_owned(), json!(found.message_id));
    view.insert("platform_id".to_owned(), json!(found.platform_id));
    view.insert("receipt_id".to_owned(), json!(found.receipt_id));
    view.insert("accepted_at".to_owned(), json!(found.accepted_at));
    Value::Object(view)
}

/// `GET /v1/notifications/{message_id}`
pub async fn show(State(edge): State<Shared>, Id(message_id): Id<String>) -> Result<Json<Value>, Error> {
    let found = edge.store.notifications_of(&message_id).await?;
    let Some(accepted_at) = found.iter().map(|notification| notification.accepted_at).min() else {
        return Err(Error::missing("notification of the message", message_id));
    };
    let notifications: Vec<Value> = found.iter().map(|found| Value::Object(view(found))).collect();
    Ok(Json(json!({ "message_id": message_id, "accepted_at": accepted_at, "notifications": notifications })))
}

/// One notification: its outcome, or what it waits for.
pub(super) fn view(found: &NotificationView) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("collapse_key".to_owned(), json!(found.collapse_key));
    view.insert("type".to_owned(), json!(found.said));
    view.insert("outcome".to_owned(), json!(found.outcome));
    let waiting_for = found.waiting_for.as_ref().filter(|_| found.outcome.is_none());
    for (name, value) in [
        ("waiting_for", waiting_for.map(|reason| json!(reason))),
        ("revision", found.revision.map(|revision| json!(revision))),
        ("reason", found.reason.as_ref().map(|reason| json!(reason))),
    ] {
        if let Some(value) = value {
            view.insert(name.to_owned(), value);
        }
    }
    view
}
