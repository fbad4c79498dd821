//! What admins ask of one purchase.

use domain::Lane;
use storage::{Error, Store};
use workflows::asks::{KeepHold, SendAgain, ThrowAway};

/// Keeps a hold, or its end.
pub async fn hold(store: &Store, input: KeepHold) -> Result<(), Error> {
    let Some(for_ms) = input.for_ms else {
        return store.release(input.collapse_key).await;
    };
    let until = store.now().await?.plus_millis(for_ms);
    let (by, reason) = (input.asked.by.unwrap_or_default(), input.asked.reason.unwrap_or_default());
    store.hold(input.collapse_key, until, &by, &reason).await
}

/// Throws away what waits; answers how many notifications that ended.
pub async fn discard(store: &Store, input: ThrowAway) -> Result<i64, Error> {
    let (by, reason) = (input.asked.by.unwrap_or_default(), input.asked.reason.unwrap_or_default());
    store.discard(input.collapse_key, input.through, &by, &reason).await
}

/// Sends the newest state again; answers the lanes that this opened.
pub async fn redeliver(store: &Store, input: SendAgain) -> Result<Vec<Lane>, Error> {
    store.redeliver(input.collapse_key, input.destination_id).await
}
