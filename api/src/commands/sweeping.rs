//! Watches that sweeps go on: without them nothing that was lost is repaired. The workflow of the sweep may be stuck in a
//! way that no retry ends, so the process that notices it terminates the run and starts another.

use crate::metrics;
use activities::engine::Engine;
use std::time::Duration;
use storage::{Store, chain};

/// Time between two checks.
const EVERY: Duration = Duration::from_secs(20);

/// Starts the task that checks the time of the last sweep, until the process ends.
pub fn watch(store: Store, engine: Engine) {
    tokio::spawn(async move {
        let mut was_connected = false;
        loop {
            tokio::time::sleep(EVERY).await;
            // After a start or an outage the sweep needs some seconds, too.
            let is_connected = engine.connected();
            if is_connected
                && was_connected
                && let Err(error) = check(&store, &engine).await
            {
                tracing::warn!(error = chain(&error), "the time of the last sweep is not known; checked again soon");
            }
            was_connected = is_connected;
        }
    });
}

/// Starts the sweep again if it is late and no other process does.
async fn check(store: &Store, engine: &Engine) -> Result<(), storage::Error> {
    let last = store.last_sweep().await?;
    metrics::set_sweep_age(&last);
    if !last.is_late() || !store.claim_sweep_restart().await? {
        return Ok(());
    }
    match engine.restart_sweep().await {
        Ok(()) => tracing::error!("no sweep finished for five minutes: its workflow was started again"),
        Err(error) => tracing::error!(
            error = %error,
            "no sweep finished for five minutes, and its workflow was not started again; tried again in five minutes"
        ),
    }
    Ok(())
}
