//! `/openapi.json`, and its part for devices. Neither requires a key, so each is serialized only once, and requests are
//! limited per address.

use super::devices::client::Address;
use crate::answer::{Document, IfNoneMatch};
use crate::openapi::Served;
use axum::Extension;
use std::sync::Arc;

/// `GET /openapi.json`. The router passes the documents as an extension: they are generated from the routes, which
/// include this one.
pub async fn show(
    Extension(served): Extension<Arc<Served>>,
    _: Address,
    known: IfNoneMatch,
) -> Document {
    Document {
        prepared: served.whole(),
        known,
    }
}

/// `GET /openapi/device.json`.
pub async fn device(
    Extension(served): Extension<Arc<Served>>,
    _: Address,
    known: IfNoneMatch,
) -> Document {
    Document {
        prepared: served.device(),
        known,
    }
}
