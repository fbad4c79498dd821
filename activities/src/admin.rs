//! Admins' actions on a purchase or a destination.

use crate::dependencies::Context;
use crate::spans;
use domain::{CollapseKey, Lane, RedeliverySelector};
use protocols::destinations::ready;
use std::time::Duration;
use storage::{
    Actor, DestinationChange, DestinationSettings, Error, Page, RunMode, Store, Subject, fault,
};
use tokio::time::Instant;
use workflows::activities::{
    Discard, Redeliver, RedeliverAll, RedeliveryProgress, SetEnabled, SetHold, Test, Unfinished,
};
use workflows::signal::Admin;

/// Time after which a run begins no further page, so that the activity does not time out; the next run continues.
const BUDGET: Duration = Duration::from_secs(5);
/// Maximum number of `user.*` events that one call skips. Skipping them takes less than the three seconds of a short
/// activity.
const MAX_SKIPPED: i64 = 10_000;

/// The author of changes that an unnamed signal requested.
const UNNAMED: &str = "a script";

/// Returns a database handle whose changes name the sender of a signal in the audit log. `call` identifies the
/// activity: all its attempts together leave one audit entry for each operation.
pub fn by(store: &Store, admin: &Admin, call: &str) -> Store {
    let name = admin
        .by
        .as_deref()
        .filter(|by| !by.is_empty())
        .unwrap_or(UNNAMED);
    let (reason, once) = (admin.reason.clone(), Some(call.to_owned()));
    store.by(Actor {
        key: admin.key_id,
        reason,
        once,
        ..Actor::named(name)
    })
}

/// Sets a hold on the purchase, or releases it if `duration` is absent.
pub async fn hold(store: &Store, call: &str, input: SetHold) -> Result<(), Error> {
    let store = by(store, &input.admin, call);
    let Some(duration) = input.duration else {
        return store.release(input.collapse_key).await;
    };
    let until = store.now().await?.plus(duration);
    let (by, reason) = (
        input.admin.by.unwrap_or_default(),
        input.admin.reason.unwrap_or_default(),
    );
    store.hold(input.collapse_key, until, &by, &reason).await
}

/// Writes the audit entry of a flush, and records it as a cause of the settling that follows.
pub async fn flushed(
    store: &Store,
    admin: &Admin,
    key: CollapseKey,
    call: &str,
) -> Result<(), Error> {
    let app = store.app_of(Subject::Purchase, &key.to_string()).await?;
    by(store, admin, call).note_flush(app, key).await
}

/// Discards the waiting notifications. Returns their number.
pub async fn discard(store: &Store, call: &str, input: Discard) -> Result<i64, Error> {
    let store = self::by(store, &input.admin, call);
    let (by, reason) = (
        input.admin.by.unwrap_or_default(),
        input.admin.reason.unwrap_or_default(),
    );
    store
        .discard(input.collapse_key, input.through, &by, &reason)
        .await
}

/// Redelivers the purchase's latest state and its failed `user.*` events. Returns the purchase's open lanes.
pub async fn redeliver(store: &Store, call: &str, input: Redeliver) -> Result<Vec<Lane>, Error> {
    let store = by(store, &input.admin, call);
    let lanes = store
        .redeliver(input.collapse_key, input.destination_id, input.once)
        .await?;
    fail::fail_point!("redeliver.after_commit", |_| std::process::abort());
    Ok(lanes)
}

/// Enables or disables a destination. Pending events stay pending. With `newest_only`, the pending `user.*` events are
/// skipped before the destination is enabled, at most [`MAX_SKIPPED`] in one call. If more remain, the destination
/// stays disabled and the result is `Some`, so that the caller repeats the call. A newly enabled destination's stream
/// is started if device events are pending.
pub async fn set_enabled(
    context: &Context,
    call: &str,
    input: SetEnabled,
) -> Result<Option<Unfinished>, Error> {
    let store = by(&context.store, &input.admin, call);
    let (by, why) = (
        input.admin.by.unwrap_or_default(),
        input.admin.reason.unwrap_or_default(),
    );
    let reason = (!input.is_enabled).then(|| format!("{by}: {why}"));
    if input.is_enabled && input.newest_only {
        let at_once = if fault::is_planted("enable.one_by_one") {
            1
        } else {
            MAX_SKIPPED
        };
        let skipped = store
            .skip_user_events(input.destination_id, at_once)
            .await?;
        if skipped.more {
            return Ok(Some(Unfinished {
                skipped: skipped.skipped,
            }));
        }
    }
    let change = DestinationChange {
        reason: Some(reason),
        ..DestinationChange::default()
    };
    let set = move |settings: &mut DestinationSettings| settings.enabled = input.is_enabled;
    store
        .update_destination(input.destination_id, change, set)
        .await?;
    if store.stream_backlog(input.destination_id).await? > 0 && input.is_enabled {
        context.engine.stream(input.destination_id);
    }
    Ok(None)
}

/// Redelivers the selected deliveries to a destination, page by page, until the end or for [`BUDGET`]. After the last
/// page of failed deliveries, the destination's pause and all back-offs also end. `bulk` is the idempotency key: if
/// Temporal retries the activity, completed pages queue nothing again, even if their deliveries have arrived meanwhile.
pub async fn redeliver_all(
    store: &Store,
    bulk: &str,
    input: RedeliverAll,
) -> Result<RedeliveryProgress, Error> {
    let selection = input.selector.to(input.destination_id);
    // Each page has an audit entry, and a completed page is not repeated.
    let store = by(store, &input.admin, bulk);
    let pages = store.by(Actor {
        once: None,
        ..store.actor().clone()
    });
    let mut progress = RedeliveryProgress {
        pending: 0,
        next_cursor: input.cursor,
    };
    let began = Instant::now();
    loop {
        let page = Page {
            cursor: progress.next_cursor,
            ..Page::default()
        };
        let done = pages
            .resend(selection.clone(), page, RunMode::Once(bulk.to_owned()))
            .await?;
        fail::fail_point!("bulk.after_page", |_| std::process::abort());
        progress = RedeliveryProgress {
            pending: progress.pending + done.requeued.pending,
            next_cursor: done.next_cursor,
        };
        let is_last = progress.next_cursor.is_none();
        if is_last && selection.selector == RedeliverySelector::Failed {
            store.retry_now(input.destination_id).await?;
        }
        if is_last || began.elapsed() >= BUDGET {
            return Ok(progress);
        }
    }
}

/// Tests the connection to a destination with one request that contains no event. Returns the result as a sentence.
/// `token` becomes the id of the request.
pub async fn test(
    context: &Context,
    input: Test,
    call: &str,
    token: &str,
) -> Result<String, Error> {
    let id = input.destination_id;
    let destination = context.store.destination(id).await?;
    by(&context.store, &input.admin, call)
        .record_audit_entry("destination.test", Some(destination.app_id), id)
        .await?;
    let secret = context.store.destination_secret(id).await?;
    let connector = match ready(&destination, &secret, &context.allowed_addresses) {
        Ok(connector) => connector,
        Err(invalid) => return Ok(format!("nothing was sent; {invalid}")),
    };
    Ok(match connector.test((context.clock)(), token, None) {
        Ok(request) => {
            let (span, request) = (
                spans::apart("RunActivity:test", id),
                request.of(destination.app_id),
            );
            let reply = span
                .within(spans::request(request, |request| {
                    context.http.deliver(request)
                }))
                .await;
            let description = connector.describe_test(&reply);
            connector.redact(&description.unwrap_or_else(|why| why))
        }
        Err(invalid) => format!("nothing was sent; {invalid}"),
    })
}
