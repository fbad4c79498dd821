//! `/openapi.json`, and its part for devices.

use super::devices::client::Address;
use crate::answer::{Document, IfNoneMatch};
use crate::openapi::Documents;
use axum::{Extension, Json};
use serde_json::Value;

/// `GET /openapi.json`. The router passes the documents as an extension: they are generated from the routes, which
/// include this one.
pub async fn show(Extension(documents): Extension<&'static Documents>) -> Json<Value> {
    Json((*documents.whole).clone())
}

/// `GET /openapi/device.json`: anybody can ask for it, so it is written once, and an address is counted.
pub async fn device(Extension(documents): Extension<&'static Documents>, _: Address, known: IfNoneMatch) -> Document {
    Document { prepared: documents.device.clone(), known }
}
