//! Detects that Temporal lost its data: it does not know the last run of the sweep's workflow. Then it has also lost
//! all other runs. The sweep therefore wakes purchases whose windows had already ended without giving Temporal more
//! time, and the dispatchers signal all open purchases again.
//!
//! Temporal knows a closed run for as long as the namespace retains it. If no worker has run for longer, this detects a
//! loss that did not happen and repeats signals, which is harmless.

use crate::dependencies::Context;
use crate::failure::Failed;
use storage::{Error, Store};
use workflows::activities::Swept;
use workflows::contract;

/// Records which run sweeps, and whether Temporal lost the previous one. While that is not known, the next sweep checks
/// again.
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
