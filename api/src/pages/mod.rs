//! The dashboard: stored data as HTML for people.
//!
//! Each screen is a folder with the routes, the view and, in the folder of the same name in `templates`, the templates.
//! Its line in [`SCREENS`] adds it to the navigation. It reads and changes data only through the handlers of
//! `resources`, as the user who signed in, so the dashboard can do nothing that the API cannot. Explanations are those
//! of `resources::explain`.

mod act;
mod action;
mod alarms;
mod assets;
mod catalogue;
mod cell;
mod change;
mod changed;
mod chart;
mod connect;
mod customers;
mod deliveries;
mod described;
mod destinations;
mod direction;
mod events;
mod failure;
mod form;
mod frame;
mod guard;
mod headers;
mod home;
mod lists;
mod notice;
mod once;
mod parts;
mod purchases;
mod recent;
mod requeued;
mod search;
mod settings;
mod sign_in;
mod story;
mod team;
mod text;
mod visit;

use api::edge::pages::is_of_browser;
use api::error::{Error, Problem};
use api::route::Route;
use api::router::Dashboard;
use axum::Extension;
use axum::http::HeaderMap;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use futures::FutureExt;
use home::AppStatuses;
use std::sync::LazyLock;
use storage::Role;

/// The dashboard, as the router serves it.
pub static DASHBOARD: Dashboard = Dashboard {
    routes,
    serve: |page, edge| page.route_layer(from_fn_with_state(edge, guard::serve)),
    enter: |page, guard| page.route_layer(from_fn_with_state(guard, guard::enter)),
    missing: |state, request| failure::missing(state, request).boxed(),
    share: |router| router.layer(Extension(AppStatuses::default())),
};

pub struct Screen {
    pub name: &'static str,
    pub path: &'static str,
    /// Name of the icon in `icons.svg`.
    pub icon: &'static str,
    /// The key that opens the screen, after `g`.
    pub key: char,
    /// Routes of the screen and of its parts.
    pub routes: fn() -> Vec<Route>,
}

/// The screens, in the order of the navigation.
pub const SCREENS: &[Screen] = &[
    home::SCREEN,
    connect::SCREEN,
    purchases::SCREEN,
    events::SCREEN,
    destinations::SCREEN,
    customers::SCREEN,
    catalogue::SCREEN,
    alarms::SCREEN,
    team::SCREEN,
    settings::SCREEN,
];

/// The screens, each with the minimum role that can see it: that of the route at its path.
static SEEN_BY: LazyLock<Vec<(&'static Screen, Role)>> = LazyLock::new(|| {
    let least = |screen: &Screen| {
        let own = (screen.routes)()
            .into_iter()
            .find(|route| route.method == "GET" && route.path == screen.path);
        own.map_or(Role::Admin, |route| route.least)
    };
    SCREENS
        .iter()
        .map(|screen| (screen, least(screen)))
        .collect()
});

pub fn routes() -> Vec<Route> {
    let mut all = vec![
        Route::open_page("GET", "/", root).summary("A browser is sent to the page."),
        Route::open_page("GET", "/ui", root).summary("A browser is sent to the page."),
        Route::open_page("GET", "/ui/assets/{hash}/{name}", assets::show)
            .summary("A file of the page."),
    ];
    all.extend(sign_in::routes());
    all.extend(search::routes());
    all.extend(deliveries::routes());
    all.extend(SCREENS.iter().flat_map(|screen| (screen.routes)()));
    all
}

/// `GET /`: redirects a browser to the dashboard. Other clients get the API's 404.
async fn root(headers: HeaderMap) -> Response {
    if is_of_browser(&headers) {
        return Redirect::to("/ui/").into_response();
    }
    let mut response =
        Error::Missing("no such path; /openapi.json lists all paths".to_owned()).into_response();
    // A client that is not a browser gets no error page.
    response.extensions_mut().remove::<Problem>();
    response
}
