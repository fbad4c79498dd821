//! What is sent again to a destination: everything that a filter finds, which is counted first. Each step reads and
//! queues pages of the API for some seconds; a form in its answer goes on where it stopped.

use super::SCREEN;
use super::again_view::{AgainPage, Progress, ProgressPage, Stage, Step};
use super::head::{AGAIN, Head};
use crate::edge::{Edge, Shared};
use crate::error::{Error, Field};
use crate::extract::{Body, Stored, drafted};
use crate::keys::{Acting, Caller};
use crate::pages::action::Mistakes;
use crate::pages::form::Sent;
use crate::pages::frame::{Frame, PageAddress, html};
use crate::pages::requeued::{RUN, Requeued, new_run};
use crate::pages::text::entered_instant;
use crate::pages::visit::Visit;
use crate::resources::{destinations, redeliveries};
use crate::route::Route;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;
use storage::{Destination, Role};

/// How long a step takes at most, up to its last page.
const STEP: Duration = Duration::from_secs(8);

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/destinations/{destination_id}/again", show)
            .summary("What can be sent again."),
        Route::page(Role::Support, "POST", "/ui/destinations/{destination_id}/again", post_again)
            .twin("POST /v1/redeliveries")
            .summary("Counts what a filter finds, then sends it again."),
        Route::page(Role::Operator, "POST", "/ui/destinations/{destination_id}/replay", post_replay)
            .twin("POST /v1/destinations/{destination_id}/replay")
            .summary("Counts states of purchases, then sends them again."),
        Route::page(Role::Operator, "POST", "/ui/destinations/{destination_id}/snapshot", post_snapshot)
            .twin("POST /v1/destinations/{destination_id}/snapshot")
            .summary("Counts the states that were never queued, then sends them."),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bulk {
    /// Events, of a time or that failed.
    Redelivery,
    Replay,
    /// The newest states that were never queued.
    Snapshot,
}

/// The result of one page of the API.
struct Part {
    checked: i64,
    requeued: Requeued,
    next_cursor: Option<String>,
}

/// The parts of a request that each step takes.
type Parts = (State<Shared>, Visit, Sent);

/// `GET /ui/destinations/{destination_id}/again`
async fn show(
    State(edge): State<Shared>,
    visit: Visit,
    Stored(destination): Stored<Destination>,
) -> Result<Response, Error> {
    page(&edge, &visit, &destination, Mistakes::default()).await
}

async fn page(edge: &Edge, visit: &Visit, destination: &Destination, mistakes: Mistakes) -> Result<Response, Error> {
    let frame = Frame::of(edge, visit, place(destination, Bulk::Redelivery, &mistakes.sent)).await?;
    html(&AgainPage::new(&frame, visit, destination, mistakes))
}

/// Where a page stands, and how else the same is counted.
fn place(destination: &Destination, bulk: Bulk, sent: &Sent) -> PageAddress {
    let id = destination.id;
    let of = |name: &str| sent.get(name).and_then(|text| entered_instant(text).parse::<Timestamp>().ok());
    let (path, mut body, command) = match (bulk, sent.get("which"), of("from").zip(of("until"))) {
        (Bulk::Redelivery, Some("range"), Some((from, until))) => (
            "/v1/redeliveries".to_owned(),
            json!({ "destination_id": id, "from": from, "until": until }),
            format!("settle redeliver range --destination {id} --from {from} --until {until}"),
        ),
        (Bulk::Redelivery, ..) => (
            "/v1/redeliveries".to_owned(),
            json!({ "destination_id": id, "failed": true }),
            format!("settle redeliver failed --destination {id}"),
        ),
        (Bulk::Replay, which, _) => (
            format!("/v1/destinations/{id}/replay"),
            json!({ "all": which == Some("all") }),
            format!("settle destination replay {id}{}", if which == Some("all") { " --all" } else { "" }),
        ),
        (Bulk::Snapshot, ..) => {
            (format!("/v1/destinations/{id}/snapshot"), json!({}), format!("settle destination snapshot {id}"))
        }
    };
    body["dry_run"] = json!(true);
    PageAddress {
        screen: SCREEN.path,
        title: format!("Send again to {}", destination.name),
        api: format!("POST {path} {body}"),
        command: format!("{command} --dry-run"),
        is_answer: true,
    }
}

async fn post_again(
    edge: Acting,
    caller: Caller,
    parts: Parts,
    stored: Stored<Destination>,
) -> Result<Response, Error> {
    step(Bulk::Redelivery, edge, caller, parts, stored).await
}

async fn post_replay(
    edge: Acting,
    caller: Caller,
    parts: Parts,
    stored: Stored<Destination>,
) -> Result<Response, Error> {
    step(Bulk::Replay, edge, caller, parts, stored).await
}

async fn post_snapshot(
    edge: Acting,
    caller: Caller,
    parts: Parts,
    stored: Stored<Destination>,
) -> Result<Response, Error> {
    step(Bulk::Snapshot, edge, caller, parts, stored).await
}

/// The first form counts. Its answer has a form that sends what was counted, and the answer to that one that goes on.
async fn step(
    bulk: Bulk,
    edge: Acting,
    caller: Caller,
    (State(shared), visit, sent): Parts,
    Stored(destination): Stored<Destination>,
) -> Result<Response, Error> {
    let is_real = sent.get("confirmed") == Some("yes");
    let run = sent.get(RUN).filter(|_| is_real).map_or_else(|| new_run((edge.random)()), str::to_owned);
    let body = match selection(bulk, &sent, &destination) {
        Ok(body) => body,
        Err(wrong) => return refused(bulk, &shared, &visit, &destination, sent, Error::Invalid(wrong)).await,
    };
    let body = if is_real { with(body, RUN, json!(run)) } else { with(body, "dry_run", json!(true)) };
    let before = Progress::before(&sent, is_real);
    match carried_out(bulk, &edge, &caller, &destination, body, before).await {
        Ok(progress) => {
            let stage = match (is_real, progress.next_cursor.is_some()) {
                (false, _) => Stage::Counted,
                (true, true) => Stage::Underway,
                (true, false) => Stage::Done,
            };
            let frame = Frame::of(&shared, &visit, place(&destination, bulk, &sent)).await?;
            let head = Head::new(&visit, &destination, AGAIN);
            html(&ProgressPage::new(&frame, &visit, head, Step { bulk, stage, sent: &sent, run, progress }))
        }
        Err(error) => refused(bulk, &shared, &visit, &destination, sent, error).await,
    }
}

/// The forms, with why one of them did nothing.
async fn refused(
    bulk: Bulk,
    edge: &Shared,
    visit: &Visit,
    destination: &Destination,
    sent: Sent,
    error: Error,
) -> Result<Response, Error> {
    let action = match bulk {
        Bulk::Redelivery if sent.get("which") == Some("range") => "range",
        Bulk::Redelivery => "failed",
        Bulk::Replay => "replay",
        Bulk::Snapshot => "snapshot",
    };
    let (status, mistakes) = Mistakes::of(action, sent, error)?;
    Ok((status, page(edge, visit, destination, mistakes).await?).into_response())
}

/// The body of the call of the API that selects what a form names.
fn selection(bulk: Bulk, sent: &Sent, destination: &Destination) -> Result<Map<String, Value>, Vec<Field>> {
    let mut wrong: Vec<Field> = sent.reason().err().into_iter().collect();
    let mut body = Map::new();
    match (bulk, sent.get("which")) {
        (Bulk::Redelivery, Some("range")) => {
            body = with(body, "destination_id", json!(destination.id));
            for name in ["from", "until"] {
                match sent.get(name) {
                    Some(time) => body = with(body, name, Value::from(entered_instant(time))),
                    None => wrong.push(Field { field: name.to_owned(), expected: "a time".to_owned() }),
                }
            }
        }
        (Bulk::Redelivery, _) => {
            body = with(body, "destination_id", json!(destination.id));
            body = with(body, "failed", json!(true));
        }
        (Bulk::Replay, which) => body = with(body, "all", json!(which == Some("all"))),
        (Bulk::Snapshot, _) => {}
    }
    if wrong.is_empty() { Ok(body) } else { Err(wrong) }
}

fn with(mut body: Map<String, Value>, name: &str, value: Value) -> Map<String, Value> {
    body.insert(name.to_owned(), value);
    body
}

/// Reads and queues page after page, until all is done or the time of a step is over.
async fn carried_out(
    bulk: Bulk,
    edge: &Acting,
    caller: &Caller,
    destination: &Destination,
    body: Map<String, Value>,
    mut progress: Progress,
) -> Result<Progress, Error> {
    let until = (edge.clock)().plus(STEP);
    loop {
        let body = match &progress.next_cursor {
            Some(cursor) => with(body.clone(), "cursor", Value::from(cursor.as_str())),
            None => body.clone(),
        };
        let part = part(bulk, edge, caller, destination, body).await?;
        progress.checked += part.checked;
        progress.requeued.add(&part.requeued);
        progress.next_cursor = part.next_cursor;
        if progress.next_cursor.is_none() || (edge.clock)() >= until {
            return Ok(progress);
        }
    }
}

async fn part(
    bulk: Bulk,
    edge: &Acting,
    caller: &Caller,
    destination: &Destination,
    body: Map<String, Value>,
) -> Result<Part, Error> {
    let stored = Stored(destination.clone());
    Ok(match bulk {
        Bulk::Redelivery => {
            let done = redeliveries::create(edge.clone(), caller.clone(), drafted(body)?).await?.0;
            let requeued = Requeued { pending: done.pending.pending, skipped: done.pending.skipped };
            Part { checked: done.checked, requeued, next_cursor: done.next_cursor }
        }
        Bulk::Replay => {
            let done = destinations::replay(edge.clone(), stored, drafted(body)?).await?.0;
            let requeued = Requeued { pending: done.pending.pending, skipped: done.pending.skipped };
            Part { checked: done.purchases, requeued, next_cursor: done.next_cursor }
        }
        Bulk::Snapshot => {
            let mut body = body;
            body.remove(RUN);
            let done = destinations::snapshot(edge.clone(), stored, Body(drafted(body)?.finish()?)).await?.0;
            let requeued = Requeued { pending: i64::try_from(done.pending).unwrap_or(i64::MAX), ..Requeued::default() };
            Part { checked: done.purchases, requeued, next_cursor: done.next_cursor }
        }
    })
}
