//! `POST /v1/destinations/{destination_id}/replay`: sends the newest state of purchases again, one delivery for each.

use crate::error::Error;
use crate::extract::{Draft, Stored};
use crate::keys::Acting;
use crate::resources::redeliveries::{Pending, RunPage, carry_out, check_cursor};
use axum::Json;
use domain::{CollapseKey, RedeliverySelector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Destination;

/// Maximum number of `collapse_keys` in one request.
const MAX_KEYS: usize = 500;

/// Which purchases to send: those that the destination is behind with, by default.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Replay", extend("examples" = [{ "all": true, "run": "new table" }]))]
pub struct ReplayPage {
    /// Every purchase, whatever was acknowledged.
    all: Option<bool>,
    /// These purchases, which the receiver lacks. Not with `all`.
    #[schemars(extend("maxItems" = MAX_KEYS))]
    collapse_keys: Option<Vec<CollapseKey>>,
    /// The page.
    #[serde(flatten)]
    page: RunPage,
}

/// The result of a page.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReplayPage")]
pub struct Replayed {
    /// Number of purchases that were checked.
    pub purchases: i64,
    /// The new deliveries.
    #[serde(flatten)]
    pub pending: Pending,
    /// The cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// Queues the newest states of a page of purchases: those whose newest state the destination did not acknowledge,
/// `all`, or those in `collapse_keys`.
pub async fn replay(
    edge: Acting,
    Stored(destination): Stored<Destination>,
    mut draft: Draft<ReplayPage>,
) -> Result<Json<Replayed>, Error> {
    let all = draft.body.all.unwrap_or(false);
    let selector = match draft.body.collapse_keys.take() {
        Some(keys) => {
            if all {
                draft.wrong.add("all", "not to be given with `collapse_keys`");
            }
            RedeliverySelector::Purchases(keys)
        }
        None if all => RedeliverySelector::All,
        None => RedeliverySelector::Behind,
    };
    let page = draft.finish()?.page;
    check_cursor(page.page.cursor.as_deref())?;
    let done = carry_out(&edge, selector.to(destination.id), page).await?;
    Ok(Json(Replayed { purchases: done.checked, pending: done.requeued.into(), next_cursor: done.next_cursor }))
}
