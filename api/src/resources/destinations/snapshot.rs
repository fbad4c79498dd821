//! `POST /v1/destinations/{destination_id}/snapshot`: the newest state of every purchase that was never sent to it.

use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Body, Stored};
use crate::resources::redeliveries::{OwedPage, check_cursor};
use axum::Json;
use axum::extract::State;
use domain::CollapseKey;
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;
use storage::{Destination, Run, chain};
use tokio::time::timeout;
use workflows::signal::Signal;

/// Maximum number of concurrent signals.
const SIGNALS: usize = 8;
/// Maximum time for all signals of a page. The sweep finds what the engine did not take by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// The result of a page of a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SnapshotPage {
    /// Number of purchases that were checked.
    purchases: i64,
    /// Number of those that are newly owed.
    owed: usize,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// Owes a page of purchases, and wakes those that are owed now. Repeated, it owes nothing new.
pub async fn snapshot(
    State(edge): State<Shared>,
    Stored(Destination { id, .. }): Stored<Destination>,
    Body(body): Body<OwedPage>,
) -> Result<Json<SnapshotPage>, Error> {
    let run = body.run();
    check_cursor(body.cursor.as_deref())?;
    let page = edge.store.backfill(id, body.page(), run).await?;
    if run == Run::Real && timeout(PATIENCE, wake(&edge, &page.owed)).await.is_err() {
        tracing::warn!(destination.id = %id, "the engine took not all signals of a snapshot; the sweep finds the rest");
    }
    Ok(Json(SnapshotPage { purchases: page.checked, owed: page.owed.len(), next_cursor: page.next_cursor }))
}

async fn wake(edge: &Edge, keys: &[CollapseKey]) {
    let signal = async |key: &CollapseKey| {
        if let Err(error) = edge.dispatch.engine().signal(*key, Signal::Wake).await {
            tracing::debug!(collapse_key = %key, error = chain(&error), "a wake was not taken; the sweep finds the lane");
        }
    };
    stream::iter(keys).for_each_concurrent(SIGNALS, signal).await;
}
