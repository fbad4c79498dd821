//! Ends runs of purchases that make no progress: the sweep woke them several times, and no settling followed. Another
//! run is started from the database, which has all that such a run knew, except signals of admins that it did not
//! process. A run that has some is kept, and people decide.

use crate::engine::{Engine, Stuck};
use domain::CollapseKey;
use futures::StreamExt;
use storage::Store;

/// Maximum number of concurrent calls.
const MAX_CONCURRENT: usize = 8;
// The details of the alarms. They name no purchase, so that there is one such alarm, which is counted.
const TERMINATED: &str = "a purchase was woken several times and did not settle: its run was ended, if one was open, and \
                          another one started; the log and the Temporal UI name the purchase";
const HAS_SIGNALS: &str = "a purchase was woken several times and did not settle: its run was not ended, because it has \
                           signals of admins that it did not process; the log and the Temporal UI name the purchase. \
                           Repair what fails, or terminate the run and send the signals again";

/// Ends the open runs of these purchases, and raises an alarm for each.
pub async fn end(store: &Store, engine: &Engine, keys: Vec<CollapseKey>) {
    let runs = futures::stream::iter(keys).map(|key| end_one(store, engine, key));
    runs.buffer_unordered(MAX_CONCURRENT).for_each(|()| std::future::ready(())).await;
}

async fn end_one(store: &Store, engine: &Engine, key: CollapseKey) {
    let alarm = match engine.end_run(key).await {
        Ok(found @ (Stuck::NotRunning | Stuck::Terminated)) => {
            let was_open = found == Stuck::Terminated;
            tracing::error!(
                collapse_key = %key,
                was_open,
                "a purchase was woken several times and did not settle: another run is started"
            );
            TERMINATED
        }
        Ok(Stuck::HasSignals) => {
            tracing::error!(collapse_key = %key, "a run makes no progress, and has signals of admins: it was not ended");
            HAS_SIGNALS
        }
        Err(error) => {
            tracing::warn!(collapse_key = %key, error = %error, "a run without progress was not ended; the next sweep tries again");
            return;
        }
    };
    if let Err(error) = store.alarm(None, "stuck", alarm).await {
        tracing::warn!(error = %error, "the alarm about a run without progress was not stored");
    }
}
