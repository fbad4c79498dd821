//! Lanes that the database permanently refuses when a destination's run attempts them. They fail no activity, so
//! storage records their failure for display. If the database refuses that too, this process skips them for a while.

use crate::dependencies::Context;
use crate::failing::Work;
use domain::time::refused_wait;
use domain::{CollapseKey, DestinationId};
use std::time::Duration;
use storage::{Error, chain};
use tokio::time::Instant;

/// Records that the database refuses the attempt with this token, and postpones the lane. Returns how long the lane
/// waits.
pub async fn set_back(
    context: &Context,
    destination: DestinationId,
    key: CollapseKey,
    token: &str,
    error: &Error,
) -> Duration {
    context
        .note_part(Work::Lane(key, destination), "supervise", error)
        .await;
    let is_set_back = context
        .store
        .set_lane_back(key, destination, token, &chain(error))
        .await;
    if let Ok(Some(wait)) = is_set_back {
        return wait;
    }
    if let Err(error) = &is_set_back {
        tracing::warn!(
            collapse_key = %key,
            destination.id = %destination,
            error = chain(error),
            "a lane that the database refuses was not set back; this process leaves it alone for a while"
        );
    }
    let wait = refused_wait(Duration::ZERO);
    context.refused.add(destination, key, Instant::now() + wait);
    wait
}
