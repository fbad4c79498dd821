//! The whole service: its routes, the admin token, the body limit and the time limit of every request.

use crate::edge::Shared;
use crate::error::Error;
use crate::openapi;
use crate::routes::{Access, routes};
use crate::stores::amazon::envelope::MAX_BODY_BYTES;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::{Extension, Router};
use secrecy::ExposeSecret;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// The body limit of every request: 2 MiB, what the largest message of a store needs.
const BODY_LIMIT_BYTES: usize = MAX_BODY_BYTES;

/// Maximum duration of one request.
const TIMEOUT: Duration = Duration::from_secs(25);

/// The whole service.
pub fn router(edge: Shared) -> Router {
    let (mut open, mut admin) = (Router::new(), Router::new());
    for route in routes() {
        match route.access {
            Access::Open => open = open.route(route.path, route.handler),
            Access::Admin => admin = admin.route(route.path, route.handler),
        }
    }
    open.merge(admin.route_layer(from_fn_with_state(edge.clone(), authorize)))
        .method_not_allowed_fallback(|| async { Error::Method })
        .fallback(|| async { Error::Missing("there is no such path; /openapi.json lists them".to_owned()) })
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(from_fn(in_time))
        .layer(Extension(&openapi::DOCUMENT))
        .with_state(edge)
}

/// Ends a request at the time limit: a slow body or a hanging dependency does not hold a connection for ever.
async fn in_time(request: Request, next: Next) -> Result<Response, Error> {
    let late = |_| Error::Unavailable("the request took too long; try again".to_owned());
    tokio::time::timeout(TIMEOUT, next.run(request)).await.map_err(late)
}

/// Requires the admin token as the bearer token.
async fn authorize(State(edge): State<Shared>, request: Request, next: Next) -> Result<Response, Error> {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let expected = edge.admin_token.expose_secret().as_bytes();
    // The comparison takes constant time for equal lengths; the length is no secret. An empty token never matches.
    let same = token.is_some_and(|token| token.as_bytes().ct_eq(expected).into());
    if !same || expected.is_empty() {
        return Err(Error::Unauthorized);
    }
    Ok(next.run(request).await)
}
