//! Signing in, by a link that works once or by a key. Both create a session with a cookie that no script can read; a
//! key is never stored in a browser. `keys/sign_in.rs` decides when a session ends, `pages/visit.rs` what counts as its
//! use.

mod view;

use super::form::{Form, Sent};
use super::frame::{Files, html};
use super::text;
use super::visit::{self, Visit};
use api::devices::address::Peer;
use api::edge::{Edge, Shared};
use api::error::Error;
use api::keys::guard::refused;
use api::keys::{self, Caller, Refused};
use api::resources::sign_ins;
use api::route::Route;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use domain::text::visible;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use std::time::Duration;
use storage::{LinkEnd, Person, Role, SignIn};
use view::{CookieRefused, Elsewhere, LinkPage, SignInPage};

/// The header of requests that a script sends for a part of a page.
const HTMX: &str = "hx-request";

pub fn routes() -> Vec<Route> {
    vec![
        Route::open_page("GET", "/ui/sign-in", form).summary("Signs in."),
        Route::open_page("POST", "/ui/sign-in", by_key)
            .twin("GET /v1/caller")
            .summary("Signs in by a key."),
        Route::open_page("GET", "/ui/sign-in/{code}", link)
            .summary("Signs in by a link: shows the button."),
        Route::open_page("POST", "/ui/sign-in/{code}", by_link)
            .twin("POST /v1/sign-in-links")
            .summary("Signs in by a link, which works once."),
        Route::open_page("GET", "/ui/signed-in", arrived)
            .summary("Whether the browser took the cookie."),
        Route::open_page("POST", "/ui/sign-out", sign_out)
            .twin("DELETE /v1/sign-ins/{sign_in_id}")
            .summary("Signs out."),
    ]
}

/// Returns the response to a request without a session. After signing in, the browser returns to the requested page.
pub fn required(request: &Request) -> Response {
    let (headers, uri) = (request.headers(), request.uri());
    let here = uri.path_and_query().map_or("/ui/", |path| path.as_str());
    if *request.method() != Method::GET || headers.contains_key(HTMX) || uri.path() == "/ui/live" {
        return Error::SignedOut.into_response();
    }
    if visit::is_link_from_elsewhere(headers) {
        // A browser does not send the cookie with a link from another site. This page reloads itself, and then the
        // browser sends it.
        return html(&Elsewhere {
            files: Files::all(),
            here,
        })
        .unwrap_or_else(IntoResponse::into_response);
    }
    Redirect::to(&format!("/ui/sign-in?next={}", text::escaped(here))).into_response()
}

/// `GET /ui/sign-in`
async fn form(State(edge): State<Shared>, headers: HeaderMap, uri: Uri) -> Result<Response, Error> {
    let next = next_of(&uri);
    if Visit::of(&edge, &headers, &uri).await?.is_some() {
        return Ok(Redirect::to(visit::next(next.as_deref())).into_response());
    }
    let (next, name) = (next.unwrap_or_default(), String::new());
    html(&SignInPage {
        files: Files::all(),
        next,
        name,
        error: None,
        command: view::command(),
    })
}

/// Credentials of a sign-in.
#[derive(Deserialize, JsonSchema)]
struct Credentials {
    /// A key of the API, or the admin token.
    #[schemars(length(min = 1, max = 512))]
    key: String,
    /// Name of the person, in addition to the name of the key.
    #[schemars(length(min = 1, max = 100))]
    name: Option<String>,
    /// Path to continue at.
    next: Option<String>,
}

/// `POST /ui/sign-in`
async fn by_key(
    State(edge): State<Shared>,
    Peer(peer): Peer,
    headers: HeaderMap,
    Form(Credentials { key, name, next }): Form<Credentials>,
) -> Result<Response, Error> {
    let address = edge.devices.trusted_proxies.client(peer, &headers);
    let wrong = |status: StatusCode, error: String| {
        let (next, name) = (
            next.clone().unwrap_or_default(),
            name.clone().unwrap_or_default(),
        );
        let page = SignInPage {
            files: Files::all(),
            next,
            name,
            error: Some(error),
            command: view::command(),
        };
        html(&page).map(|page| (status, page).into_response())
    };
    let refusals = &edge.keys.refusals;
    if let Err(wait) = refusals.check(address, &key) {
        let seconds = wait.as_secs().max(1);
        drop(refused("slowed", Error::Unauthorized));
        return wrong(
            StatusCode::TOO_MANY_REQUESTS,
            format!("Too many wrong keys: try again in {seconds} s."),
        );
    }
    let caller = match keys::caller(&edge, &key).await? {
        Ok(caller) => caller,
        Err(why) => {
            if let Refused::Wrong(key) = why {
                let _ = refusals.count(address, key);
            }
            tracing::warn!(reason = why.label(), "a sign-in by key was refused");
            drop(refused(why.label(), Error::Unauthorized));
            return wrong(
                StatusCode::UNAUTHORIZED,
                "This key is not valid: it is unknown, revoked or expired.".to_owned(),
            );
        }
    };
    refusals.proved(address, &key);
    if caller.role < Role::Read {
        drop(refused("role", Error::Unauthorized));
        return wrong(
            StatusCode::FORBIDDEN,
            "This key can only read the metrics.".to_owned(),
        );
    }
    let person = person(&edge, &caller, name.clone());
    let secret = secret(&edge);
    let lifetime = edge.pages.sign_in_lifetime;
    let sign_in = sign_ins::begin(&edge, person, &secret).await?;
    finish_before(&edge, &headers).await;
    Ok(arriving(&sign_in, &secret, lifetime, next.as_deref()))
}

/// Returns the person that a key identifies, with the name that they entered.
fn person(edge: &Edge, caller: &Caller, name: Option<String>) -> Person {
    let person = sign_ins::person(edge, caller);
    match name
        .map(|name| visible(&name))
        .filter(|name| !name.is_empty())
    {
        Some(name) => Person {
            name: format!("{name} ({})", person.name),
            ..person
        },
        None => person,
    }
}

/// `GET /ui/sign-in/{code}`: a page with a button, so that a preview of the link does not use it up.
async fn link(State(edge): State<Shared>, Path(code): Path<String>) -> Result<Response, Error> {
    match sign_ins::link_of(&edge, &SecretString::from(code.clone())).await? {
        Ok(link) => html(&LinkPage::new(code, link.person)),
        Err(end) => gone(end),
    }
}

/// Returns the page that explains why a link does not work.
fn gone(end: LinkEnd) -> Result<Response, Error> {
    Ok((StatusCode::GONE, html(&LinkPage::gone(end))?).into_response())
}

/// `POST /ui/sign-in/{code}`. A code has 128 random bits and cannot be guessed, so wrong codes cause no lockout.
async fn by_link(
    State(edge): State<Shared>,
    headers: HeaderMap,
    Path(code): Path<String>,
    _: Sent,
) -> Result<Response, Error> {
    let (shown, secret) = (SecretString::from(code.clone()), secret(&edge));
    match sign_ins::take_link(&edge, &shown, &secret).await? {
        Ok(sign_in) => {
            finish_before(&edge, &headers).await;
            let lifetime = Duration::from_micros(
                sign_in
                    .expires_at
                    .micros()
                    .saturating_sub(sign_in.created_at.micros())
                    .unsigned_abs(),
            );
            Ok(arriving(&sign_in, &secret, lifetime, None))
        }
        Err(end) => {
            tracing::warn!("a sign-in by link was refused");
            drop(refused("link", Error::Unauthorized));
            gone(end)
        }
    }
}

/// Returns the response that begins a session. The next page checks whether the browser accepted the cookie.
fn arriving(
    sign_in: &SignIn,
    secret: &SecretString,
    lifetime: Duration,
    next: Option<&str>,
) -> Response {
    tracing::info!(sign_in.id = %sign_in.id, role = sign_in.role.as_str(), "somebody signed in to the page");
    let next = text::escaped(visit::next(next));
    let mut response = see_other(&format!("/ui/signed-in?next={next}"));
    response
        .headers_mut()
        .append(header::SET_COOKIE, visit::begin(secret, lifetime));
    response
}

/// `GET /ui/signed-in`: continues, or explains why the browser did not accept the cookie.
async fn arrived(
    State(edge): State<Shared>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Error> {
    match Visit::of(&edge, &headers, &uri).await? {
        Some(_) => Ok(Redirect::to(visit::next(next_of(&uri).as_deref())).into_response()),
        None => html(&CookieRefused {
            files: Files::all(),
        }),
    }
}

/// `POST /ui/sign-out`
async fn sign_out(
    State(edge): State<Shared>,
    headers: HeaderMap,
    uri: Uri,
    sent: Sent,
) -> Result<Response, Error> {
    if let Some(visit) = Visit::of(&edge, &headers, &uri).await? {
        if !sent
            .get(super::form::TOKEN)
            .is_some_and(|token| visit.proves(token))
        {
            let detail = "this form belongs to another sign-in; reload the page".to_owned();
            return Err(refused("form", Error::Forbidden(detail)));
        }
        sign_ins::leave(&edge, &visit.sign_in).await?;
    }
    let mut response = see_other("/ui/sign-in");
    response
        .headers_mut()
        .append(header::SET_COOKIE, visit::end());
    // The browser's cache for this origin is cleared when the session ends.
    response
        .headers_mut()
        .insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}

/// Ends the previous session of a browser that signs in again. The link is used up by then, so a database error here
/// must not prevent the new session; the old one expires by itself.
async fn finish_before(edge: &Edge, headers: &HeaderMap) {
    if let Ok(Some(visit)) = Visit::of(edge, headers, &Uri::default()).await {
        let _ = sign_ins::leave(edge, &visit.sign_in).await;
    }
}

fn see_other(path: &str) -> Response {
    Redirect::to(path).into_response()
}

fn next_of(uri: &Uri) -> Option<String> {
    visit::query(uri, "next")
}

fn secret(edge: &Edge) -> SecretString {
    SecretString::from(storage::hex(&(edge.random)()))
}
