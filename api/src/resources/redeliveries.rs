//! `/v1/redeliveries`: one event, a purchase, all of a time or everything that failed, once more.

use super::{Body, Fields};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::{AppId, CollapseKey, DestinationId, EventId, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;
use storage::{Again, How, Owing, Page, Run, To, chain};
use tokio::time::timeout;

/// Events of a page when the request names no limit, and at most.
const LIMIT: i64 = 200;
/// How long the engine may take to hear whose lanes to look at. What it does not hear the sweep finds.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long the name of a run may be, in characters.
const RUN_NAME: usize = 100;
/// What says what is sent again.
const ONE_OF: &str = "exactly one of `event_id`, `collapse_key`, `from` with `until`, and `failed` (true)";

/// `POST /v1/redeliveries`: owes a page of what is asked once more. Of a purchase's states always the newest is sent. A time
/// and what failed are those of every app, unless `app_id` or `destination_id` says of which.
pub async fn create(State(edge): State<Shared>, Body(mut fields): Body) -> Result<Json<Value>, Error> {
    let what = again(&mut fields);
    let to = to(&mut fields, what);
    let (page, how) = (page(&mut fields), how(&mut fields));
    fields.finish()?;
    let Some(what) = what else { return Err(Error::invalid("body", ONE_OF)) };
    if let To::App(id) = to {
        edge.store.app(id).await?;
    }
    let done = edge.store.redeliver_all(what, to, (page, how.clone())).await?;
    tell(&edge, &how, &done.owing).await;
    let mut answer = shown(&done.owing);
    answer["looked_at"] = json!(done.looked_at);
    answer["next_cursor"] = json!(done.next_cursor);
    Ok(Json(answer))
}

fn again(fields: &mut Fields) -> Option<Again> {
    let event: Option<EventId> = fields.parsed("event_id", "an event id (a UUID)");
    let purchase: Option<CollapseKey> = fields.parsed("collapse_key", "a collapse key (a UUID)");
    let time = "a time in RFC 3339, such as 2026-01-31T12:00:00Z";
    let range: (Option<Timestamp>, Option<Timestamp>) = (fields.parsed("from", time), fields.parsed("until", time));
    let failed = fields.flag("failed").filter(|failed| *failed).map(|_| Again::Failed);
    let range = match range {
        (Some(from), Some(until)) if from < until => Some(Again::Range { from, until }),
        (Some(_), Some(_)) => {
            fields.wrong("until", "a time after `from`");
            None
        }
        (None, None) => None,
        (from, _) => {
            let missing = if from.is_none() { "from" } else { "until" };
            fields.wrong(missing, "a time: `from` and `until` are given together");
            None
        }
    };
    let mut asked = [event.map(Again::Event), purchase.map(Again::Purchase), range, failed].into_iter().flatten();
    let first = asked.next();
    if asked.next().is_some() {
        fields.wrong("body", ONE_OF);
    }
    first
}

/// `destination_id` or `app_id`: to whom.
fn to(fields: &mut Fields, what: Option<Again>) -> To {
    let destination: Option<DestinationId> = fields.parsed("destination_id", "a destination id (a UUID)");
    let app: Option<AppId> = fields.parsed("app_id", "an app id (a UUID)");
    if app.is_some() && destination.is_some() {
        fields.wrong("app_id", "not to be given with `destination_id`, which is of one app");
    } else if app.is_some() && matches!(what, Some(Again::Event(_) | Again::Purchase(_))) {
        fields.wrong("app_id", "not to be given with `event_id` or `collapse_key`, which are of one app");
    }
    app.map_or(destination.into(), To::App)
}

/// `cursor` and `limit` of a body.
pub fn page(fields: &mut Fields) -> Page {
    Page { cursor: fields.text("cursor"), limit: fields.integer("limit", 1..=LIMIT).unwrap_or(LIMIT) }
}

/// `dry_run` of a body.
pub fn run(fields: &mut Fields) -> Run {
    if fields.flag("dry_run").unwrap_or(false) { Run::Dry } else { Run::Real }
}

/// `dry_run` and `run` of a body: a page of a run that has a name is owed once, however often it is asked for.
pub fn how(fields: &mut Fields) -> How {
    match (run(fields), fields.short_text("run", RUN_NAME)) {
        (Run::Real, Some(name)) => How::Once(name),
        (run, _) => run.into(),
    }
}

/// What was owed, and what was not and why.
pub fn shown(owing: &Owing) -> Value {
    json!({ "owed": owing.owed, "skipped": owing.skipped, "next_cursor": null })
}

/// Tells the engine whose lanes to look at: one word for each destination, however much is owed.
pub async fn tell(edge: &Edge, how: &How, owing: &Owing) {
    if *how == How::Dry {
        return;
    }
    for id in &owing.destinations {
        match timeout(PATIENCE, edge.dispatch.engine().tend(*id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(destination.id = %id, error = chain(&error), "not told; the sweep finds the lanes");
            }
            Err(_) => tracing::debug!(destination.id = %id, "not told in time; the sweep finds the lanes"),
        }
    }
}
