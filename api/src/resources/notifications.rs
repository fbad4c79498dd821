//! `/v1/notifications`: stores' messages and the outcomes of their notifications.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, PageQuery, Query};
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::{AppId, CollapseKey, Outcome, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{NotificationFilter, NotificationView, OutcomeFilter, Paged, WaitingFor};

/// A message from a store with its notifications.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Message {
    /// The store's id for the message.
    message_id: String,
    /// When the message was accepted.
    accepted_at: Timestamp,
    /// Notifications in the message: one for each purchase and type.
    notifications: Vec<Notification>,
}

/// A notification with its outcome, or the reason why it waits.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Notification {
    /// Key of the purchase; null if the notification could not be read.
    collapse_key: Option<CollapseKey>,
    /// The store's name for the type; `DEVICE_TRANSACTION` for a claim by a device, `IMPORTED` for an imported
    /// purchase.
    #[serde(rename = "type")]
    store_type: String,
    /// Outcome of the notification; null if there is none yet.
    outcome: Option<Outcome>,
    /// Why the notification waits; null once it has an outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    waiting_for: Option<WaitingFor>,
    /// Revision in which the notification was settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    /// Reason for the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<NotificationView> for Notification {
    fn from(found: NotificationView) -> Self {
        Self {
            collapse_key: found.collapse_key,
            store_type: found.store_type,
            waiting_for: found.waiting_for,
            outcome: found.outcome,
            revision: found.revision,
            reason: found.reason,
        }
    }
}

/// Filter of notifications.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct NotificationQuery {
    /// Only notifications of this app.
    app_id: Option<AppId>,
    /// Only notifications of this platform.
    platform_id: Option<PlatformId>,
    /// Only notifications with this outcome; `open` for those without one.
    #[schemars(extend("enum" = outcomes()))]
    outcome: Option<String>,
    /// Only notifications accepted at or after this time.
    from: Option<Timestamp>,
    /// Only notifications accepted before this time.
    until: Option<Timestamp>,
    /// The page.
    #[serde(flatten)]
    page: PageQuery,
}

/// Filter value for notifications without an outcome.
const OPEN: &str = "open";

/// Returns the filter's values: [`OPEN`], and the names of the outcomes.
fn outcomes() -> Vec<&'static str> {
    std::iter::once(OPEN)
        .chain(Outcome::ALL.iter().map(|outcome| outcome.as_str()))
        .collect()
}

impl NotificationQuery {
    fn outcome(&self) -> Result<Option<OutcomeFilter>, Error> {
        let Some(name) = &self.outcome else {
            return Ok(None);
        };
        if name == OPEN {
            return Ok(Some(OutcomeFilter::Open));
        }
        name.parse()
            .map(|outcome| Some(OutcomeFilter::Is(outcome)))
            .map_err(|why: String| Error::invalid("outcome", why))
    }
}

/// A notification of a purchase.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PurchaseNotification {
    /// Sequence number of the notification.
    seq: i64,
    /// The store's id for the message.
    message_id: String,
    /// When the notification was accepted.
    accepted_at: Timestamp,
    /// Outcome of the notification, or why it waits.
    #[serde(flatten)]
    notification: Notification,
}

impl From<NotificationView> for PurchaseNotification {
    fn from(found: NotificationView) -> Self {
        Self {
            seq: found.seq,
            message_id: found.message_id.clone(),
            accepted_at: found.accepted_at,
            notification: found.into(),
        }
    }
}

/// A notification with its platform and the store's id of the purchase.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListedNotification {
    /// Id of the platform.
    platform_id: PlatformId,
    /// The store's id of the purchase; empty if the notification could not be read.
    receipt_id: String,
    /// The notification.
    #[serde(flatten)]
    notification: PurchaseNotification,
}

impl From<NotificationView> for ListedNotification {
    fn from(found: NotificationView) -> Self {
        Self {
            platform_id: found.platform_id,
            receipt_id: found.receipt_id.clone(),
            notification: found.into(),
        }
    }
}

/// `GET /v1/notifications`, newest first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(query): Query<NotificationQuery>,
) -> Result<Json<Paged<ListedNotification>>, Error> {
    let outcome = query.outcome()?;
    let NotificationQuery {
        app_id,
        platform_id,
        from,
        until,
        page,
        ..
    } = query;
    let app = caller.app(&edge, app_id).await?;
    let filter = NotificationFilter {
        app,
        platform: platform_id,
        outcome,
        from,
        until,
    };
    Ok(Json(
        edge.store
            .notifications(filter, page.page())
            .await?
            .map(ListedNotification::from),
    ))
}

/// `GET /v1/notifications/{message_id}`
pub async fn show(
    State(edge): State<Shared>,
    Id(message_id): Id<String>,
) -> Result<Json<Message>, Error> {
    let found = edge.store.notifications_of(&message_id).await?;
    let Some(accepted_at) = found
        .iter()
        .map(|notification| notification.accepted_at)
        .min()
    else {
        return Err(Error::missing("notification of the message", message_id));
    };
    let notifications = found.into_iter().map(Notification::from).collect();
    Ok(Json(Message {
        message_id,
        accepted_at,
        notifications,
    }))
}
