//! Whether Temporal was emptied: it does not know the run of the sweep's workflow that swept last. Then it has lost all
//! other runs, too: the sweep no longer waits for windows that had ended, and the dispatchers signal again what is
//! open.
//!
//! A closed run is known for as long as the namespace keeps it. If no worker ran for longer, this detects a false loss
//! and repeats signals, which is harmless.

use crate::dependencies::Context;
use crate::failure::Failed;
use storage::{Error, Store};
use workflows::activities::Swept;
use workflows::contract;

/// Notes which run sweeps, and whether Temporal lost the one before it. While that is not known, the next sweep checks.
pub async fn check(context: &Context, run_id: &str) -> Result<Swept, Failed> {
    let store = &context.store;
    match store.sweep_run().await? {
        Some(before) if before == run_id => {}
        Some(before) => match context.engine.knows(contract::SWEEP, &before).await {
            Ok(true) => store.set_sweep_run(run_id.to_owned()).await?,
            Ok(false) => note(store, before, run_id).await?,
            Err(error) => {
                tracing::warn!(error = %error, "whether Temporal was emptied is not known")
            }
        },
        None => store.set_sweep_run(run_id.to_owned()).await?,
    }
    Ok(Swept::default())
}

async fn note(store: &Store, before: String, run_id: &str) -> Result<(), Error> {
    if store.engine_emptied(before, run_id.to_owned()).await? {
        tracing::warn!("Temporal was emptied: what is open is signalled again");
    }
    Ok(())
}
