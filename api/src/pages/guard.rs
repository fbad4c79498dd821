//! The guard of every page: it checks the session, the role and the origin of a change, and sets the headers of the
//! response.

use super::form::{Sent, TOKEN};
use super::visit::Visit;
use super::{failure, headers, sign_in};
use api::edge::Shared;
use api::error::Error;
use api::keys::Reason;
use api::keys::guard::{Guard, refused};
use api::keys::scope::first_id;
use axum::body::to_bytes;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The limits of a form's body.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    bytes: usize,
    fields: usize,
}

/// The limits of a form that needs no session.
const OPEN: Bounds = Bounds {
    bytes: 16 * 1024,
    fields: 16,
};
const OF_SIGN_IN: Bounds = Bounds {
    bytes: 64 * 1024,
    fields: 1000,
};
/// The limits of the form with the whole catalogue in one field, and the end of that form's path.
const OF_CATALOGUE: Bounds = Bounds {
    bytes: 4 * 1024 * 1024,
    fields: 16,
};
const CATALOGUE: &str = "/catalogue/whole";

/// The parameters of a route's path, as the router matched them.
type Matched = Result<RawPathParams, RawPathParamsRejection>;

/// Passes on a request whose session may see the page, with the visit and the caller for the handler.
pub async fn enter(
    State(guard): State<Guard>,
    path: Matched,
    request: Request,
    next: Next,
) -> Response {
    let (edge, sent, method) = (
        guard.edge.clone(),
        request.headers().clone(),
        request.method().clone(),
    );
    let response = match Visit::of(&edge, request.headers(), request.uri()).await {
        Ok(Some(visit)) => {
            let response = answered(&guard, &visit, path, request, next).await;
            failure::shown(
                &edge,
                Some((&visit, &method)),
                response.unwrap_or_else(IntoResponse::into_response),
            )
            .await
        }
        Ok(None) => failure::shown(&edge, None, sign_in::required(&request)).await,
        Err(error) => failure::shown(&edge, None, error.into_response()).await,
    };
    headers::dress(response, &sent, edge.pages.is_secure).await
}

/// Serves a page that needs no session. A change must still come from this origin.
pub async fn serve(State(edge): State<Shared>, request: Request, next: Next) -> Response {
    let sent = request.headers().clone();
    let response = match with_form(request, OPEN).await {
        Ok((request, _)) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let response = failure::shown(&edge, None, response).await;
    headers::dress(response, &sent, edge.pages.is_secure).await
}

/// Returns the response to a request whose session may send it. Its reads wait for their turn among the caller's reads.
async fn answered(
    guard: &Guard,
    visit: &Visit,
    path: Matched,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let turns = guard.turns(&visit.caller(), request.method())?;
    let answer = async { Ok(next.run(admitted(guard, visit, path, request).await?).await) };
    turns.run(answer).await
}

/// Returns the request with its visit, if the session may send it.
async fn admitted(
    guard: &Guard,
    visit: &Visit,
    path: Matched,
    request: Request,
) -> Result<Request, Error> {
    let caller = visit.caller();
    guard.check(&caller, first_id(&path).as_deref()).await?;
    let bounds = if request.uri().path().ends_with(CATALOGUE) {
        OF_CATALOGUE
    } else {
        OF_SIGN_IN
    };
    let (mut request, form) = with_form(request, bounds).await?;
    let form_reason = form.as_ref().and_then(|form| form.reason().ok());
    if let Some(form) = form
        && !form.get(TOKEN).is_some_and(|token| visit.proves(token))
    {
        return Err(refused(
            "form",
            Error::Forbidden("this form belongs to another sign-in; reload the page".to_owned()),
        ));
    }
    if let Some(reason) = form_reason {
        request.extensions_mut().insert(Reason(reason));
    }
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(visit.clone());
    Ok(request)
}

/// Returns the request and, for a change, the fields of its form. A change must come from a page of this origin.
async fn with_form(request: Request, bounds: Bounds) -> Result<(Request, Option<Sent>), Error> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok((request, None));
    }
    if !is_of_this_origin(request.headers()) {
        let detail = "a page from another origin cannot make changes here".to_owned();
        return Err(refused("origin", Error::Forbidden(detail)));
    }
    let (head, body) = request.into_parts();
    let bytes = to_bytes(body, bounds.bytes)
        .await
        .map_err(|_| Error::too_large(bounds.bytes))?;
    // The fields are counted before they are copied.
    if bytes.split(|byte| *byte == b'&').count() > bounds.fields {
        return Err(Error::TooLarge {
            limit: format!("{} fields", bounds.fields),
        });
    }
    let sent = Sent::parse(&bytes);
    let mut request = Request::from_parts(head, axum::body::Body::empty());
    request.extensions_mut().insert(sent.clone());
    Ok((request, Some(sent)))
}

/// Returns whether the browser states that a page of this origin sent the request. Without such a statement it is
/// refused.
fn is_of_this_origin(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &axum::http::HeaderValue| value.to_str().ok())
    };
    match text("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => {
            let origin = text(header::ORIGIN.as_str()).and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(_, authority)| Some(authority) == text(header::HOST.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_this_origin;
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn a_change_comes_from_this_origin_alone() {
        let is_ours = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            is_of_this_origin(&HeaderMap::from_iter(pairs))
        };
        assert!(is_ours(&[("sec-fetch-site", "same-origin")]));
        assert!(is_ours(&[
            ("origin", "http://127.0.0.1:8081"),
            ("host", "127.0.0.1:8081")
        ]));
        for forged in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://a"),
                ("host", "a"),
            ],
            &[
                ("origin", "http://evil.example"),
                ("host", "127.0.0.1:8081"),
            ],
            &[("origin", "null"), ("host", "127.0.0.1:8081")],
            &[("host", "127.0.0.1:8081")],
        ] {
            assert!(!is_ours(forged), "{forged:?}");
        }
    }
}
