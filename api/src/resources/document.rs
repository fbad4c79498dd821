//! `/openapi.json`, and its part for devices.

use super::devices::client::Address;
use crate::answer::{Document, IfNoneMatch};
use crate::openapi::Served;
use axum::{Extension, Json};
use serde_json::Value;
use std::sync::Arc;

/// `GET /openapi.json`. The router passes the documents as an extension: they are generated from the routes, which
/// include this one.
pub async fn show(Extension(served): Extension<Arc<Served>>) -> Json<Value> {
    Json(served.whole())
}

/// `GET /openapi/device.json`: anybody can ask for it, so it is written once, and an address is counted.
pub async fn device(Extension(served): Extension<Arc<Served>>, _: Address, known: IfNoneMatch) -> Document {
    Document { prepared: served.device(), known }
}
