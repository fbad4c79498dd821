//! Ends runs of purchases that make no progress: their workflow task fails again and again, so that no signal reaches
//! them. The sweep starts another run from the database, which has all that such a run knew, except signals of admins
//! that it did not process.

use crate::engine::Engine;
use domain::CollapseKey;
use futures::StreamExt;
use storage::Store;

/// Maximum number of concurrent calls.
const MAX_CONCURRENT: usize = 8;
/// The detail of the alarm. It names no purchase, so that there is one such alarm, which is counted.
const ALARM: &str = "the run of a purchase made no progress, because its workflow task failed again and again; it was \
                     ended, and another one started; the log and the Temporal UI name the purchase. Signals of admins \
                     that it had not processed must be sent again";

/// Ends those of the runs of these purchases that are stuck.
pub async fn end(store: &Store, engine: &Engine, keys: Vec<CollapseKey>) {
    let examined = futures::stream::iter(keys).map(|key| end_one(store, engine, key));
    examined.buffer_unordered(MAX_CONCURRENT).for_each(|()| std::future::ready(())).await;
}

async fn end_one(store: &Store, engine: &Engine, key: CollapseKey) {
    match engine.end_stuck(key).await {
        Ok(false) => return,
        Ok(true) => tracing::error!(collapse_key = %key, "a run made no progress: it was ended, and starts again"),
        Err(error) => {
            tracing::warn!(collapse_key = %key, error = %error, "a late run was not examined; the next sweep tries again");
            return;
        }
    }
    if let Err(error) = store.alarm(None, "stuck", ALARM).await {
        tracing::warn!(error = %error, "the alarm about a run without progress was not stored");
    }
}
