//! `/livez` and `/readyz`: health checks.

use crate::edge::{Edge, Shared};
use crate::error::{Error, FULL_DISK};
use axum::Json;
use axum::extract::State;
use domain::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::timeout;

/// Maximum time that `/readyz` waits for the database.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Liveness of the process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Live {
    /// Always `ok`.
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
}

/// Readiness of the process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Ready {
    /// Always `ok`.
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
    /// Always `ok`: notifications are accepted and stored.
    #[schemars(extend("const" = "ok"))]
    inbox: &'static str,
    /// Whether Temporal responds. Notifications are stored even if it does not.
    temporal: Connection,
    /// Number of workers polling Temporal, as last observed by this process; null if not known.
    workers: Option<u64>,
    /// Whether periodic sweeps, which recover lost work, are on time; null if not known.
    sweep: Option<Sweep>,
    /// When the last sweep finished; null before the first.
    last_sweep_at: Option<Timestamp>,
}

/// Connection to Temporal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// Temporal responds.
    Connected,
    /// Temporal does not respond.
    Unreachable,
}

/// Punctuality of periodic sweeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sweep {
    /// Sweeps are on time.
    OnTime,
    /// No sweep has finished for five minutes.
    Late,
}

/// Problems of the engine and its workers.
#[derive(Debug, Clone, Copy)]
pub struct EngineHealth {
    pub is_connected: bool,
    /// Whether no worker polls Temporal.
    pub is_without_worker: bool,
    /// Whether no sweep has finished for five minutes.
    pub is_sweep_late: bool,
}

impl EngineHealth {
    /// Reads the state of the engine and its workers.
    ///
    /// # Errors
    /// 503 if the database does not respond.
    pub async fn read(edge: &Edge) -> Result<Self, Error> {
        Ok(Self {
            is_connected: edge.dispatch.engine().is_connected(),
            is_without_worker: edge.workers.are_missing(),
            is_sweep_late: edge.store.last_sweep().await?.is_late(),
        })
    }
}

/// `GET /livez`: 200 while the process responds.
pub async fn live() -> Json<Live> {
    Json(Live { status: "ok" })
}

/// `GET /readyz`: 200 while the database responds, its disk is not full and this process has all encryption keys, even
/// if Temporal does not respond.
pub async fn ready(State(edge): State<Shared>) -> Result<Json<Ready>, Error> {
    if edge.store.disk().is_full() {
        return Err(Error::Unavailable(FULL_DISK.to_owned()));
    }
    let inbox = async {
        edge.store.ping().await?;
        edge.store.check_keys().await
    };
    match timeout(TIMEOUT, inbox).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => {
            return Err(Error::Unavailable(
                "the inbox did not respond in time".to_owned(),
            ));
        }
    }
    let is_connected = edge.dispatch.engine().is_connected();
    let temporal = if is_connected {
        Connection::Connected
    } else {
        Connection::Unreachable
    };
    let last = timeout(TIMEOUT, edge.store.last_sweep())
        .await
        .ok()
        .and_then(Result::ok);
    let sweep = last.map(|last| {
        if last.is_late() {
            Sweep::Late
        } else {
            Sweep::OnTime
        }
    });
    let last_sweep_at = last.and_then(|last| last.finished_at);
    let workers = edge.workers.number().filter(|_| is_connected);
    Ok(Json(Ready {
        status: "ok",
        inbox: "ok",
        temporal,
        workers,
        sweep,
        last_sweep_at,
    }))
}
