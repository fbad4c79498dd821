//! `/v1/platforms/{platform_id}/arrivals`: counts and times of the messages from a platform's store that were accepted
//! or refused, and the reasons for refusals.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Stored;
use axum::Json;
use axum::extract::State;
use domain::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use storage::{ArrivalView, Platform};

/// Messages received at a platform's notification URL. Messages with another ingress key are not counted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Arrivals {
    /// Accepted messages; null if there are none yet.
    accepted: Option<Accepted>,
    /// Refused messages by reason, most recent first.
    refused: Vec<RefusedFor>,
}

/// Count and times of accepted messages.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Accepted {
    /// Number of messages.
    count: i64,
    /// When the first message arrived.
    first_at: Timestamp,
    /// When the last message arrived.
    last_at: Timestamp,
}

/// Count and times of messages refused for one reason.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RefusedFor {
    /// Reason, as given in the response to the store.
    reason: String,
    /// Number of messages.
    count: i64,
    /// When the first message arrived.
    first_at: Timestamp,
    /// When the last message arrived.
    last_at: Timestamp,
}

/// `GET /v1/platforms/{platform_id}/arrivals`. The counts may lag by up to a second.
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
