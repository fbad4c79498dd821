//! `/v1/redeliveries`: sends again one event, a purchase, the events of a time range, or all failed deliveries.

use crate::edge::Edge;
use crate::error::Error;
use crate::extract::{Draft, FieldErrors};
use crate::keys::scope::missing;
use crate::keys::{Acting, Caller};
use axum::Json;
use domain::{AppId, CollapseKey, DestinationId, EventId, Receivers, RedeliverySelector, Selection, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use storage::{Page, Requeued, Run, RunMode, Skipped, Subject, chain};
use tokio::time::timeout;

/// Default and maximum number of items of a page.
const LIMIT: i64 = 200;
/// Maximum time for the call to Temporal for one destination. The sweep finds the lanes if it fails.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The error text for a wrong selection.
const ONE_OF: &str = "exactly one of `event_id`, `collapse_key`, `from` with `until`, and `failed` (true)";

/// The selection to send again: exactly one of `event_id`, `collapse_key`, `from` with `until`, and `failed`. The last
/// two cover every app, unless `app_id` or `destination_id` is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [
    { "from": "2026-01-30T12:00:00Z", "until": "2026-01-31T12:00:00Z", "dry_run": true },
    { "failed": true, "run": "outage of January" },
]))]
pub struct Redelivery {
    /// This event.
    event_id: Option<EventId>,
    /// The newest state of this purchase, and all its `user.*` events.
    collapse_key: Option<CollapseKey>,
    /// Events recorded from this time on.
    from: Option<Timestamp>,
    /// Events recorded before this time.
    until: Option<Timestamp>,
    /// Failed deliveries.
    failed: Option<bool>,
    /// Only to this destination.
    destination_id: Option<DestinationId>,
    /// Only events of this app; with `from` and `until`, or `failed`, and without `destination_id`.
    app_id: Option<AppId>,
    /// The page.
    #[serde(flatten)]
    page: RunPage,
}

/// A page of purchases or events.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "limit": 100 }]))]
pub struct PendingPage {
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Maximum number of checked items; 200 when absent.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<i64>,
    /// Changes nothing, and counts what would be queued.
    dry_run: Option<bool>,
}

/// A page of a run that may have a name.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RunPage {
    /// The page.
    #[serde(flatten)]
    pub page: PendingPage,
    /// A name for all pages of one run, of its own app. A page that is requested again in the same run, within a week, gets the same
    /// answer and queues nothing.
    #[schemars(length(min = 1, max = 100))]
    run: Option<String>,
}

/// The result of a page.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Redelivered {
    /// Number of checked events or failed deliveries.
    pub checked: i64,
    /// The new deliveries.
    #[serde(flatten)]
    pub pending: Pending,
    /// The cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// The deliveries that a page queues.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pending {
    /// Number of deliveries.
    pub pending: i64,
    /// Number of skipped ones, by reason.
    pub skipped: BTreeMap<Skipped, i64>,
}

impl From<Requeued> for Pending {
    fn from(Requeued { pending, skipped, .. }: Requeued) -> Self {
        Self { pending, skipped }
    }
}

impl PendingPage {
    /// Whether it is a dry run.
    #[must_use]
    pub fn run(&self) -> Run {
        if self.dry_run.unwrap_or(false) { Run::Dry } else { Run::Real }
    }

    #[must_use]
    pub fn page(self) -> Page {
        Page { cursor: self.cursor, limit: self.limit.unwrap_or(LIMIT) }
    }
}

impl RunPage {
    /// The mode of the page. A page of a named run queues its deliveries once, even if it is requested again.
    fn mode(&self) -> RunMode {
        match (self.page.run(), &self.run) {
            (Run::Real, Some(name)) => RunMode::Once(name.clone()),
            (run, _) => run.into(),
        }
    }
}

/// Refuses a cursor that is no collapse key.
pub fn check_cursor(cursor: Option<&str>) -> Result<(), Error> {
    match cursor {
        Some(cursor) if cursor.parse::<CollapseKey>().is_err() => Err(storage::Error::Cursor.into()),
        _ => Ok(()),
    }
}

/// `POST /v1/redeliveries`: queues a page of the selection again. Of the states of a purchase, only the newest is sent.
pub async fn create(edge: Acting, caller: Caller, mut draft: Draft<Redelivery>) -> Result<Json<Redelivered>, Error> {
    let Draft { body, wrong } = &mut draft;
    let selector = selected(body, wrong);
    let receivers = receivers(body, wrong);
    let page = draft.finish()?.page;
    let Some(selector) = selector else { return Err(Error::invalid("body", ONE_OF)) };
    let receivers = limited(&edge, &caller, &selector, receivers).await?;
    let done = carry_out(&edge, selector.to(receivers), page).await?;
    Ok(Json(Redelivered { checked: done.checked, pending: done.requeued.into(), next_cursor: done.next_cursor }))
}

fn selected(body: &Redelivery, wrong: &mut FieldErrors) -> Option<RedeliverySelector> {
    let range = match (body.from, body.until) {
        (Some(from), Some(until)) if from < until => Some(RedeliverySelector::Range { from, until }),
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
    let failed = body.failed.filter(|failed| *failed).map(|_| RedeliverySelector::Failed);
    let ids = [body.event_id.map(RedeliverySelector::Event), body.collapse_key.map(RedeliverySelector::Purchase)];
    let mut selected = ids.into_iter().chain([range, failed]).flatten();
    let first = selected.next();
    if selected.next().is_some() {
        wrong.add("body", ONE_OF);
    }
    first
}

fn receivers(body: &Redelivery, wrong: &mut FieldErrors) -> Receivers {
    match (body.app_id, body.destination_id) {
        (Some(_), Some(_)) => wrong.add("app_id", "not to be given with `destination_id`, which is of one app"),
        (Some(_), None) if body.event_id.is_some() || body.collapse_key.is_some() => {
            wrong.add("app_id", "not to be given with `event_id` or `collapse_key`, which are of one app");
        }
        _ => {}
    }
    body.app_id.map_or(body.destination_id.into(), Receivers::App)
}

/// The receivers that the caller reaches.
///
/// # Errors
/// 404 when the selection or its receiver is of another app, or does not exist.
async fn limited(
    edge: &Edge,
    caller: &Caller,
    selector: &RedeliverySelector,
    receivers: Receivers,
) -> Result<Receivers, Error> {
    if let Receivers::App(id) = receivers {
        caller.app(edge, Some(id)).await?;
    }
    let Some(own) = caller.app else { return Ok(receivers) };
    let selected = match selector {
        RedeliverySelector::Event(id) => Some((Subject::Event, id.to_string())),
        RedeliverySelector::Purchase(key) => Some((Subject::Purchase, key.to_string())),
        _ => None,
    };
    let receiver = match receivers {
        Receivers::One(id) => Some((Subject::Destination, id.to_string())),
        _ => None,
    };
    for (subject, id) in selected.iter().chain(&receiver) {
        if edge.store.app_of(*subject, id).await? != Some(own) {
            return Err(missing(*subject));
        }
    }
    Ok(if receiver.is_none() { Receivers::App(own) } else { receivers })
}

/// The app whose run it is: two apps may have runs of one name. Empty for a run over all apps.
async fn scope(edge: &Acting, receivers: Receivers) -> Result<String, Error> {
    let app = match receivers {
        Receivers::App(app) => Some(app),
        Receivers::One(id) => edge.store.app_of(Subject::Destination, &id.to_string()).await?,
        Receivers::All => edge.caller.app,
    };
    Ok(app.map(|app| app.to_string()).unwrap_or_default())
}

/// Queues a page of the selection, then starts or signals the supervision of each destination once.
pub async fn carry_out(edge: &Acting, selection: Selection, page: RunPage) -> Result<storage::Redelivered, Error> {
    let mode = match page.mode() {
        RunMode::Once(name) => RunMode::Once(format!("{}/{name}", scope(edge, selection.receivers).await?)),
        mode => mode,
    };
    let is_dry = mode == RunMode::Dry;
    let done = edge.store.redeliver_all(selection, page.page.page(), mode).await?;
    for id in done.requeued.destinations.iter().filter(|_| !is_dry) {
        match timeout(TIMEOUT, edge.dispatch.engine().supervise(*id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(destination.id = %id, error = chain(&error), "not taken; the sweep finds the lanes");
            }
            Err(_) => {
                tracing::debug!(destination.id = %id, "not taken in time; the sweep finds the lanes");
            }
        }
    }
    Ok(done)
}
