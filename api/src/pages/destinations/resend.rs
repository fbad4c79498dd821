//! Resends to a destination everything that matches a filter, after counting it. Each step reads and queues pages of
//! the API for some seconds; a form in its response continues where the step stopped.

use super::SCREEN;
use super::head::{Head, RESEND, Stands};
use super::resend_view::{
    self as view, Filter, Progress, ProgressPage, RANGE, ResendPage, ResendStep, Stage,
};
use crate::change::Mistakes;
use crate::form::Sent;
use crate::frame::{Frame, PageAddress, html};
use crate::requeued::{RUN, new_run};
use crate::text::entered_instant;
use crate::visit::Visit;
use api::edge::Shared;
use api::error::{Error, Field};
use api::extract::{Stored, drafted};
use api::keys::{Acting, Caller};
use api::resources::resends;
use api::route::Route;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;
use storage::{Destination, Role};

/// Maximum duration of a step, after which no further page is begun.
const STEP: Duration = Duration::from_secs(8);

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(
            Role::Read,
            "GET",
            "/ui/destinations/{destination_id}/resend",
            show,
        )
        .summary("What can be resent."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/destinations/{destination_id}/resend",
            post_resend,
        )
        .twin("POST /v1/resends")
        .summary("Counts what a filter finds, then sends it again."),
    ]
}

/// `GET /ui/destinations/{destination_id}/resend`
async fn show(
    State(edge): State<Shared>,
    visit: Visit,
    Stored(destination): Stored<Destination>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let frame = Frame::of(&edge, &visit, place(&destination, &mistakes.sent)).await?;
    let stands = Stands::read(&edge, destination.id).await?;
    html(&ResendPage::new(
        &frame,
        &visit,
        &destination,
        stands,
        mistakes,
    ))
}

/// Returns the address of the page, with the API call and the command for the same count.
fn place(destination: &Destination, sent: &Sent) -> PageAddress {
    let id = destination.id;
    let of = |name: &str| {
        sent.get(name)
            .and_then(|text| entered_instant(text).parse::<Timestamp>().ok())
    };
    let mut body = json!({ "destination_id": id, "dry_run": true });
    let (name, times) = match (Filter::of(sent).name, of("from").zip(of("until"))) {
        (RANGE, Some((from, until))) => {
            (body["from"], body["until"]) = (json!(from), json!(until));
            (RANGE, format!(" --from {from} --until {until}"))
        }
        (name, _) => {
            let name = if name == RANGE { "failed" } else { name };
            body[name] = json!(true);
            (name, String::new())
        }
    };
    PageAddress {
        screen: SCREEN.path,
        title: format!("Resend to {}", destination.name),
        api: format!("POST /v1/resends {body}"),
        command: format!("settle resend {name} --destination {id}{times} --dry-run"),
        is_answer: true,
    }
}

/// `POST /ui/destinations/{destination_id}/resend`: the first form counts. The response has a form that sends what was
/// counted; the response to that form has one that continues.
async fn post_resend(
    edge: Acting,
    caller: Caller,
    State(shared): State<Shared>,
    visit: Visit,
    sent: Sent,
    Stored(destination): Stored<Destination>,
) -> Result<Response, Error> {
    let is_real = sent.get("confirmed") == Some("yes");
    let run = sent
        .get(RUN)
        .filter(|_| is_real)
        .map_or_else(|| new_run((edge.random)()), str::to_owned);
    let done = match selection(&sent, &destination) {
        Ok(mut body) => {
            body.extend([if is_real {
                (RUN.to_owned(), json!(run))
            } else {
                ("dry_run".to_owned(), json!(true))
            }]);
            carried_out(&edge, &caller, body, Progress::before(&sent, is_real)).await
        }
        Err(wrong) => Err(Error::Invalid(wrong)),
    };
    match done {
        Ok(progress) => {
            let stage = match (is_real, progress.next_cursor.is_some()) {
                (false, _) => Stage::Counted,
                (true, true) => Stage::Underway,
                (true, false) => Stage::Done,
            };
            let frame = Frame::of(&shared, &visit, place(&destination, &sent)).await?;
            let stands = Stands::read(&shared, destination.id).await?;
            let head = Head::new(&visit, &destination, stands, RESEND);
            html(&ProgressPage::new(
                &frame,
                &visit,
                head,
                ResendStep {
                    stage,
                    sent: &sent,
                    run,
                    progress,
                },
            ))
        }
        Err(error) => {
            let path = view::form_path(visit.uri.path(), Filter::of(&sent).name);
            let mistakes = Mistakes {
                path,
                ..Mistakes::of(&visit, sent, error)?
            };
            let status = mistakes.refused.status;
            Ok((
                status,
                show(State(shared), visit, Stored(destination), mistakes).await?,
            )
                .into_response())
        }
    }
}

/// Returns the body of the API call that selects what a form names.
fn selection(sent: &Sent, destination: &Destination) -> Result<Map<String, Value>, Vec<Field>> {
    let mut wrong: Vec<Field> = sent.reason().err().into_iter().collect();
    let mut body = Map::from_iter([("destination_id".to_owned(), json!(destination.id))]);
    let filter = Filter::of(sent);
    if filter.name != RANGE {
        body.insert(filter.name.to_owned(), json!(true));
    }
    for name in ["from", "until"].iter().filter(|_| filter.name == RANGE) {
        match sent.get(name) {
            Some(time) => body.extend([((*name).to_owned(), Value::from(entered_instant(time)))]),
            None => wrong.push(Field {
                field: (*name).to_owned(),
                expected: "a time".to_owned(),
            }),
        }
    }
    if wrong.is_empty() {
        Ok(body)
    } else {
        Err(wrong)
    }
}

/// Reads and queues one page after the other, until all are done or the time of the step is over.
async fn carried_out(
    edge: &Acting,
    caller: &Caller,
    mut body: Map<String, Value>,
    mut progress: Progress,
) -> Result<Progress, Error> {
    let until = (edge.clock)().plus(STEP);
    loop {
        body.extend(
            progress
                .next_cursor
                .take()
                .map(|cursor| ("cursor".to_owned(), Value::from(cursor))),
        );
        let part = resends::create(edge.clone(), caller.clone(), drafted(body.clone())?)
            .await?
            .0;
        progress.checked += part.checked;
        progress.next_cursor.clone_from(&part.next_cursor);
        progress.requeued.add(&part.into());
        if progress.next_cursor.is_none() || (edge.clock)() >= until {
            return Ok(progress);
        }
    }
}
