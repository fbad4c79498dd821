//! `record`: keeps a decision, in one idempotent transaction.

use domain::Decision;
use storage::{Error, Store};
use workflows::asks::{Record, Recorded};

/// Keeps a decision.
pub async fn record(store: &Store, input: Record) -> Result<Recorded, Error> {
    let record = storage::Record {
        collapse_key: input.collapse_key,
        settling: input.settling,
        revision: input.revision,
        seqs: input.outcomes.iter().map(|(seq, _)| *seq).collect(),
        decision: Decision { purchase: input.purchase, changed: input.changed, outcomes: input.outcomes },
        traceparent: None,
    };
    Ok(match store.record(record).await? {
        storage::Recorded::Moved => Recorded::Moved,
        storage::Recorded::Done { revision, state, lanes, .. } => Recorded::Done { revision, state, lanes },
    })
}
