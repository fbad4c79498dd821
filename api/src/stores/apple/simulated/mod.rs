//! The simulated store of `settle run`. It answers like the App Store Server API, and derives each purchase from the
//! samples that were sent.
//!
//! It listens only on the local machine, knows only the samples of the demo's platform, and signs all of them as
//! purchases in the sandbox. It compares no token. A test notification is answered but not sent, since the simulated
//! store sends nothing.

pub mod purchase;
pub mod resources;

pub use resources::{ENTITLEMENT, PRODUCTS};

use super::sample;
use super::signer::{self, Chain, Unusable};
use crate::clock;
use crate::stores::samples::Simulation;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use domain::{CollapseKey, PlatformId, Timestamp};
use purchase::{Sent, SimulatedPurchase};
use resources::{HistoryFilter, NamedPurchase, TransactionName};
use serde_json::{Value, json};
use std::sync::Arc;
use storage::{NotificationView, Page, Store};
use url::form_urlencoded;
use uuid::Uuid;

/// Maximum number of a purchase's notifications that are read, newest first.
const MAX_NOTIFICATIONS: i64 = 1000;

/// An error of the API, by Apple's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiError {
    UnknownTransaction,
    UnknownTest,
    /// The database does not respond, or nothing can be signed.
    Unavailable,
}

impl From<storage::Error> for ApiError {
    fn from(_: storage::Error) -> Self {
        Self::Unavailable
    }
}

impl From<Unusable> for ApiError {
    fn from(_: Unusable) -> Self {
        Self::Unavailable
    }
}

impl ApiError {
    const fn parts(self) -> (StatusCode, i64, &'static str) {
        match self {
            Self::UnknownTransaction => (
                StatusCode::NOT_FOUND,
                4_040_010,
                "Transaction id not found.",
            ),
            Self::UnknownTest => (
                StatusCode::NOT_FOUND,
                4_040_008,
                "Either the test notification token is expired or the notification and status are not yet available.",
            ),
            Self::Unavailable => (
                StatusCode::INTERNAL_SERVER_ERROR,
                5_000_001,
                "An unknown error occurred. Please try again.",
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, message) = self.parts();
        let body = json!({ "errorCode": code, "errorMessage": message });
        (status, Json(body)).into_response()
    }
}

/// Content of an answer.
type JsonResult = Result<Json<Value>, ApiError>;
type Simulated = State<Arc<Simulation>>;

/// Returns the routes of the simulated store, which derives its responses from the notifications in a database.
pub fn routes(simulation: Simulation) -> Router {
    Router::new()
        .route("/inApps/v1/subscriptions/{id}", get(statuses))
        .route("/inApps/v1/transactions/{id}", get(transaction))
        .route("/inApps/v2/history/{id}", get(history))
        .route("/inApps/v2/refund/lookup/{id}", get(refunds))
        .route("/inApps/v1/notifications/history", post(notifications))
        .route("/inApps/v1/notifications/test", post(request_test))
        .route("/inApps/v1/notifications/test/{token}", get(test))
        .with_state(Arc::new(simulation))
}

/// A purchase of the simulated store.
pub struct SampleName<'a> {
    pub platform: PlatformId,
    pub bundle_id: &'a str,
    pub receipt_id: &'a str,
}

impl SampleName<'_> {
    /// Returns the purchase at `now`, with one more notification if there is a `new` one; `None` without any.
    ///
    /// # Errors
    /// The database does not respond.
    pub async fn find(
        &self,
        store: &Store,
        new: Option<Sent>,
        now: Timestamp,
    ) -> Result<Option<NamedPurchase>, storage::Error> {
        let key = CollapseKey::of(self.platform, self.receipt_id);
        let page = Page {
            cursor: None,
            limit: MAX_NOTIFICATIONS,
        };
        let found = store.notifications_of_purchase(key, page).await?;
        let mut sent = sent(found.items);
        sent.extend(new);
        let purchase = SimulatedPurchase::of(&sent, now);
        Ok(purchase.map(|purchase| NamedPurchase {
            key,
            receipt_id: self.receipt_id.to_owned(),
            bundle_id: self.bundle_id.to_owned(),
            purchase,
            signed_at: now,
        }))
    }
}

/// Returns the notifications of the store, oldest first. `notifications` has the newest first.
fn sent(notifications: Vec<NotificationView>) -> Vec<Sent> {
    let of_store = notifications
        .into_iter()
        .rev()
        .filter(|one| !one.is_of_device());
    let sent = of_store.map(|one| Sent {
        at: sample::signed_at(&one.message_id).unwrap_or(one.accepted_at),
        store_type: one.store_type,
    });
    sent.collect()
}

fn chain() -> Result<&'static Chain, ApiError> {
    signer::of_samples().ok_or(ApiError::Unavailable)
}

async fn bundle_id(simulation: &Simulation) -> Result<String, ApiError> {
    let platform = simulation.store.platform(simulation.platform).await?;
    Ok(platform.settings.package_name)
}

/// Returns the purchase of a transaction, and the transaction's number. It is known if it is a sample of the demo's
/// platform.
async fn find(simulation: &Simulation, id: &str) -> Result<(NamedPurchase, usize), ApiError> {
    let TransactionName { receipt_id, number } = TransactionName::parse(id);
    if !simulation.mint.is_minted(&receipt_id) {
        return Err(ApiError::UnknownTransaction);
    }
    let bundle_id = bundle_id(simulation).await?;
    let name = SampleName {
        platform: simulation.platform,
        bundle_id: &bundle_id,
        receipt_id: &receipt_id,
    };
    let found = name.find(&simulation.store, None, clock::now()).await?;
    let found = found.filter(|found| number <= found.purchase.number());
    let purchase = found.ok_or(ApiError::UnknownTransaction)?;
    Ok((purchase, number))
}

async fn statuses(State(simulation): Simulated, Path(id): Path<String>) -> JsonResult {
    let (purchase, _) = find(&simulation, &id).await?;
    Ok(Json(purchase.statuses(chain()?)?))
}

async fn transaction(State(simulation): Simulated, Path(id): Path<String>) -> JsonResult {
    let (purchase, number) = find(&simulation, &id).await?;
    let content = purchase.numbered(number);
    let content = content.ok_or(ApiError::UnknownTransaction)?;
    let signed = chain()?.sign(&content)?;
    Ok(Json(json!({ "signedTransactionInfo": signed })))
}

async fn history(State(simulation): Simulated, Path(id): Path<String>, uri: Uri) -> JsonResult {
    let (purchase, _) = find(&simulation, &id).await?;
    Ok(Json(purchase.history(chain()?, &filter(&uri))?))
}

async fn refunds(State(simulation): Simulated, Path(id): Path<String>, uri: Uri) -> JsonResult {
    let (purchase, _) = find(&simulation, &id).await?;
    Ok(Json(purchase.refunds(chain()?, &filter(&uri))?))
}

/// Returns an empty history, since no sample was lost on its way.
async fn notifications() -> Json<Value> {
    Json(json!({ "hasMore": false, "notificationHistory": [] }))
}

async fn request_test() -> Json<Value> {
    let token = sample::message_id(clock::now());
    Json(json!({ "testNotificationToken": token }))
}

async fn test(State(simulation): Simulated, Path(token): Path<String>) -> JsonResult {
    let requested_at = sample::signed_at(&token);
    let requested_at = requested_at.ok_or(ApiError::UnknownTest)?;
    let token: Uuid = token.parse().map_err(|_| ApiError::UnknownTest)?;
    let bundle_id = bundle_id(&simulation).await?;
    let payload = resources::test(token, &bundle_id, requested_at);
    let signed = chain()?.sign(&payload)?;
    Ok(Json(json!({ "signedPayload": signed, "sendAttempts": [] })))
}

/// Returns the filter in a query. A parameter that cannot be parsed is left out.
pub fn filter(uri: &Uri) -> HistoryFilter {
    let mut filter = HistoryFilter::default();
    let query = uri.query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "startDate" => filter.from_ms = value.parse().ok(),
            "endDate" => filter.until_ms = value.parse().ok(),
            "sort" => filter.is_descending = value == "DESCENDING",
            "productType" => filter.product_types.push(value.into_owned()),
            "revision" => filter.skipped = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    filter
}
