//! `/openapi.json`

use axum::{Extension, Json};
use serde_json::Value;
use std::sync::LazyLock;

/// `GET /openapi.json`. The document is made from the list of routes, so that the router passes it in.
pub async fn show(Extension(document): Extension<&'static LazyLock<Value>>) -> Json<Value> {
    Json((**document).clone())
}
