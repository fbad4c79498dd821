//! The actions of admins on one purchase, and on one destination.

use crate::dependencies::Context;
use domain::{DestinationId, Lane, RedeliverySelector};
use protocols::destinations::Config;
use std::time::Duration;
use storage::{DestinationPatch, Error, Page, RunMode, Store, fault};
use tokio::time::Instant;
use workflows::activities::{Discard, Redeliver, RedeliverAll, RedeliveryProgress, SetEnabled, SetHold, Unfinished};

/// After this time the rest is left to the next run, so that the activity does not time out.
const ENOUGH: Duration = Duration::from_secs(5);
/// Maximum number of `user.*` events that are skipped at once, which takes less than the three seconds of a short activity.
const FORGOTTEN_AT_ONCE: i64 = 10_000;

/// Sets a hold, or releases it.
pub async fn hold(store: &Store, input: SetHold) -> Result<(), Error> {
    let Some(duration) = input.duration else {
        return store.release(input.collapse_key).await;
    };
    let until = store.now().await?.plus(duration);
    let (by, reason) = (input.admin.by.unwrap_or_default(), input.admin.reason.unwrap_or_default());
    store.hold(input.collapse_key, until, &by, &reason).await
}

/// Discards the waiting notifications; returns their number.
pub async fn discard(store: &Store, input: Discard) -> Result<i64, Error> {
    let (by, reason) = (input.admin.by.unwrap_or_default(), input.admin.reason.unwrap_or_default());
    store.discard(input.collapse_key, input.through, &by, &reason).await
}

/// Redelivers the newest state; returns the lanes that this opens.
pub async fn redeliver(store: &Store, input: Redeliver) -> Result<Vec<Lane>, Error> {
    let lanes = store.redeliver(input.collapse_key, input.destination_id, input.once).await?;
    fail::fail_point!("redeliver.after_commit", |_| std::process::abort());
    Ok(lanes)
}

/// Enables or disables a destination. What is owed to it stays owed; with `newest_only`, the `user.*` events of a disabled
/// one are skipped first. When there are very many, some are skipped and the caller repeats the call.
pub async fn set_enabled(store: &Store, input: SetEnabled) -> Result<Option<Unfinished>, Error> {
    let (by, why) = (input.admin.by.unwrap_or_default(), input.admin.reason.unwrap_or_default());
    let reason = (!input.is_enabled).then(|| format!("{by}: {why}"));
    if input.is_enabled && input.newest_only {
        let at_once = if fault::is_planted("enable.one_by_one") { 1 } else { FORGOTTEN_AT_ONCE };
        let forgotten = store.forget_user_events(input.destination_id, at_once).await?;
        if forgotten.more {
            return Ok(Some(Unfinished { skipped: forgotten.skipped }));
        }
    }
    let patch =
        DestinationPatch { enabled: Some(input.is_enabled), reason: Some(reason), ..DestinationPatch::default() };
    store.update_destination(input.destination_id, patch).await.map(|_| None)
}

/// Redelivers to a destination, page by page until [`ENOUGH`] or the end. After the last page of failed deliveries its
/// pause and all back-offs end too. Repeated after a failure, it goes through the same pages: what is owed by the `bulk` of
/// the same name is not owed twice, whether it was delivered meanwhile or not.
pub async fn redeliver_all(store: &Store, bulk: &str, input: RedeliverAll) -> Result<RedeliveryProgress, Error> {
    let selection = input.selector.to(input.destination_id);
    let mut progress = RedeliveryProgress { owed: 0, next_cursor: input.cursor };
    let began = Instant::now();
    loop {
        let page = Page { cursor: progress.next_cursor, ..Page::default() };
        let done = store.redeliver_all(selection.clone(), page, RunMode::Once(bulk.to_owned())).await?;
        fail::fail_point!("bulk.after_page", |_| std::process::abort());
        progress = RedeliveryProgress { owed: progress.owed + done.owing.owed, next_cursor: done.next_cursor };
        let is_last = progress.next_cursor.is_none();
        if is_last && selection.selector == RedeliverySelector::Failed {
            store.retry_now(input.destination_id).await?;
        }
        if is_last || began.elapsed() >= ENOUGH {
            return Ok(progress);
        }
    }
}

/// Tests the connection to a destination with one request that carries no event; returns the result for people. `token`
/// identifies the request.
pub async fn test(context: &Context, id: DestinationId, token: &str) -> Result<String, Error> {
    let destination = context.store.destination(id).await?;
    let secret = context.store.destination_secret(id).await?;
    let config = match Config::ready(&destination, &secret, &context.allowed) {
        Ok(config) => config,
        Err(invalid) => return Ok(format!("nothing was sent; {invalid}")),
    };
    Ok(match config.test((context.clock)(), token) {
        Ok(request) => {
            let tested = config.tested(&context.http.send(request).await);
            config.redact(&tested.unwrap_or_else(|why| why))
        }
        Err(invalid) => format!("nothing was sent; {invalid}"),
    })
}
