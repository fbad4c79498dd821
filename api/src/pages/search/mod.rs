//! The search of the frame: one box for any id. A POST, so that an id of a customer is in no address; one hit is shown
//! at once, several are listed in the answer itself.

mod view;

use super::form::Form;
use super::frame::{Frame, Place, shown};
use super::visit::Visit;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Body;
use crate::keys::Caller;
use crate::resources::search::{self, FoundThings, Search};
use crate::routes::Route;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::AppId;
use std::collections::BTreeSet;
use storage::{Found, FoundKind, NotificationFilter, Page, Platform, Role, TopicState};
use view::{SearchPage, Source};

/// Maximum number of apps whose platforms are shown where nothing was found.
const APPS: i64 = 10;

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "POST", "/ui/search", find)
            .twin("POST /v1/search")
            .as_query()
            .summary("Finds what an id names."),
        Route::page(Role::Read, "GET", "/ui/search", again).summary("The search after it was left."),
    ]
}

/// `GET /ui/search`: where a browser returns to after another sign-in.
async fn again(visit: Visit) -> Response {
    Redirect::to(&visit.to("/ui/purchases")).into_response()
}

/// `POST /ui/search`
async fn find(
    state: State<Shared>,
    visit: Visit,
    caller: Caller,
    Form(wanted): Form<Search>,
) -> Result<Response, Error> {
    let State(edge) = &state;
    let (q, app_id) = (wanted.q.clone(), wanted.app_id);
    let found: FoundThings = search::find(State(edge.clone()), caller.clone(), Body(wanted)).await?.0;
    if let Some(path) = only(&found.items) {
        return Ok(Redirect::to(&visit.to(&path)).into_response());
    }
    let place = Place {
        screen: "",
        title: "Search".to_owned(),
        api: "/v1/search".to_owned(),
        command: "settle search ID".to_owned(),
        is_answer: true,
    };
    let sources =
        if found.items.is_empty() { sources(edge, caller.app(edge, app_id).await?).await? } else { Vec::new() };
    let frame = Frame::of(edge, &visit, place).await?;
    let page = SearchPage::new(&frame, q, (&found.items, sources));
    shown(&visit, &page, &found)
}

/// The page of what was found, if that is one thing that has a page. A customer is shown with all purchases.
fn only(found: &[Found]) -> Option<String> {
    let mut customers = found.iter().filter(|one| one.kind == FoundKind::Customer);
    if let (Some(customer), None) = (customers.next(), customers.next())
        && found.iter().all(|one| one.kind == FoundKind::Customer || one.found_by == "customer")
    {
        return view::path(customer);
    }
    let paths: BTreeSet<String> = found.iter().filter_map(view::path).collect();
    let has_all = found.iter().all(|one| view::path(one).is_some());
    paths.into_iter().next().filter(|path| has_all && found.iter().all(|one| view::path(one).as_ref() == Some(path)))
}

/// The platforms that could have received it, for who looks for what is missing.
async fn sources(edge: &Edge, app: Option<AppId>) -> Result<Vec<Source>, Error> {
    let apps = match app {
        Some(app) => vec![edge.store.app(app).await?],
        None => edge.store.apps(Page { cursor: None, limit: APPS }).await?.items,
    };
    let mut sources = Vec::new();
    for app in apps {
        for platform in edge.store.platforms(app.id, Page { cursor: None, limit: APPS }).await?.items {
            sources.push(source(edge, &app.name, platform).await?);
        }
    }
    Ok(sources)
}

async fn source(edge: &Edge, app: &str, platform: Platform) -> Result<Source, Error> {
    let topics = edge.store.topics(platform.id).await?;
    let of_platform = NotificationFilter { platform: Some(platform.id), ..NotificationFilter::default() };
    let newest = edge.store.notifications(of_platform, Page { cursor: None, limit: 1 }).await?;
    let is = |state: TopicState| topics.iter().any(|topic| topic.state == state);
    Ok(Source {
        app: app.to_owned(),
        last_accepted_at: newest.items.first().map(|one| one.accepted_at),
        has_pending_topic: is(TopicState::Pending),
        has_topic: is(TopicState::Confirmed),
        platform,
    })
}
