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
        let (mut was_connected, mut was_late) = (false, false);
        loop {
            tokio::time::sleep(EVERY).await;
            // After a start or an outage the sweep needs some seconds, too.
            let is_connected = engine.connected();
            // And a machine that slept finds all late at first.
            let may_restart = is_connected && was_connected && was_late;
            was_late = match check(&store, may_restart.then_some(&engine)).await {
                Ok(is_late) => is_late,
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "the time of the last sweep is not known; it will be checked again soon"
                    );
                    false
                }
            };
            was_connected = is_connected;
        }
    });
}

/// Shows the age of the last sweep, and returns whether it is late. Then it is started again, if an engine can do it and
/// no other process does.
async fn check(store: &Store, engine: Option<&Engine>) -> Result<bool, storage::Error> {
    let last = store.last_sweep().await?;
    metrics::set_sweep_age(&last);
    let Some(engine) = engine.filter(|_| last.is_late()) else {
        return Ok(last.is_late());
    };
    if !store.take_sweep_restart().await? {
        return Ok(true);
    }
    match engine.restart_sweep().await {
        Ok(()) => tracing::error!("no sweep finished for five minutes: its workflow was restarted"),
        Err(error) => tracing::error!(
            error = %error,
            "no sweep finished for five minutes, and its workflow could not be restarted; next try in five minutes"
        ),
    }
    Ok(true)
}
