//! The whole service: its routes with their guards, and the body and time limits of every request. The dashboard is
//! passed in by the caller; its forms have body limits of their own (`pages/guard.rs`).

use crate::devices;
use crate::edge::Shared;
use crate::edge::pages::{PREFIX, is_of_browser};
use crate::error::Error;
use crate::extract::BodyLimit;
use crate::keys::guard::{Guard, authorize};
use crate::openapi::Served;
use crate::route::{Access, Route, Surface};
use crate::routes::{DOCUMENTS, routes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Extension, Router};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tower_http::cors::{Any, CorsLayer};

/// How long a browser may cache that it is allowed to call a route.
const PREFLIGHT_AGE: Duration = Duration::from_secs(24 * 3600);

/// Maximum duration of a device's request.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(5);

const TIMEOUT: Duration = Duration::from_secs(25);

/// Maximum size of a body, in bytes, except those of devices, of forms and of stores' messages.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// The dashboard's pages. They are in another crate, which depends on this one.
#[derive(Debug)]
pub struct Dashboard {
    pub routes: fn() -> Vec<Route>,
    /// Adds the middleware of a page that requires no sign-in.
    pub serve: fn(MethodRouter<Shared>, Shared) -> MethodRouter<Shared>,
    /// Adds the middleware of a page that requires a sign-in, with its guard.
    pub enter: fn(MethodRouter<Shared>, Guard) -> MethodRouter<Shared>,
    /// Responds to a request for a page that does not exist.
    pub missing: fn(State<Shared>, Request) -> BoxFuture<'static, Response>,
    /// Adds the state that all pages of a router share.
    pub share: fn(Router<Shared>) -> Router<Shared>,
}

pub fn router(edge: Shared, dashboard: &'static Dashboard) -> Router {
    router_of(Surface::All, edge, dashboard)
}

pub fn router_of(surface: Surface, edge: Shared, dashboard: &'static Dashboard) -> Router {
    let (mut open, mut public, mut device, mut admin) =
        (Router::new(), Router::new(), Router::new(), Router::new());
    let all = routes();
    let documents = Arc::new(Served::new(&DOCUMENTS, &all, &edge));
    for route in all.into_iter().filter(|route| route.is_on(surface)) {
        match route.access {
            Access::Open if route.is_public => public = public.route(route.path, route.handler),
            Access::Open => open = open.route(route.path, route.handler),
            Access::Device => device = device.route(route.path, route.handler),
            Access::Admin => {
                let authorized = from_fn_with_state(guard(&edge, &route), authorize);
                admin = admin.route(route.path, route.handler.route_layer(authorized));
            }
        }
    }
    let pages = (dashboard.routes)().into_iter();
    for page in pages.filter(|page| page.is_on(surface)) {
        if page.access == Access::Open {
            open = open.route(page.path, (dashboard.serve)(page.handler, edge.clone()));
        } else {
            let guard = guard(&edge, &page);
            admin = admin.route(page.path, (dashboard.enter)(page.handler, guard));
        }
    }
    // The limit for devices is 1 MiB (`devices/mod.rs`), for forms 16 KiB, 64 KiB or 4 MiB (`pages/guard.rs`), for a
    // store's messages its own (`resources/stores.rs`). A longer body gets 413 (`extract/body.rs`); `listener/table.rs`
    // limits the total of all bodies.
    let others = open
        .merge(admin)
        .layer(from_fn_with_state(edge.clone(), known_host))
        .merge(public)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(Extension(BodyLimit(MAX_BODY_BYTES)))
        .layer(from_fn(in_time));
    // The last layer is the outermost: web pages may read every response, and preflight requests reach no route.
    let device = device
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(devices::MAX_BODY_BYTES))
        .layer(Extension(BodyLimit(devices::MAX_BODY_BYTES)))
        .layer(from_fn(in_short_time))
        .layer(any_origin());
    let all = others
        .merge(device)
        .fallback(move |state: State<Shared>, request: Request| async move {
            if surface == Surface::All && request.uri().path().starts_with(PREFIX) {
                return (dashboard.missing)(state, request).await;
            }
            let is_lost = request.uri().path() == "/" && is_of_browser(request.headers());
            if surface == Surface::Public && is_lost {
                return (StatusCode::NOT_FOUND, state.pages.whereabouts()).into_response();
            }
            Error::Missing(no_path(surface).to_owned()).into_response()
        })
        .layer(Extension(documents));
    (dashboard.share)(all).with_state(edge)
}

/// Returns the guard of a route that requires a key, or of a page that requires a sign-in.
fn guard(edge: &Shared, route: &Route) -> Guard {
    Guard {
        edge: edge.clone(),
        least: route.least,
        scope: route.scope(),
    }
}

/// Passes on requests for a known host only. The listener refuses requests without a host.
///
/// # Errors
/// 421 for an unknown host.
async fn known_host(
    State(edge): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    match request.headers().get(header::HOST) {
        Some(host) if !host.to_str().is_ok_and(|host| edge.pages.hosts.knows(host)) => {
            Err(Error::Misdirected)
        }
        _ => Ok(next.run(request).await),
    }
}

/// Returns the error for an unknown path.
const fn no_path(surface: Surface) -> &'static str {
    match surface {
        Surface::Public => {
            "there is no such path here: this address is for stores and devices. Use the address of `admin_listen` for \
             the API, by default one port higher"
        }
        Surface::All => "no such path; /openapi.json lists all paths",
    }
}

/// Responds to a method that the path does not support.
async fn wrong_method() -> Error {
    Error::Method
}

/// Allows web pages of any origin to call a route, because an app may be a web page and its key is public.
fn any_origin() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            devices::SECRET_HEADER,
        ])
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE)
}

/// Ends a request at the time limit, so that a slow body or a hanging dependency does not hold a connection forever.
async fn in_time(request: Request, next: Next) -> Result<Response, Error> {
    let late = |_| Error::Unavailable("the request took too long; try again".to_owned());
    tokio::time::timeout(TIMEOUT, next.run(request))
        .await
        .map_err(late)
}

/// Works like [`in_time`], with the time limit for devices: only a few of their requests run concurrently, because
/// their key is public.
async fn in_short_time(request: Request, next: Next) -> Result<Response, Error> {
    let late = |_| Error::Unavailable("the request took too long; try again".to_owned());
    tokio::time::timeout(DEVICE_TIMEOUT, next.run(request))
        .await
        .map_err(late)
}
