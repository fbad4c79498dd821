//! `POST /v1/destinations/{destination_id}/snapshot`: the newest state of every purchase, to whom it was never sent.

use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::resources::{Body, Id, redeliveries};
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, DestinationId};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::time::Duration;
use storage::{Run, chain};
use tokio::time::timeout;
use workflows::signal::Signal;

/// Signals that are under way at the same time.
const SIGNALS: usize = 8;
/// How long all signals of a page may take. What is not told by then the sweep finds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Owes a page of purchases, and wakes those that are owed now. Asked again it owes nothing new.
pub async fn snapshot(
    State(edge): State<Shared>,
    Id(id): Id<DestinationId>,
    Body(mut fields): Body,
) -> Result<Json<Value>, Error> {
    edge.store.destination(id).await?;
    let (page, run) = (redeliveries::page(&mut fields), redeliveries::run(&mut fields));
    if page.cursor.as_deref().is_some_and(|cursor| cursor.parse::<CollapseKey>().is_err()) {
        fields.wrong("cursor", "the `next_cursor` of the answer before, or nothing for the beginning");
    }
    fields.finish()?;
    let page = edge.store.snapshot(id, page, run).await?;
    if run == Run::Real && timeout(PATIENCE, wake(&edge, &page.owed)).await.is_err() {
        tracing::warn!(destination.id = %id, "the engine took not all signals of a snapshot; the sweep finds the rest");
    }
    Ok(Json(json!({ "purchases": page.purchases, "owed": page.owed.len(), "next_cursor": page.next_cursor })))
}

async fn wake(edge: &Edge, keys: &[CollapseKey]) {
    let signal = async |key: &CollapseKey| {
        if let Err(error) = edge.dispatch.engine().signal(*key, Signal::Wake).await {
            tracing::debug!(collapse_key = %key, error = chain(&error), "a wake was not taken; the sweep finds the lane");
        }
    };
    stream::iter(keys).for_each_concurrent(SIGNALS, signal).await;
}
