//! `/livez` and `/readyz`.

use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// A store sends again after a few seconds, so readiness must not hang longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// `GET /livez`: the process answers.
pub async fn live() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: 200 while the inbox accepts. The engine's state is told and does not count: notifications are
/// kept while it is away.
pub async fn ready(State(edge): State<Shared>) -> Result<Json<Value>, Error> {
    match timeout(PATIENCE, edge.store.ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(Error::Unavailable("the inbox does not answer in time".to_owned())),
    }
    let temporal = if edge.dispatch.engine().connected() { "connected" } else { "unreachable" };
    Ok(Json(json!({ "status": "ok", "inbox": "ok", "temporal": temporal })))
}
