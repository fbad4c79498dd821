//! The simulated store of `settle run`. It responds like Amazon's Receipt Verification Service, and derives each
//! receipt from the notifications that `settle sample` sent.
//!
//! It listens only on the local machine. Only samples and the demo's platform are verified with it, and all its
//! receipts are marked as test purchases. In its requests, the platform's id takes the place of Amazon's shared secret.

mod receipt;

pub use receipt::{ENTITLEMENT, PRODUCTS};

use crate::clock;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::{CollapseKey, PlatformId};
use receipt::{Sent, receipt};
use storage::{Page, Store};

/// Path of a query in Amazon's sandbox.
const ROUTE: &str = "/sandbox/version/1.0/verifyReceiptId/developer/{platform_id}/user/{app_user_id}/receiptId/{receipt_id}";
/// Maximum number of a receipt's notifications that are read, newest first.
const MAX_NOTIFICATIONS: i64 = 1000;

/// Returns the routes of the simulated store, which derives its responses from the notifications in `store`.
pub fn routes(store: Store) -> Router {
    Router::new().route(ROUTE, get(verify)).with_state(store)
}

async fn verify(
    State(store): State<Store>,
    Path((platform, _, receipt_id)): Path<(PlatformId, String, String)>,
) -> Response {
    let key = CollapseKey::of(platform, &receipt_id);
    let Ok(found) = store
        .notifications_of_purchase(
            key,
            Page {
                cursor: None,
                limit: MAX_NOTIFICATIONS,
            },
        )
        .await
    else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let of_store = found
        .items
        .into_iter()
        .rev()
        .filter(|one| !one.is_of_device());
    let sent = of_store.map(|one| Sent {
        store_type: one.store_type,
        at: one.accepted_at,
    });
    match receipt(&receipt_id, &sent.collect::<Vec<_>>(), clock::now()) {
        Some(receipt) => axum::Json(receipt).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}
