//! Ends runs of purchases that make no progress: the sweep woke them several times, but their workflow task keeps
//! failing, so that no signal reaches them. The sweep starts another run from the database, which contains everything
//! that such a run knew, except signals of admins. A run with such signals is not ended; people must decide.

use crate::engine::{Engine, Stuck};
use domain::CollapseKey;
use futures::StreamExt;
use std::time::Duration;
use storage::Store;
use tokio::time::Instant;

const MAX_CONCURRENT: usize = 8;
// The details of the alarms. They name no purchase, so that there is a single such alarm, which is counted.
const TERMINATED: &str = "the run of a purchase made no progress because its workflow task kept failing; it was ended \
     and a new run was started; the log and the Temporal UI name the purchase";
const HAS_SIGNALS: &str = "the run of a purchase makes no progress because its workflow task keeps failing; it was \
     not ended, because it holds signals from admins that may not have been executed; the log and the Temporal UI \
     name the purchase. Fix the cause, or terminate the run and send the signals again";

/// Ends the stuck ones of these purchases' runs, and raises an alarm for each. After `budget`, no further run is
/// checked; if a run is already being ended, its alarm is still raised.
pub async fn end(store: &Store, engine: &Engine, keys: Vec<CollapseKey>, budget: Duration) {
    let began = Instant::now();
    let in_time =
        futures::stream::iter(keys).take_while(|_| std::future::ready(began.elapsed() < budget));
    let runs = in_time.map(|key| end_one(store, engine, key));
    runs.buffer_unordered(MAX_CONCURRENT)
        .for_each(|()| std::future::ready(()))
        .await;
}

async fn end_one(store: &Store, engine: &Engine, key: CollapseKey) {
    let alarm = match engine.end_stuck(key).await {
        Ok(Stuck::No) => return,
        Ok(Stuck::Terminated) => {
            tracing::error!(collapse_key = %key, "a run made no progress: it was ended, and starts again");
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
