//! Writes what this process has counted: responses to stores at most once a second, other counts once a minute. The
//! cost for the database does not depend on the number of notifications, and no request waits for it. Every 15 seconds,
//! the task also renews the process's sign of life.

use crate::signs::SignOfLife;
use std::time::Duration;
use storage::{Error, Store, chain};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time between two writes of the counted responses to stores.
const ANSWERS_EVERY: Duration = Duration::from_secs(1);
/// Number of these intervals between two writes of the counts per minute.
const PER_MINUTE: u64 = 60;
/// Number of these intervals between two renewals of the sign of life.
const PER_SIGN: u64 = 15;
/// Maximum time for the last write when the process ends.
const LAST: Duration = Duration::from_secs(2);

/// Starts the task that writes the counts until the process ends.
pub fn watch(store: Store, sign: SignOfLife) {
    tokio::spawn(async move {
        let mut ticks = interval(ANSWERS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 1_u64.. {
            ticks.tick().await;
            if tick.is_multiple_of(PER_SIGN) || sign.is_missing().await {
                sign.renew().await;
            }
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

/// Writes the remaining counts when the process ends, and removes its sign of life.
pub async fn finish(store: &Store, sign: &SignOfLife) {
    sign.end().await;
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
