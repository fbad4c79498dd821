//! `sweep`: wakes what is overdue, so that storage alone can rebuild every workflow.

use crate::engine::Engine;
use storage::{Error, Store};
use workflows::asks::Swept;
use workflows::signal::Signal;

/// How many purchases one sweep wakes at most: this bounds its rate.
const AT_MOST: i64 = 200;

/// Expires what waited too long for approval and wakes what is overdue.
pub async fn sweep(store: &Store, engine: &Engine) -> Result<Swept, Error> {
    store.expire_topics(store.now().await?).await?;
    let due = store.due(AT_MOST).await?;
    let more = i64::try_from(due.len()).unwrap_or(i64::MAX) >= AT_MOST;
    let mut woken = 0;
    for found in due {
        metrics::counter!("settle_sweep_findings_total", "why" => found.why).increment(1);
        match engine.signal(found.collapse_key, Signal::Wake).await {
            Ok(()) => woken += 1,
            Err(error) => {
                tracing::warn!(collapse_key = %found.collapse_key, error = %error, "not woken; the next sweep tries again");
            }
        }
    }
    Ok(Swept { woken, more: more && woken > 0 })
}
