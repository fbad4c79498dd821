//! `/v1/platforms/{platform_id}/arrivals`: when the store of a platform was answered last, and why it was refused.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Stored;
use axum::Json;
use axum::extract::State;
use domain::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use storage::{ArrivalView, Platform};

/// What arrived at the notification URL of a platform. A message with another ingress key is none of its.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Arrivals {
    /// The messages that were accepted; null if there was none yet.
    accepted: Option<Accepted>,
    /// The messages that were refused, by reason, the last one first.
    refused: Vec<RefusedFor>,
}

/// Messages that were accepted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Accepted {
    /// How many.
    count: i64,
    /// The first.
    first_at: Timestamp,
    /// The last.
    last_at: Timestamp,
}

/// Messages that were refused for one reason.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RefusedFor {
    /// The reason, as the answer to the store had it.
    reason: String,
    /// How many.
    count: i64,
    /// The first.
    first_at: Timestamp,
    /// The last.
    last_at: Timestamp,
}

/// `GET /v1/platforms/{platform_id}/arrivals`. Up to a second of it is missing.
pub async fn show(
    State(edge): State<Shared>,
    Stored(platform): Stored<Platform>,
) -> Result<Json<Arrivals>, Error> {
    let (accepted, mut refused): (Vec<_>, Vec<_>) = edge
        .store
        .arrivals(platform.id)
        .await?
        .into_iter()
        .partition(|one| one.reason.is_empty());
    refused.sort_by_key(|one| std::cmp::Reverse(one.last_at));
    let accepted = accepted.into_iter().next().map(
        |ArrivalView {
             times,
             first_at,
             last_at,
             ..
         }| Accepted {
            count: times,
            first_at,
            last_at,
        },
    );
    let refused = refused.into_iter().map(
        |ArrivalView {
             reason,
             times,
             first_at,
             last_at,
         }| RefusedFor {
            reason,
            count: times,
            first_at,
            last_at,
        },
    );
    Ok(Json(Arrivals {
        accepted,
        refused: refused.collect(),
    }))
}
