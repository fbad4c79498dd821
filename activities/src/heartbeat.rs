//! The heartbeats of the long activities that send to destinations.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use temporalio_sdk::activities::ActivityContext;

/// Time between two heartbeats to Temporal.
const INTERVAL: Duration = Duration::from_secs(4);

/// Sends heartbeats to Temporal for ever, and sets `is_halted` when the activity is cancelled: then it begins no further
/// request, and finishes what is in flight.
pub async fn send(ctx: &ActivityContext, is_halted: &AtomicBool) -> Infallible {
    loop {
        if let Err(error) = ctx.record_heartbeat(()).await {
            tracing::debug!(error = %error, "a heartbeat was not sent");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = ctx.cancelled(), if !is_halted.load(Ordering::Relaxed) => is_halted.store(true, Ordering::Relaxed),
        }
    }
}
