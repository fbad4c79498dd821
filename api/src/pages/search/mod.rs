//! The search in the frame: one input for any id. It is a POST, so that no address contains a customer's id. A single
//! result is opened immediately; several are listed in the response itself.

mod view;

use super::form::Form;
use super::frame::{Frame, PageAddress, shown};
use super::visit::Visit;
use api::edge::{Edge, Shared};
use api::error::Error;
use api::extract::Body;
use api::keys::Caller;
use api::resources::connections::{self, ConnectedPlatform};
use api::resources::search::{self, FoundThings, Search, is_beginning};
use api::resources::{apps, platforms};
use api::route::Route;
use api::shell::quoted;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::AppId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use storage::{FoundKind, Page, Role, SearchHit};
use view::{Hits, SearchPage, Source, Sources};

/// Maximum number of apps whose platforms are shown if nothing was found.
const APPS: i64 = 10;
/// Maximum number of platforms per app.
const PLATFORMS: usize = 10;

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "POST", "/ui/search", find)
            .twin("POST /v1/search")
            .as_query()
            .summary("Finds what an id names."),
        Route::page(Role::Read, "GET", "/ui/search", again)
            .summary("The search after it was left."),
    ]
}

/// `GET /ui/search`: where a browser returns to after signing in again.
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
    let found: FoundThings = search::find(State(edge.clone()), caller.clone(), Body(wanted))
        .await?
        .0;
    if let Some(path) = only(&found.items) {
        return Ok(Redirect::to(&visit.to(&path)).into_response());
    }
    let place = PageAddress {
        screen: "",
        title: "Search".to_owned(),
        api: format!("POST /v1/search {}", body(&q, app_id)),
        command: command(&q, app_id),
        is_answer: true,
    };
    let app = caller.app(edge, app_id).await?;
    let sources = match found.items.is_empty() {
        true => sources(edge, app).await?,
        false => Sources::default(),
    };
    let meant = suggestion(edge, &visit, found.did_you_mean.clone(), app).await?;
    let purchases = search::purchases(edge, &found.items).await?;
    let frame = Frame::of(edge, &visit, place).await?;
    let hits = Hits {
        found: &found.items,
        purchases: &purchases,
    };
    let page = SearchPage::new(&frame, &visit, q, hits, sources).suggesting(meant);
    shown(&visit, &page, &found)
}

/// The id that was probably meant, for a search without results.
pub struct Suggestion {
    pub text: String,
    /// The page of the resource with this id, if it is a single one.
    pub path: Option<String>,
}

/// Returns the suggestion for an id that exists.
pub async fn suggestion(
    edge: &Edge,
    visit: &Visit,
    meant: Option<String>,
    app: Option<AppId>,
) -> Result<Option<Suggestion>, Error> {
    let Some(text) = meant else { return Ok(None) };
    let found = search::hits(edge, &text, app).await?;
    Ok(Some(Suggestion {
        path: only(&found).map(|path| visit.to(&path)),
        text,
    }))
}

/// Returns the request body of the same search.
pub fn body(q: &str, app: Option<AppId>) -> Value {
    app.map_or_else(|| json!({ "q": q }), |app| json!({ "q": q, "app_id": app }))
}

/// Returns the command for the same search.
pub fn command(q: &str, app: Option<AppId>) -> String {
    // Without the mark, a text that begins with a hyphen would be an option.
    let mark = if q.starts_with('-') { "-- " } else { "" };
    let app = app.map_or_else(String::new, |app| format!(" --app {app}"));
    format!("settle search{app} {mark}{}", quoted(q))
}

/// Returns the page of the result, if there is a single one that has a page and was found by its whole id. A customer
/// counts as single together with all their purchases and devices.
fn only(found: &[SearchHit]) -> Option<String> {
    if is_beginning(found) {
        return None;
    }
    let mut customers = found.iter().filter(|one| one.kind == FoundKind::Customer);
    if let (Some(customer), None) = (customers.next(), customers.next())
        && found.iter().all(|one| {
            matches!(one.kind, FoundKind::Customer | FoundKind::Device)
                || one.found_by == "customer"
        })
    {
        return view::path(customer);
    }
    let paths: BTreeSet<String> = found.iter().filter_map(view::path).collect();
    let has_all = found.iter().all(|one| view::path(one).is_some());
    paths.into_iter().next().filter(|path| {
        has_all
            && found
                .iter()
                .all(|one| view::path(one).as_ref() == Some(path))
    })
}

/// Returns the platforms that could have received what was not found.
async fn sources(edge: &Edge, app: Option<AppId>) -> Result<Sources, Error> {
    let page = Page {
        cursor: None,
        limit: APPS,
    };
    let found = apps::reached(edge, app, page).await?;
    let apps: BTreeMap<AppId, String> = found
        .items
        .into_iter()
        .map(|app| (app.id, app.name))
        .collect();
    let most = i64::try_from(PLATFORMS)
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let mut platforms = platforms::of_apps(edge, apps.keys().copied().collect(), most).await?;
    let (all, mut of_app) = (platforms.len(), BTreeMap::<AppId, usize>::new());
    platforms.retain(|platform| {
        let number = of_app.entry(platform.app_id).or_default();
        *number += 1;
        *number <= PLATFORMS
    });
    let has_more = found.next_cursor.is_some() || platforms.len() < all;
    let source = |one: ConnectedPlatform| Source {
        app: apps.get(&one.platform.app_id).cloned().unwrap_or_default(),
        progress: one.progress,
        platform: one.platform,
    };
    let platforms = connections::of_platforms(edge, platforms).await?;
    Ok(Sources {
        all: platforms.into_iter().map(source).collect(),
        has_more,
    })
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_searches_what_was_searched() {
        assert_eq!(
            command("anna@example.com", None),
            "settle search anna@example.com"
        );
        assert_eq!(
            command("it's $HOME", None),
            "settle search 'it'\\''s $HOME'"
        );
        assert_eq!(command("--help", None), "settle search -- --help");
    }
}
