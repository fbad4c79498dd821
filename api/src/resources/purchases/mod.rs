//! `/v1/purchases`: the state of each purchase, its lanes and its open run.

mod actions;
mod detail;

pub use actions::{discard, flush, hold, release};
pub use detail::ReadPurchase;

use super::notifications::PurchaseNotification;
use super::query::Listed;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Id, PageQuery, Query};
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::{AppId, CollapseKey, Lane, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use storage::{Page, Paged, PurchaseFilter, PurchaseView};

/// Maximum time to wait for the open run's status.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// A purchase with its delivery lanes and open workflow run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PurchaseDetail {
    /// Key of the purchase.
    collapse_key: CollapseKey,
    /// Id of the purchase's platform.
    platform_id: PlatformId,
    /// Id of the purchase's app.
    app_id: AppId,
    /// The store's id for the purchase.
    receipt_id: String,
    /// The store's id for the customer.
    app_user_id: Option<String>,
    /// State of the purchase.
    state: String,
    /// Revision of the purchase.
    revision: i64,
    /// When the hold ends; null if the purchase is not held.
    held_until: Option<Timestamp>,
    /// Name of the person who set the hold; null if not known.
    held_by: Option<String>,
    /// Reason for the hold; null if none was given.
    held_reason: Option<String>,
    /// When the purchase was last settled.
    updated_at: Timestamp,
    /// When the store last confirmed the purchase.
    verified_at: Option<Timestamp>,
    /// Whether the store's last response confirms the current state. Unlike `verified` in `data`, this includes later
    /// checks, which create no revision.
    is_verified: Option<bool>,
    /// Body of the purchase's latest `purchase.updated`; null before the first.
    data: Value,
    /// Delivery lanes of the purchase, by destination.
    lanes: Vec<Lane>,
    /// Status of the open workflow run; null if no run is open.
    status: Option<Value>,
    /// Why the open workflow run did not respond.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_error: Option<String>,
}

/// `GET /v1/purchases`, most recently settled first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<PurchaseFilter>>,
) -> Result<Json<Paged<PurchaseView>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    let app = filter.app_id;
    let page = page.page();
    let may_be_unsettled =
        page.cursor.is_none() && filter.app_user_id.is_none() && filter.external_id.is_none();
    let mut found = edge.store.purchases(filter.clone(), page).await?;
    if let (Some(store_id), true, None) = (filter.receipt_id, may_be_unsettled, &found.next_cursor)
    {
        for key in open_of_store_id(&edge, filter.platform_id, &store_id).await? {
            if !found.items.iter().any(|item| item.collapse_key == key) {
                let waiting = unsettled(&edge, key).await?;
                found
                    .items
                    .extend(waiting.filter(|one| app.is_none_or(|app| app == one.app_id)));
            }
        }
    }
    Ok(Json(found))
}

/// `GET /v1/purchases/{collapse_key}`: the stored purchase, and the open run's status (`status`, null if no run is
/// open; `status_error` if the run did not respond).
pub async fn show(
    State(edge): State<Shared>,
    Id(key): Id<CollapseKey>,
) -> Result<Json<PurchaseDetail>, Error> {
    let purchase = find(&edge, key).await?;
    let lanes = edge.store.lanes(key).await?;
    let answered = tokio::time::timeout(STATUS_TIMEOUT, edge.dispatch.engine().status(key)).await;
    let (status, status_error) = match answered {
        Ok(Ok(status)) => (status, None),
        Ok(Err(error)) => (None, Some(error.to_string())),
        Err(_) => (
            None,
            Some("the workflow engine is not responding".to_owned()),
        ),
    };
    Ok(Json(PurchaseDetail {
        collapse_key: purchase.collapse_key,
        platform_id: purchase.platform_id,
        app_id: purchase.app_id,
        receipt_id: purchase.receipt_id,
        app_user_id: purchase.app_user_id,
        state: purchase.state,
        revision: purchase.revision,
        held_until: purchase.held_until,
        held_by: purchase.held_by,
        held_reason: purchase.held_reason,
        updated_at: purchase.updated_at,
        verified_at: purchase.standing.verified_at,
        is_verified: purchase.standing.is_verified,
        data: purchase.data,
        lanes,
        status,
        status_error,
    }))
}

/// `GET /v1/purchases/{collapse_key}/notifications`, newest first.
pub async fn notifications(
    State(edge): State<Shared>,
    Id(key): Id<CollapseKey>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<PurchaseNotification>>, Error> {
    newest(&edge, key).await?;
    Ok(Json(
        edge.store
            .notifications_of_purchase(key, query.page())
            .await?
            .map(PurchaseNotification::from),
    ))
}

async fn find(edge: &Edge, key: CollapseKey) -> Result<PurchaseView, Error> {
    match edge.store.purchase(key).await {
        Err(storage::Error::Missing { .. }) => unsettled(edge, key)
            .await?
            .ok_or_else(|| Error::missing("purchase", key)),
        other => Ok(other?),
    }
}

/// Returns the keys of purchases with this store's id that may have notifications without an outcome. With a platform,
/// only the one on that platform.
async fn open_of_store_id(
    edge: &Edge,
    platform: Option<PlatformId>,
    store_id: &str,
) -> Result<Vec<CollapseKey>, Error> {
    match platform {
        Some(platform) => Ok(vec![CollapseKey::of(platform, store_id)]),
        None => Ok(edge.store.open_of_store_id(store_id).await?),
    }
}

/// Returns a purchase that has notifications but is not settled yet, with the state `unknown`; `None` if it has none.
async fn unsettled(edge: &Edge, key: CollapseKey) -> Result<Option<PurchaseView>, Error> {
    let found = edge
        .store
        .notifications_of_purchase(
            key,
            Page {
                cursor: None,
                limit: 1,
            },
        )
        .await?;
    let Some(newest) = found.items.into_iter().next() else {
        return Ok(None);
    };
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
        held_by: None,
        held_reason: None,
        updated_at: newest.accepted_at,
        standing: storage::PurchaseStatus::default(),
        data: Value::Null,
    }))
}

/// Returns a settled purchase; `None` if it is not settled or not known.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn stored(edge: &Edge, key: CollapseKey) -> Result<Option<PurchaseView>, Error> {
    match edge.store.purchase(key).await {
        Err(storage::Error::Missing { .. }) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// Returns the highest sequence number of a purchase's notifications; 0 if it has a record but no notification. 404 if
/// the purchase is unknown.
async fn newest(edge: &Edge, key: CollapseKey) -> Result<i64, Error> {
    let page = Page {
        cursor: None,
        limit: 1,
    };
    let found = edge.store.notifications_of_purchase(key, page).await?;
    match found.items.first() {
        Some(newest) => Ok(newest.seq),
        None => edge
            .store
            .purchase(key)
            .await
            .map(|_| 0)
            .map_err(Error::from),
    }
}

/// Returns the name of a purchase's state for display.
pub fn state_for_people(state: &str) -> &str {
    match state {
        "trial_off" => "trial, renewal off",
        "off" => "active, renewal off",
        "grace" => "active, in grace",
        "pending" => "payment pending",
        "account_hold" => "on account hold",
        "unknown" => "not known yet",
        other => other,
    }
}
