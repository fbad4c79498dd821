//! Sends emails about alarms while workers cannot, because none runs or no sweep finishes, for example because Temporal
//! does not respond.

use super::sweeping::Late;
use activities::Context;
use api::workers::Workers;
use std::time::Duration;
use storage::chain;

/// Time between two passes.
const EVERY: Duration = Duration::from_secs(5);

/// Sends pending emails repeatedly, as long as the process runs, while workers are missing or sweeps are late.
pub fn watch(context: Context, workers: Workers, late: Late) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            if !workers.are_missing() && !late.is_late() {
                continue;
            }
            if let Err(error) = context.send_alone().await {
                tracing::warn!(
                    error = chain(&error),
                    "emails were not sent without a worker; they are tried again soon"
                );
            }
        }
    });
}
