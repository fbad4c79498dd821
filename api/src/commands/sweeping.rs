//! Watches whether sweeps run: without them, lost signals are never repaired. The sweep's workflow may be stuck in a
//! way that no retry resolves, so the process that notices it terminates the run and starts another. If Temporal does
//! not respond, no run can be started, but the alarm is still raised.

use activities::engine::Engine;
use api::metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{Store, chain};

/// Time between two checks.
const EVERY: Duration = Duration::from_secs(20);

/// Whether sweeps were late at this process's last check.
#[derive(Debug, Clone, Default)]
pub struct Late(Arc<AtomicBool>);

impl Late {
    pub fn is_late(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts the task that checks the time of the last sweep until the process ends. Returns its finding.
pub fn watch(store: Store, engine: Engine) -> Late {
    let mut watch = Watch::default();
    let late = watch.late();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            let connected = engine.connected().then_some(&engine);
            if let Err(error) = watch.step(&store, connected).await {
                tracing::warn!(
                    error = chain(&error),
                    "the time of the last sweep is not known; it will be checked again soon"
                );
            }
        }
    });
    late
}

/// The watch's state between two checks.
#[derive(Debug, Default)]
pub struct Watch {
    late: Late,
    was_connected: bool,
    was_late: bool,
    /// Whether the alarm was raised since the last sweep finished.
    is_raised: bool,
}

impl Watch {
    /// Returns the flag that says whether sweeps are late. It is shared with the watch.
    pub fn late(&self) -> Late {
        self.late.clone()
    }

    /// Updates the metric of the last sweep's age. If the sweep is late, raises the alarm, and restarts the workflow if
    /// Temporal responds and no other process does so.
    ///
    /// # Errors
    /// Fails if the database does not respond. The next step then does what remains.
    pub async fn step(
        &mut self,
        store: &Store,
        engine: Option<&Engine>,
    ) -> Result<(), storage::Error> {
        // After a start or an outage, a sweep needs some seconds to finish.
        let was_connected = std::mem::replace(&mut self.was_connected, engine.is_some());
        let was_late = std::mem::take(&mut self.was_late);
        let last = store.last_sweep().await?;
        metrics::set_sweep_age(&last);
        self.was_late = last.is_late();
        // After a machine has slept, the first check finds every sweep late.
        let is_late = self.was_late && was_late;
        self.late.0.store(is_late, Ordering::Relaxed);
        if !is_late {
            self.is_raised = false;
            return Ok(());
        }
        if !self.is_raised {
            store.sweeps_are_late().await?;
            self.is_raised = true;
            tracing::error!("no sweep finished for five minutes: lost signals are not repaired");
        }
        match engine.filter(|_| was_connected) {
            Some(engine) => restart(store, engine).await,
            None => Ok(()),
        }
    }
}

/// Restarts the workflow, unless another process does so.
async fn restart(store: &Store, engine: &Engine) -> Result<(), storage::Error> {
    if !store.take_sweep_restart().await? {
        return Ok(());
    }
    match engine.restart_sweep().await {
        Ok(()) => tracing::error!("no sweep finished for five minutes: its workflow was restarted"),
        Err(error) => tracing::error!(
            error = %error,
            "no sweep finished for five minutes, and its workflow could not be restarted; next try in five minutes"
        ),
    }
    Ok(())
}
