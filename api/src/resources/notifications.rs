//! `/v1/notifications`: what became of a store's messages.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Id;
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, Outcome, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use storage::NotificationView;

/// A message of a store, with its notifications.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Message {
    /// The store's id of it.
    message_id: String,
    /// When it was accepted.
    accepted_at: Timestamp,
    /// Its notifications: one for each receipt that it concerns.
    notifications: Vec<Notification>,
}

/// A notification: its outcome, or what it waits for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Notification {
    /// Its purchase; null when it could not be read.
    collapse_key: Option<CollapseKey>,
    /// Its type, as the store names it.
    #[serde(rename = "type")]
    store_type: String,
    /// Its outcome, once it has one.
    outcome: Option<Outcome>,
    /// What it waits for, until it has an outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    /// The revision that it was settled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    /// Why it ended so.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<NotificationView> for Notification {
    fn from(found: NotificationView) -> Self {
        Self {
            collapse_key: found.collapse_key,
            store_type: found.said,
            waiting_for: found.waiting_for.filter(|_| found.outcome.is_none()),
            outcome: found.outcome,
            revision: found.revision,
            reason: found.reason,
        }
    }
}

/// `GET /v1/notifications/{message_id}`
pub async fn show(State(edge): State<Shared>, Id(message_id): Id<String>) -> Result<Json<Message>, Error> {
    let found = edge.store.notifications_of(&message_id).await?;
    let Some(accepted_at) = found.iter().map(|notification| notification.accepted_at).min() else {
        return Err(Error::missing("notification of the message", message_id));
    };
    let notifications = found.into_iter().map(Notification::from).collect();
    Ok(Json(Message { message_id, accepted_at, notifications }))
}
