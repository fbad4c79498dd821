//! What admins ask of one purchase, and of one destination.

use crate::Doing;
use crate::destinations::Config;
use domain::{DestinationId, Lane};
use std::time::Duration;
use storage::{DestinationPatch, Error, Page, Replay, RunMode, Store, fault};
use tokio::time::Instant;
use workflows::asks::{Again, KeepHold, OwedAgain, RedeliverAll, SendAgain, SetEnabled, ThrowAway, Unfinished};

/// After this long the rest is left to the next run, before the activity's time is over.
const ENOUGH: Duration = Duration::from_secs(5);
/// So many `user.*` events are ended at once, which takes less than the three seconds of a short try.
const FORGOTTEN_AT_ONCE: i64 = 10_000;

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
    let lanes = store.redeliver(input.collapse_key, input.destination_id, input.once).await?;
    fail::fail_point!("redeliver.after_commit", |_| std::process::abort());
    Ok(lanes)
}

/// Switches a destination on or off. What is owed to it stays owed; with the newest states only, the `user.*` events of a
/// disabled one end as skipped before. When there are very many, some end and it is to be asked again.
pub async fn set_enabled(store: &Store, input: SetEnabled) -> Result<Option<Unfinished>, Error> {
    let (by, why) = (input.asked.by.unwrap_or_default(), input.asked.reason.unwrap_or_default());
    let reason = (!input.is_enabled).then(|| format!("{by}: {why}"));
    if input.is_enabled && input.newest_only {
        let at_once = if fault::is_planted("enable.one_by_one") { 1 } else { FORGOTTEN_AT_ONCE };
        let forgotten = store.forget_user_events(input.destination_id, at_once).await?;
        if forgotten.more {
            return Ok(Some(Unfinished { ended: forgotten.skipped }));
        }
    }
    let patch =
        DestinationPatch { enabled: Some(input.is_enabled), reason: Some(reason), ..DestinationPatch::default() };
    store.update_destination(input.destination_id, patch).await.map(|_| None)
}

/// Owes a destination something once more, page by page until [`ENOUGH`] or the end. At the end of what it did not take
/// its pause and all back-offs end too. Begun anew after a failure, it goes through the same pages: those that were owed
/// before, by the `bulk` of the same name, are not owed again, whether they arrived meanwhile or not.
pub async fn redeliver_all(store: &Store, bulk: &str, input: RedeliverAll) -> Result<OwedAgain, Error> {
    let (id, mut owed, mut cursor) = (input.destination_id, 0, input.cursor);
    let began = Instant::now();
    loop {
        let page = Page { cursor, ..Page::default() };
        let page_owed;
        (page_owed, cursor) = owe(store, id, (&input.what, page, RunMode::Once(bulk.to_owned()))).await?;
        fail::fail_point!("bulk.after_page", |_| std::process::abort());
        owed += page_owed;
        if cursor.is_none() && input.what == Again::Failed {
            store.retry_now(id).await?;
        }
        if cursor.is_none() || began.elapsed() >= ENOUGH {
            return Ok(OwedAgain { owed, next_cursor: cursor });
        }
    }
}

/// Owes one page; how many deliveries that is, and where the next page begins.
async fn owe(
    store: &Store,
    id: DestinationId,
    (what, page, how): (&Again, Page, RunMode),
) -> Result<(i64, Option<String>), Error> {
    let states = match what {
        Again::Failed => return send_again(store, id, (storage::Again::Failed, page, how)).await,
        Again::Event(event) => return send_again(store, id, (storage::Again::Event(*event), page, how)).await,
        Again::Range { from, until } => {
            let range = storage::Again::Range { from: *from, until: *until };
            return send_again(store, id, (range, page, how)).await;
        }
        Again::Behind => Replay::Behind,
        Again::All => Replay::All,
        Again::These(keys) => Replay::These(keys.clone()),
    };
    let replayed = store.replay(id, states, (page, how)).await?;
    Ok((replayed.owing.owed, replayed.next_cursor))
}

async fn send_again(
    store: &Store,
    id: DestinationId,
    (what, page, how): (storage::Again, Page, RunMode),
) -> Result<(i64, Option<String>), Error> {
    let redelivered = store.redeliver_all(what, Some(id), (page, how)).await?;
    Ok((redelivered.owing.owed, redelivered.next_cursor))
}

/// Tries the connection to a destination with one request that tells no event; what that showed, for people. `token` names
/// the request.
pub async fn test(doing: &Doing, id: DestinationId, token: &str) -> Result<String, Error> {
    let destination = doing.store.destination(id).await?;
    let secret = doing.store.destination_secret(id).await?;
    let config = match Config::ready(&destination, &secret, &doing.allowed) {
        Ok(config) => config,
        Err(invalid) => return Ok(format!("nothing was sent; {invalid}")),
    };
    Ok(match config.test((doing.clock)(), token) {
        Ok(request) => {
            let tested = config.tested(&doing.http.send(request).await);
            config.redact(&tested.unwrap_or_else(|why| why))
        }
        Err(invalid) => format!("nothing was sent; {invalid}"),
    })
}
