//! `/v1/resends`: queues the events of a selection again.

use crate::edge::Edge;
use crate::error::Error;
use crate::extract::{Draft, FieldErrors};
use crate::keys::scope::missing;
use crate::keys::{Acting, Caller};
use crate::resources::signals::Action;
use axum::Json;
use domain::{
    AppId, CollapseKey, DestinationId, EventId, Receivers, RedeliverySelector, Selection, Timestamp,
};
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use storage::{Page, Redelivered, RunMode, Skipped, Subject, chain};
use tokio::time::timeout;
use workflows::signal::{Admin, CancelBackoff, DestinationSignal, Signal};

/// Default and maximum number of items of a page.
const LIMIT: i64 = 200;
/// Maximum number of `collapse_keys` in one request.
const MAX_KEYS: usize = 500;
/// Maximum number of concurrent signals.
const CONCURRENCY: usize = 8;
/// Maximum time for all signals of a page. The sweep finds the lanes whose signals Temporal had not accepted by then.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Error text for an invalid selection.
const ONE_OF: &str = "exactly one of `event_id`, `collapse_key` (alone or with `failed`), `collapse_keys`, `from` with \
                      `until`, `failed`, `behind`, `missing` and `all` (true)";

/// Selection of what to send again: exactly one of the following. `event_id`, `collapse_key`, a time range and `failed`
/// cover every destination unless `destination_id` is given; a time range and `failed` also cover every app unless
/// `app_id` is given. The others require `destination_id`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [
    { "from": "2026-01-30T12:00:00Z", "until": "2026-01-31T12:00:00Z", "dry_run": true },
    { "failed": true, "run": "outage of January" },
    { "all": true, "destination_id": "6b275a67-0bbb-4f3a-99b9-6600bf711993", "run": "new table" },
]))]
pub struct Resend {
    /// Only this event.
    event_id: Option<EventId>,
    /// The latest state of this purchase and all its `user.*` events.
    collapse_key: Option<CollapseKey>,
    /// The latest states of these purchases.
    #[schemars(extend("maxItems" = MAX_KEYS))]
    collapse_keys: Option<Vec<CollapseKey>>,
    /// Events recorded at or after this time.
    from: Option<Timestamp>,
    /// Events recorded before this time.
    until: Option<Timestamp>,
    /// Failed deliveries. With `collapse_key`, only its failed `user.*` events.
    failed: Option<bool>,
    /// Latest states that the destination has not acknowledged.
    behind: Option<bool>,
    /// Latest states that were never queued for the destination, and profiles that it lacks.
    missing: Option<bool>,
    /// The latest state of every purchase.
    all: Option<bool>,
    /// Only send to this destination.
    destination_id: Option<DestinationId>,
    /// Only events of this app. Requires `from` and `until`, or `failed`, and no `destination_id`.
    app_id: Option<AppId>,
    /// Send pending deliveries of the selected purchases and destinations immediately. Ends back-offs and `Retry-After`
    /// and, unless a single purchase or event is selected, pauses of destinations.
    now: Option<bool>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Maximum number of items to check; 200 by default.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<i64>,
    /// Change nothing; only count the deliveries to queue.
    dry_run: Option<bool>,
    /// Name of the run, shared by all its pages and unique to its app. Repeating a page of the same run within a week
    /// returns the same response and queues nothing.
    #[schemars(length(min = 1, max = 100))]
    run: Option<String>,
    /// Author of the resend and reason.
    #[serde(flatten)]
    action: Action,
}

/// Result of one page of a resend.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Resent {
    /// Number of events, failed deliveries or purchases checked.
    pub checked: i64,
    /// Number of new deliveries.
    pub pending: i64,
    /// Number of skipped items by reason.
    pub skipped: BTreeMap<Skipped, i64>,
    /// Cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// `POST /v1/resends`: queues one page of the selection again. Of a purchase's states, only the latest is sent.
pub async fn create(
    edge: Acting,
    caller: Caller,
    mut draft: Draft<Resend>,
) -> Result<Json<Resent>, Error> {
    let Draft { body, wrong } = &mut draft;
    let selector = selected(body, wrong);
    let receivers = receivers(body, wrong);
    let Resend {
        now,
        cursor,
        limit,
        dry_run,
        run,
        action,
        ..
    } = draft.finish()?;
    let Some(selector) = selector else {
        return Err(Error::invalid("body", ONE_OF));
    };
    let receivers = limited(&edge, &caller, &selector, receivers).await?;
    let mode = match run {
        _ if dry_run == Some(true) => RunMode::Dry,
        Some(name) => RunMode::Once(format!("{}/{name}", scope(&edge, receivers).await?)),
        None => RunMode::Anew,
    };
    let is_dry = mode == RunMode::Dry;
    let selection = Selection {
        is_urgent: now.unwrap_or(false),
        ..selector.to(receivers)
    };
    let ends_pauses = selection.ends_pauses();
    let admin = action.admin(&edge);
    let edge = edge.signed(admin.clone());
    let done = edge
        .store
        .resend(
            selection,
            Page {
                cursor,
                limit: limit.unwrap_or(LIMIT),
            },
            mode,
        )
        .await?;
    if !is_dry {
        wake(&edge, &done, receivers, ends_pauses.then_some(admin)).await;
    }
    let Redelivered {
        checked,
        requeued,
        next_cursor,
    } = done;
    Ok(Json(Resent {
        checked,
        pending: requeued.pending,
        skipped: requeued.skipped,
        next_cursor,
    }))
}

fn selected(body: &mut Resend, wrong: &mut FieldErrors) -> Option<RedeliverySelector> {
    let range = match (body.from, body.until) {
        (Some(from), Some(until)) if from < until => {
            Some(RedeliverySelector::Range { from, until })
        }
        (Some(_), Some(_)) => {
            wrong.add("until", "a time after `from`");
            None
        }
        (None, None) => None,
        (from, _) => {
            let missing = if from.is_none() { "from" } else { "until" };
            wrong.add(missing, "a time: `from` and `until` are given together");
            None
        }
    };
    let is_failed = body.failed == Some(true);
    let flag = |flag: Option<bool>, selector| flag.filter(|is_set| *is_set).map(|_| selector);
    let all = [
        body.event_id.map(RedeliverySelector::Event),
        body.collapse_key.map(if is_failed {
            RedeliverySelector::Lanes
        } else {
            RedeliverySelector::Purchase
        }),
        body.collapse_keys.take().map(RedeliverySelector::Purchases),
        range,
        flag(
            body.failed.filter(|_| body.collapse_key.is_none()),
            RedeliverySelector::Failed,
        ),
        flag(body.behind, RedeliverySelector::Behind),
        flag(body.missing, RedeliverySelector::NeverQueued),
        flag(body.all, RedeliverySelector::All),
    ];
    let mut selected = all.into_iter().flatten();
    let first = selected.next();
    if selected.next().is_some() {
        wrong.add("body", ONE_OF);
    }
    if body.now == Some(true) && first == Some(RedeliverySelector::NeverQueued) {
        wrong.add(
            "now",
            "to be absent with `missing`: what was never queued does not wait",
        );
    }
    if body.cursor.is_some() && first.as_ref().is_some_and(has_one_page) {
        wrong.add(
            "cursor",
            "to be absent with this selection, which is one page",
        );
    }
    if body.destination_id.is_none() && first.as_ref().is_some_and(is_of_states) {
        wrong.add(
            "destination_id",
            "the id of the destination: these states are sent to one destination",
        );
    }
    first
}

/// Returns whether the selection consists of purchases' states, which are sent to a single destination.
const fn is_of_states(selector: &RedeliverySelector) -> bool {
    use RedeliverySelector::{All, Behind, NeverQueued, Purchases};
    matches!(selector, Purchases(_) | Behind | NeverQueued | All)
}

/// Returns whether one request handles the whole selection.
const fn has_one_page(selector: &RedeliverySelector) -> bool {
    use RedeliverySelector::{Event, Lanes, Purchases};
    matches!(selector, Event(_) | Lanes(_) | Purchases(_))
}

fn receivers(body: &Resend, wrong: &mut FieldErrors) -> Receivers {
    match (body.app_id, body.destination_id) {
        (Some(_), Some(_)) => wrong.add(
            "app_id",
            "to be absent with `destination_id`, which belongs to one app",
        ),
        (Some(_), None) if body.event_id.is_some() || body.collapse_key.is_some() => {
            wrong.add(
                "app_id",
                "to be absent with `event_id` or `collapse_key`, which belong to one app",
            );
        }
        _ => {}
    }
    body.app_id
        .map_or(body.destination_id.into(), Receivers::App)
}

/// Returns the selected receivers, limited to those that the caller can access.
///
/// # Errors
/// 404 if the selection or its receiver does not exist, or belongs to an app that the caller cannot access; 400 if they
/// belong to different apps.
async fn limited(
    edge: &Edge,
    caller: &Caller,
    selector: &RedeliverySelector,
    receivers: Receivers,
) -> Result<Receivers, Error> {
    if let Receivers::App(id) = receivers {
        caller.app(edge, Some(id)).await?;
    }
    let selected = match selector {
        RedeliverySelector::Event(id) => Some((Subject::Event, id.to_string())),
        RedeliverySelector::Purchase(key) | RedeliverySelector::Lanes(key) => {
            Some((Subject::Purchase, key.to_string()))
        }
        _ => None,
    };
    let receiver = match receivers {
        Receivers::One(id) => Some((Subject::Destination, id.to_string())),
        _ => None,
    };
    let mut apps = Vec::new();
    for (subject, id) in selected.iter().chain(&receiver) {
        let app = edge.store.app_of(*subject, id).await?;
        if caller.app.is_some_and(|own| app != Some(own)) {
            return Err(missing(*subject));
        }
        apps.extend(app);
    }
    if matches!(apps[..], [selected, receiver] if selected != receiver) {
        return Err(Error::invalid(
            "destination_id",
            "a destination in the same app as what is sent",
        ));
    }
    Ok(match caller.app {
        Some(own) if receiver.is_none() => Receivers::App(own),
        _ => receivers,
    })
}

/// Returns the app that the run's name belongs to, because two apps may have runs with the same name. Empty for a run
/// over all apps.
async fn scope(edge: &Acting, receivers: Receivers) -> Result<String, Error> {
    let app = match receivers {
        Receivers::App(app) => Some(app),
        Receivers::One(id) => {
            edge.store
                .app_of(Subject::Destination, &id.to_string())
                .await?
        }
        Receivers::All => edge.caller.app,
    };
    Ok(app.map(|app| app.to_string()).unwrap_or_default())
}

/// Starts or signals each destination's workflow once, and probes the destinations whose pause this admin ended,
/// because nothing else shortens a pause. Also ends the back-offs that runs of purchases are waiting for, if their
/// deliveries became due.
async fn wake(edge: &Edge, done: &Redelivered, receivers: Receivers, admin: Option<Admin>) {
    let engine = edge.dispatch.engine();
    let cancel = Signal::CancelBackoff(CancelBackoff {
        destination_id: receivers.destination(),
    });
    let to_destination = |id: &DestinationId| match &admin {
        Some(admin) => (
            id.to_string(),
            engine.signal_destination(*id, DestinationSignal::Probe(admin.clone())),
        ),
        None => (id.to_string(), engine.supervise(*id)),
    };
    let mut calls: Vec<_> = done
        .requeued
        .destinations
        .iter()
        .map(to_destination)
        .collect();
    calls.extend(
        done.requeued
            .waited
            .iter()
            .map(|key| (key.to_string(), engine.signal(*key, cancel.clone()))),
    );
    let signals = stream::iter(calls).for_each_concurrent(CONCURRENCY, |(id, call)| async move {
        if let Err(error) = call.await {
            tracing::debug!(%id, error = chain(&error), "a signal was not taken; the sweep finds the lanes");
        }
    });
    if timeout(TIMEOUT, signals).await.is_err() {
        tracing::warn!("Temporal did not take all signals in time; the sweep finds the rest");
    }
}
