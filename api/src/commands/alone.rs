//! Sends emails about alarms while no worker runs: workers send them otherwise.

use crate::workers::Workers;
use activities::Context;
use std::time::Duration;
use storage::chain;

/// Time between two passes.
const EVERY: Duration = Duration::from_secs(5);

/// Sends again and again, as long as the process runs and workers are missing.
pub fn watch(context: Context, workers: Workers) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            if !workers.are_missing() {
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
