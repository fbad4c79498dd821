//! Writes what this process counted: the responses to stores at most once a second, the counts by minute once a minute.
//! The cost does not depend on the number of notifications, and no request waits for it.

use std::time::Duration;
use storage::{Error, Store, chain};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time between two writes of the answers to stores.
const ANSWERS_EVERY: Duration = Duration::from_secs(1);
/// Number of these between two writes of the counts by minute.
const PER_MINUTE: u64 = 60;
/// Maximum time for the last write, when the process ends.
const LAST: Duration = Duration::from_secs(2);

/// Writes again and again, as long as the process runs.
pub fn watch(store: Store) {
    tokio::spawn(async move {
        let mut ticks = interval(ANSWERS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 1_u64.. {
            ticks.tick().await;
            let written = write(&store, tick.is_multiple_of(PER_MINUTE)).await;
            if let Err(error) = written {
                tracing::debug!(
                    error = chain(&error),
                    "counts were not written; they wait for the next time"
                );
            }
        }
    });
}

/// Writes what is left when the process ends.
pub async fn finish(store: &Store) {
    if !matches!(timeout(LAST, write(store, true)).await, Ok(Ok(()))) {
        tracing::debug!("the counts of the last minute were not written");
    }
}

async fn write(store: &Store, with_minutes: bool) -> Result<(), Error> {
    store.write_arrivals().await?;
    if with_minutes {
        store.write_minutes().await
    } else {
        Ok(())
    }
}
