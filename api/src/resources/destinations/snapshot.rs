//! `POST /v1/destinations/{destination_id}/snapshot`: the initial load of a destination. It sends the newest state of
//! every purchase that was never queued for it.

use crate::edge::Edge;
use crate::error::Error;
use crate::extract::{Body, Stored};
use crate::keys::Acting;
use crate::resources::redeliveries::{PendingPage, check_cursor};
use axum::Json;
use domain::CollapseKey;
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;
use storage::{Destination, Run, chain};
use tokio::time::timeout;
use workflows::signal::Signal;

const CONCURRENCY: usize = 8;
/// Maximum time for all signals of a page. The sweep finds the lanes of signals that Temporal did not take by then.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The result of a page of a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SnapshotPage {
    /// Number of purchases that were checked.
    pub purchases: i64,
    /// Number of those whose newest state is newly pending.
    pub pending: usize,
    /// The cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// Queues the newest states of a page of purchases, and signals the purchases whose states are newly pending. A
/// repetition queues nothing new.
pub async fn snapshot(
    edge: Acting,
    Stored(Destination { id, .. }): Stored<Destination>,
    Body(body): Body<PendingPage>,
) -> Result<Json<SnapshotPage>, Error> {
    let run = body.run();
    check_cursor(body.cursor.as_deref())?;
    let page = edge.store.backfill(id, body.page(), run).await?;
    if run == Run::Real && timeout(TIMEOUT, wake(&edge, &page.pending)).await.is_err() {
        tracing::warn!(destination.id = %id, "Temporal took not all signals in time; the sweep finds the rest");
    }
    Ok(Json(SnapshotPage { purchases: page.checked, pending: page.pending.len(), next_cursor: page.next_cursor }))
}

/// Sends the signal `wake` to each purchase.
async fn wake(edge: &Edge, keys: &[CollapseKey]) {
    let signal = async |key: &CollapseKey| {
        if let Err(error) = edge.dispatch.engine().signal(*key, Signal::Wake).await {
            tracing::debug!(collapse_key = %key, error = chain(&error), "a wake was not taken; the sweep finds the lane");
        }
    };
    stream::iter(keys).for_each_concurrent(CONCURRENCY, signal).await;
}
