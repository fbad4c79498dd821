//! `record`: records a decision, in one idempotent transaction.

use storage::{Error, Store};
use workflows::activities::{Record, Recorded};

/// Records a decision.
pub async fn record(store: &Store, input: Record) -> Result<Recorded, Error> {
    let record = storage::Record {
        collapse_key: input.collapse_key,
        settling: input.settling,
        revision: input.revision,
        seqs: input.seqs,
        decision: input.decision,
        is_replaced: input.is_replaced,
        is_queried: input.is_queried,
        is_answer: input.is_answer,
        is_real: input.is_real,
        traceparent: None,
    };
    Ok(match store.record(record).await? {
        storage::Recorded::Moved => Recorded::Moved,
        storage::Recorded::Done { revision, state, lanes, .. } => Recorded::Done { revision, state, lanes },
    })
}
