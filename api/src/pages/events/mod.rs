//! Events: what was announced, the newest first, and one event with its body, its causes, and who got it or did not.

mod view;

use super::Screen;
use super::action::Mistakes;
use super::form::Sent;
use super::frame::{Frame, PageAddress, html, shown};
use super::requeued::{RUN, Requeued, run};
use super::text::{entered_instant, with_query};
use super::visit::Visit;
use crate::edge::Shared;
use crate::error::{Error, Field};
use crate::extract::{Id, Query, checked, drafted};
use crate::keys::{Acting, Caller};
use crate::resources::events::EventQuery;
use crate::resources::explain::node::Node;
use crate::resources::explain::story as explained;
use crate::resources::query::Listed;
use crate::resources::{events, resends};
use crate::route::Route;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{EventId, PlatformId};
use serde_json::{Map, Value, json};
use storage::{Destination, EventView, Paged, Role};
use view::{Detail, EventPage, Filter, ListPage};

/// Number of events on a page.
const SHOWN: i64 = 50;
/// The fields of the filter, as the API and the address name them.
const FILTERS: [&str; 7] = ["type", "platform_id", "environment", "from", "until", "user_id", "collapse_key"];
/// The fields with the flags of the command line.
const FLAGS: [(&str, &str); 8] = [
    ("type", "type"),
    ("app_id", "app"),
    ("platform_id", "platform"),
    ("environment", "environment"),
    ("from", "from"),
    ("until", "until"),
    ("user_id", "user"),
    ("collapse_key", "purchase"),
];

pub const SCREEN: Screen = Screen { name: "Events", path: "/ui/events", icon: "events", key: 'e', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/events", list).summary("Events, the newest first."),
        Route::page(Role::Read, "GET", "/ui/events/{event_id}", show)
            .summary("One event: its body, its causes, who got it, who did not and why."),
        Route::page(Role::Support, "POST", "/ui/events/{event_id}/resend", post_resend)
            .twin("POST /v1/resends")
            .summary("Sends an event again."),
    ]
}

/// `GET /ui/events`
async fn list(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    let State(edge) = &state;
    let entered = FILTERS.map(|name| (name, visit.query(name).unwrap_or_default()));
    let app = caller.app(edge, visit.app).await?;
    let (found, wrong) = match found(&state, &caller, query(&visit, &entered)).await {
        Ok(found) => (found, Vec::new()),
        Err(Error::Invalid(wrong)) => (Paged { items: Vec::new(), next_cursor: None }, wrong),
        Err(error) => return Err(error),
    };
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let chosen = entered.iter().find(|(name, _)| *name == "platform_id").and_then(|(_, id)| id.parse().ok());
    let platforms = super::purchases::platforms(edge, app, chosen).await?;
    let filter = Filter { entered: &entered, wrong: &wrong };
    let page = page(&filter, app.map(|app| app.to_string()));
    let frame = Frame::of(edge, &visit, page).await?;
    let page = ListPage::new(&frame, &visit, &found, &filter, platforms);
    let response = if wrong.is_empty() { shown(&visit, &page, &found)? } else { html(&page)? };
    Ok((status, response).into_response())
}

async fn found(
    State(edge): &State<Shared>,
    caller: &Caller,
    query: Map<String, Value>,
) -> Result<Paged<EventView>, Error> {
    let query = checked::<Listed<EventQuery>>(query)?;
    Ok(events::list(State(edge.clone()), caller.clone(), Query(query)).await?.0)
}

/// The query of the API for what was entered.
fn query(visit: &Visit, entered: &[(&str, String)]) -> Map<String, Value> {
    let present = entered.iter().filter(|(_, value)| !value.is_empty());
    let sent = present.map(|(name, value)| {
        let value = if matches!(*name, "from" | "until") { entered_instant(value) } else { value.clone() };
        ((*name).to_owned(), Value::from(value))
    });
    let app = visit.app.map(|app| ("app_id".to_owned(), json!(app)));
    let cursor = visit.query("cursor").map(|cursor| ("cursor".to_owned(), Value::from(cursor)));
    sent.chain(app).chain(cursor).chain([("limit".to_owned(), json!(SHOWN))]).collect()
}

/// Where the list stands, and how else it is reached.
fn page(filter: &Filter<'_>, app: Option<String>) -> PageAddress {
    let sent = FILTERS.map(|name| (name, filter.sent(name)));
    let fields: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = app.unwrap_or_default();
    let flag = |(name, flag): (&str, &str)| {
        let value = if name == "app_id" { app.clone() } else { filter.sent(name) };
        (!value.is_empty()).then(|| format!(" --{flag} '{value}'"))
    };
    // What is wrong may be anything, and is in no command that is copied into a shell.
    let flags: String =
        if filter.wrong.is_empty() { FLAGS.into_iter().filter_map(flag).collect() } else { String::new() };
    PageAddress {
        screen: SCREEN.path,
        title: "Events".to_owned(),
        api: with_query("/v1/events", &[&[("app_id", app.as_str())], fields.as_slice()].concat()),
        command: format!("settle event list{flags}"),
        ..PageAddress::default()
    }
}

/// `GET /ui/events/{event_id}`
async fn show(state: State<Shared>, visit: Visit, Id(id): Id<EventId>) -> Result<Response, Error> {
    one(&state, &visit, id, Mistakes::default()).await
}

/// What is known of an event: its explanation, its body, and who can get it again.
struct EventFacts {
    tree: Node,
    body: Value,
    is_of_device: bool,
    destinations: Vec<Destination>,
    platform: Option<PlatformId>,
}

async fn known(State(edge): &State<Shared>, id: EventId) -> Result<EventFacts, Error> {
    match edge.store.explain_event(id).await {
        Err(storage::Error::Missing { .. }) => {
            let facts = edge.store.explain_device_event(id).await?;
            let body = edge.store.device_event(id).await?.body;
            let platform = Some(facts.event.event.platform_id);
            let tree = explained::device_event(&facts);
            Ok(EventFacts { tree, body, is_of_device: true, destinations: Vec::new(), platform })
        }
        facts => {
            let facts = facts?;
            let body = edge.store.event(id).await?.body;
            let platform = facts.event.event.origin.map(|(_, platform, _)| platform);
            let tree = explained::event(&facts);
            let active = facts.addressees.into_iter().filter(|one| one.deleted_at.is_none());
            let destinations = active.map(|one| one.destination).collect();
            Ok(EventFacts { tree, body, is_of_device: false, destinations, platform })
        }
    }
}

async fn one(state: &State<Shared>, visit: &Visit, id: EventId, mistakes: Mistakes) -> Result<Response, Error> {
    let State(edge) = state;
    let EventFacts { tree, body, is_of_device, destinations, platform } = known(state, id).await?;
    let platform = match platform {
        Some(id) => edge.store.platform(id).await.ok(),
        None => None,
    };
    let place = PageAddress {
        screen: SCREEN.path,
        title: format!("Event {}", id.to_string().get(..8).unwrap_or_default()),
        api: format!("/v1/explain/events/{id}"),
        command: format!("settle explain event {id}"),
        is_answer: !mistakes.action.is_empty(),
    };
    let frame = Frame::of(edge, visit, place).await?;
    let (destinations, platform, run) = (&destinations[..], platform.as_ref(), run((edge.random)()));
    let detail = Detail { id, tree: &tree, body: &body, is_of_device, destinations, platform, run };
    shown(visit, &EventPage::new(&frame, visit, &detail, mistakes), &tree)
}

/// `POST /ui/events/{event_id}/resend`
async fn post_resend(
    edge: Acting,
    caller: Caller,
    state: State<Shared>,
    visit: Visit,
    sent: Sent,
    Id(id): Id<EventId>,
) -> Result<Response, Error> {
    match resend(edge, caller, &sent, this_event(id), sent.get("destination_id")).await {
        Ok(requeued) => {
            let path = format!("/ui/events/{id}?pending={}", requeued.text());
            Ok(Redirect::to(&visit.to(&path)).into_response())
        }
        Err(error) => {
            let (status, mistakes) = Mistakes::of("resend", sent, error)?;
            Ok((status, one(&state, &visit, id, mistakes).await?).into_response())
        }
    }
}

/// Queues a selection again, to one destination or to all, by a form with a reason. A form that is sent twice queues
/// once.
///
/// # Errors
/// There is no reason, the destination is none, or the database does not answer.
pub async fn resend(
    edge: Acting,
    caller: Caller,
    sent: &Sent,
    mut selection: Map<String, Value>,
    to: Option<&str>,
) -> Result<Requeued, Error> {
    sent.reason().map_err(|wrong: Field| Error::Invalid(vec![wrong]))?;
    // To another destination it is another run: a browser that goes back has the form with its run.
    let run = sent.get(RUN).map(|run| format!("{run}-{}", to.unwrap_or("all")));
    selection.extend(run.map(|run| (RUN.to_owned(), Value::from(run))));
    selection.extend(to.map(|id| ("destination_id".to_owned(), Value::from(id))));
    Ok(resends::create(edge, caller, drafted(selection)?).await?.0.into())
}

/// The selection of one event.
pub fn this_event(id: EventId) -> Map<String, Value> {
    Map::from_iter([("event_id".to_owned(), json!(id))])
}
