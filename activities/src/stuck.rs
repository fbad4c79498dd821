//! Ends runs of purchases that make no progress: the sweep woke them several times, and no settling followed. Another
//! run is started from the database, which has all that such a run knew, except signals of admins that it did not
//! process.

use crate::engine::Engine;
use domain::CollapseKey;
use futures::StreamExt;
use storage::Store;

/// Maximum number of concurrent calls.
const MAX_CONCURRENT: usize = 8;
/// The detail of the alarm. It names no purchase, so that there is one such alarm, which is counted.
const ALARM: &str = "a purchase was woken several times and did not settle: its run was ended, if one was open, and \
                     another one started; the log and the Temporal UI name the purchase. Signals of admins that it had \
                     not processed must be sent again";

/// Ends the open runs of these purchases, and raises an alarm for each.
pub async fn end(store: &Store, engine: &Engine, keys: Vec<CollapseKey>) {
    let runs = futures::stream::iter(keys).map(|key| end_one(store, engine, key));
    runs.buffer_unordered(MAX_CONCURRENT).for_each(|()| std::future::ready(())).await;
}

async fn end_one(store: &Store, engine: &Engine, key: CollapseKey) {
    match engine.end_run(key).await {
        Ok(was_open) => tracing::error!(
            collapse_key = %key,
            was_open,
            "a purchase was woken several times and did not settle: another run is started"
        ),
        Err(error) => {
            tracing::warn!(collapse_key = %key, error = %error, "a run without progress was not ended; the next sweep tries again");
            return;
        }
    }
    if let Err(error) = store.alarm(None, "stuck", ALARM).await {
        tracing::warn!(error = %error, "the alarm about a run without progress was not stored");
    }
}
