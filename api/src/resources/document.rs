//! `/openapi.json`

use axum::{Extension, Json};
use serde_json::Value;
use std::sync::LazyLock;

/// `GET /openapi.json`. The router passes the document as an extension: it is generated from the routes, which include
/// this one.
pub async fn show(Extension(document): Extension<&'static LazyLock<Value>>) -> Json<Value> {
    Json((**document).clone())
}
