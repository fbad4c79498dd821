//! `/v1/purchases`: what we know of each, and what waits.

mod actions;

pub use actions::{discard, flush, hold, redeliver, release};

use super::{Id, Query, notifications};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, PlatformId};
use serde_json::{Value, json};
use std::time::Duration;
use storage::{NotificationView, Page, Paged, PurchaseFilter, PurchaseView};

/// How long a reader waits for the engine's part of the answer.
const STATUS_WAIT: Duration = Duration::from_secs(2);

/// `GET /v1/purchases`, the last settled first.
pub async fn list(State(edge): State<Shared>, Query(mut fields): Query) -> Result<Json<Paged<PurchaseView>>, Error> {
    let filter = PurchaseFilter {
        platform_id: fields.parsed("platform_id", "a platform id (a UUID)"),
        receipt_id: fields.text("receipt_id"),
        app_user_id: fields.text("app_user_id"),
        external_id: fields.text("external_id"),
    };
    let page = fields.page();
    fields.finish()?;
    let (platform, receipt) = (filter.platform_id, filter.receipt_id.clone());
    let is_named = filter.app_user_id.is_some() || filter.external_id.is_some();
    let may_be_unsettled = page.cursor.is_none() && !is_named;
    let mut found = edge.store.purchases(filter, page).await?;
    if let (Some(receipt), true, None) = (receipt, may_be_unsettled, &found.next_cursor) {
        for key in told_of(&edge, platform, &receipt).await? {
            if !found.items.iter().any(|item| item.collapse_key == key) {
                found.items.extend(unsettled(&edge, key).await?);
            }
        }
    }
    Ok(Json(found))
}

/// `GET /v1/purchases/{collapse_key}`: what is stored, and what the open run says of itself (`status`, null when
/// the purchase sleeps; `status_error` when the engine did not answer).
pub async fn show(State(edge): State<Shared>, Id(key): Id<CollapseKey>) -> Result<Json<Value>, Error> {
    let purchase = find(&edge, key).await?;
    let mut view = json!({
        "collapse_key": purchase.collapse_key,
        "platform_id": purchase.platform_id,
        "app_id": purchase.app_id,
        "receipt_id": purchase.receipt_id,
        "app_user_id": purchase.app_user_id,
        "state": purchase.state,
        "revision": purchase.revision,
        "held_until": purchase.held_until,
        "updated_at": purchase.updated_at,
        "data": purchase.data,
        "lanes": edge.store.lanes(key).await?,
        "status": null,
    });
    match tokio::time::timeout(STATUS_WAIT, edge.dispatch.engine().status(key)).await {
        Ok(Ok(status)) => view["status"] = json!(status),
        Ok(Err(error)) => view["status_error"] = json!(error.to_string()),
        Err(_) => view["status_error"] = json!("the workflow engine does not answer"),
    }
    Ok(Json(view))
}

/// `GET /v1/purchases/{collapse_key}/notifications`, the newest first.
pub async fn notifications(
    State(edge): State<Shared>,
    Id(key): Id<CollapseKey>,
    Query(mut fields): Query,
) -> Result<Json<Value>, Error> {
    let page = fields.page();
    fields.finish()?;
    newest(&edge, key).await?;
    let found = edge.store.notifications_of_purchase(key, page).await?;
    let items: Vec<Value> = found.items.iter().map(told).collect();
    Ok(Json(json!({ "items": items, "next_cursor": found.next_cursor })))
}

fn told(found: &NotificationView) -> Value {
    let mut view = notifications::view(found);
    view.insert("seq".to_owned(), json!(found.seq));
    view.insert("message_id".to_owned(), json!(found.message_id));
    view.insert("accepted_at".to_owned(), json!(found.accepted_at));
    Value::Object(view)
}

async fn find(edge: &Edge, key: CollapseKey) -> Result<PurchaseView, Error> {
    match edge.store.purchase(key).await {
        Err(storage::Error::Missing { .. }) => {
            unsettled(edge, key).await?.ok_or_else(|| Error::missing("purchase", key))
        }
        other => Ok(other?),
    }
}

/// The purchases of a receipt that something open may tell of.
async fn told_of(edge: &Edge, platform: Option<PlatformId>, receipt: &str) -> Result<Vec<CollapseKey>, Error> {
    match platform {
        Some(platform) => Ok(vec![CollapseKey::of(platform, receipt)]),
        None => Ok(edge.store.open_of_receipt(receipt).await?),
    }
}

/// A purchase that was told of and is not settled yet: nothing is known but its name.
async fn unsettled(edge: &Edge, key: CollapseKey) -> Result<Option<PurchaseView>, Error> {
    let told = edge.store.notifications_of_purchase(key, Page { cursor: None, limit: 1 }).await?;
    let Some(newest) = told.items.into_iter().next() else { return Ok(None) };
    let platform = edge.store.platform(newest.platform_id).await?;
    Ok(Some(PurchaseView {
        collapse_key: key,
        platform_id: platform.id,
        app_id: platform.app_id,
        receipt_id: newest.receipt_id,
        app_user_id: None,
        revision: 0,
        state: domain::purchase::State::Unknown.as_str().to_owned(),
        held_until: None,
        updated_at: newest.accepted_at,
        standing: storage::Standing::default(),
        data: Value::Null,
    }))
}

/// The newest sequence number of a purchase that is known.
async fn newest(edge: &Edge, key: CollapseKey) -> Result<i64, Error> {
    let page = Page { cursor: None, limit: 1 };
    let told = edge.store.notifications_of_purchase(key, page).await?;
    match told.items.first() {
        Some(newest) => Ok(newest.seq),
        None => edge.store.purchase(key).await.map(|_| 0).map_err(Error::from),
    }
}

/// The state of a purchase for people: one that runs on without renewal says both.
#[must_use]
pub fn state_for_people(state: &str) -> &str {
    match state {
        "trial_off" => "trial, renewal off",
        "off" => "active, renewal off",
        "grace" => "active, in grace",
        "unknown" => "not known yet",
        other => other,
    }
}
