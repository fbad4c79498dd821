//! Events: the list, newest first, and one event with its body, its causes, and the destinations that received it or
//! did not.

pub mod list;
mod view;

use super::Screen;
use super::act::{act, upper};
use super::change::Mistakes;
use super::form::Sent;
use super::frame::{Frame, PageAddress, shown};
use super::lists;
use super::requeued::{address, resent_page, run};
use super::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::Id;
use api::keys::Caller;
use api::resources::explain::ExplainedEvent;
use api::resources::{device_events, events, platforms, resends};
use api::route::Route;
use axum::extract::State;
use axum::response::Response;
use domain::EventId;
use serde_json::{Map, Value, json};
use storage::Role;
use view::{Detail, EventPage};

pub const SCREEN: Screen = Screen {
    name: "Events",
    path: "/ui/events",
    icon: "events",
    key: 'e',
    routes,
};

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/events", list).summary("Events, newest first."),
        Route::page(Role::Read, "GET", "/ui/events/{event_id}", show)
            .summary("One event: its body, its causes, who got it, who did not and why."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/events/{event_id}/resend",
            act(resends::create, show).body(select).then(resent_page),
        )
        .twin("POST /v1/resends")
        .summary("Sends an event again."),
    ]
}

/// `GET /ui/events`
async fn list(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    lists::show(list::events(&visit), state, visit, caller, events::list).await
}

/// `GET /ui/events/{event_id}`
async fn show(
    state: State<Shared>,
    visit: Visit,
    Id(id): Id<EventId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let State(edge) = &state;
    let ExplainedEvent {
        tree,
        is_of_device,
        destinations,
        platform,
    } = ExplainedEvent::of(edge, id).await?;
    let body = match is_of_device {
        true => device_events::show(state.clone(), Id(id)).await?.0.body,
        false => events::show(state.clone(), Id(id)).await?.0.body,
    };
    let platform = match platform {
        Some(id) => platforms::stored(edge, id).await.ok().flatten(),
        None => None,
    };
    let place = PageAddress {
        screen: SCREEN.path,
        title: format!("Event {}", id.to_string().get(..8).unwrap_or_default()),
        api: format!("/v1/explain/events/{id}"),
        command: format!("settle explain event {id}"),
        is_answer: mistakes.is_answer(),
    };
    let frame = Frame::of(edge, &visit, place).await?;
    let (destinations, platform, run) =
        (&destinations[..], platform.as_ref(), run((edge.random)()));
    let detail = Detail {
        id,
        tree: &tree,
        body: &body,
        is_of_device,
        destinations,
        platform,
        run,
    };
    shown(
        &visit,
        &EventPage::new(&frame, &visit, &detail, mistakes),
        &tree,
    )
}

/// Sets the resend's selection to the event of the page.
fn select(
    _: &Shared,
    visit: &Visit,
    sent: &Sent,
    body: &mut Map<String, Value>,
) -> Result<(), Error> {
    let id = upper(visit.uri.path(), 1).rsplit('/').next();
    body.insert("event_id".to_owned(), json!(id));
    address(sent, body)
}
