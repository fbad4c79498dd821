//! The simulated store of `settle run`. It responds like Google's Developer API, and derives each purchase from the
//! samples that were sent.
//!
//! It listens only on the local machine, knows only the samples of the demo's platform, and marks all of them as test
//! purchases. It issues an access token without comparing a credential.

pub mod purchase;
pub mod resources;

pub use resources::{ENTITLEMENT, PRODUCTS};

use crate::clock;
use crate::stores::samples::Simulation;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use domain::{CollapseKey, Timestamp};
use purchase::{Sent, SimulatedPurchase};
use resources::{NamedPurchase, OrderName};
use serde_json::{Value, json};
use std::sync::Arc;
use storage::{NotificationView, Page, Store};
use url::form_urlencoded;

/// Maximum number of a purchase's notifications that are read, newest first.
const MAX_NOTIFICATIONS: i64 = 1000;

/// The last order of a purchase, which a sample of a refund names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastOrder {
    pub id: String,
    pub is_subscription: bool,
}

/// Returns the routes of the simulated store, which derives its responses from the notifications in a database.
pub fn routes(simulation: Simulation) -> Router {
    let of_app = |path: &str| format!("/androidpublisher/v3/applications/{{package}}/{path}");
    let subscriptions = of_app("purchases/subscriptionsv2/tokens/{token}");
    let products = of_app("purchases/productsv2/tokens/{token}");
    Router::new()
        .route("/token", post(token))
        .route(&subscriptions, get(subscription))
        .route(&products, get(product))
        .route(&of_app("orders/{order_id}"), get(order))
        .route(&of_app("orders:batchGet"), get(orders))
        .route(&of_app("subscriptions/{product_id}"), get(plans))
        .with_state(Arc::new(simulation))
}

/// Returns the last order of a purchase at `now`. Before its first notification, it is that of a new subscription.
///
/// # Errors
/// The database does not respond.
pub async fn last_order(
    store: &Store,
    key: CollapseKey,
    now: Timestamp,
) -> Result<LastOrder, storage::Error> {
    let purchase = simulated(notifications(store, key).await?, now);
    let order = OrderName {
        purchase: key,
        number: purchase.as_ref().map_or(0, SimulatedPurchase::last_order),
    };
    Ok(LastOrder {
        id: order.id(),
        is_subscription: purchase.is_none_or(|purchase| purchase.is_subscription),
    })
}

/// Returns the notifications of a purchase, newest first.
async fn notifications(
    store: &Store,
    key: CollapseKey,
) -> Result<Vec<NotificationView>, storage::Error> {
    let page = Page {
        cursor: None,
        limit: MAX_NOTIFICATIONS,
    };
    let found = store.notifications_of_purchase(key, page).await?;
    Ok(found.items)
}

fn simulated(notifications: Vec<NotificationView>, now: Timestamp) -> Option<SimulatedPurchase> {
    let of_store = notifications
        .into_iter()
        .rev()
        .filter(|one| !one.is_of_device());
    let sent = of_store.map(|one| Sent {
        store_type: one.store_type,
        at: one.accepted_at,
    });
    SimulatedPurchase::of(&sent.collect::<Vec<_>>(), now)
}

/// Returns the purchase with this key; `None` if it is no sample of the demo's platform.
async fn find(
    simulation: &Simulation,
    key: CollapseKey,
) -> Result<Option<NamedPurchase>, storage::Error> {
    let found = notifications(&simulation.store, key).await?;
    let token = found.first().map(|one| one.receipt_id.clone());
    let is_known = |token: &String| {
        simulation.mint.is_minted(token) && CollapseKey::of(simulation.platform, token) == key
    };
    let Some(token) = token.filter(is_known) else {
        return Ok(None);
    };
    let purchase = simulated(found, clock::now());
    Ok(purchase.map(|purchase| NamedPurchase {
        key,
        token,
        purchase,
    }))
}

async fn token() -> Json<Value> {
    Json(json!({ "access_token": "simulated", "expires_in": 3600, "token_type": "Bearer" }))
}

async fn subscription(
    State(simulation): State<Arc<Simulation>>,
    Path((_, token)): Path<(String, String)>,
) -> Response {
    let found = find(&simulation, CollapseKey::of(simulation.platform, &token)).await;
    answer(found.map(|found| found?.subscription()))
}

async fn product(
    State(simulation): State<Arc<Simulation>>,
    Path((_, token)): Path<(String, String)>,
) -> Response {
    let found = find(&simulation, CollapseKey::of(simulation.platform, &token)).await;
    answer(found.map(|found| found?.product()))
}

async fn order(
    State(simulation): State<Arc<Simulation>>,
    Path((_, order_id)): Path<(String, String)>,
) -> Response {
    answer(shown_order(&simulation, &order_id).await)
}

/// Returns several orders; like Google, none of them if one is unknown.
async fn orders(State(simulation): State<Arc<Simulation>>, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    let ids = form_urlencoded::parse(query.as_bytes());
    let ids: Vec<String> = ids
        .filter(|(name, _)| name == "orderIds")
        .map(|(_, id)| id.into_owned())
        .collect();
    let mut orders = Vec::new();
    for id in ids {
        match shown_order(&simulation, &id).await {
            Ok(Some(order)) => orders.push(order),
            other => return answer(other),
        }
    }
    answer(Ok(Some(json!({ "orders": orders }))))
}

async fn plans(Path((_, product_id)): Path<(String, String)>) -> Response {
    answer(Ok(resources::plans(&product_id)))
}

async fn shown_order(simulation: &Simulation, id: &str) -> Result<Option<Value>, storage::Error> {
    let Some(order) = OrderName::parse(id) else {
        return Ok(None);
    };
    let found = find(simulation, order.purchase).await?;
    Ok(found.and_then(|found| found.order(order.number)))
}

/// Returns a resource, or an error in the API's form.
fn answer(found: Result<Option<Value>, storage::Error>) -> Response {
    let status = match found {
        Ok(Some(resource)) => return Json(resource).into_response(),
        Ok(None) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let error = json!({ "error": { "code": status.as_u16() } });
    (status, Json(error)).into_response()
}
