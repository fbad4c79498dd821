//! Errors as pages.

use super::frame::{Files, Frame, Place, html};
use super::headers;
use super::visit::Visit;
use crate::edge::Shared;
use crate::error::{Error, Problem};
use askama::Template;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

#[derive(Template)]
#[template(path = "failure.html")]
struct Failure<'a> {
    frame: &'a Frame,
    problem: &'a Problem,
}

#[derive(Template)]
#[template(path = "failure_outside.html")]
struct Outside<'a> {
    files: Files,
    problem: &'a Problem,
}

/// The page in the place of an answer that is an error of the API; any other answer stays as it is.
pub async fn shown(edge: &Shared, visit: Option<&Visit>, response: Response) -> Response {
    let Some(problem) = response.extensions().get::<Problem>().cloned() else { return response };
    if visit.is_some_and(|visit| visit.is_json) {
        return response;
    }
    let (status, retry) = (response.status(), response.headers().get(header::RETRY_AFTER).cloned());
    let mut page = rendered(edge, visit, &problem).await.unwrap_or(response);
    *page.status_mut() = status;
    if let Some(retry) = retry {
        page.headers_mut().insert(header::RETRY_AFTER, retry);
    }
    page
}

async fn rendered(edge: &Shared, visit: Option<&Visit>, problem: &Problem) -> Result<Response, Error> {
    let framed = match visit {
        Some(visit) => {
            let place = Place { title: problem.title.to_owned(), ..Place::default() };
            Frame::of(edge, visit, place).await.ok()
        }
        None => None,
    };
    match framed {
        Some(frame) => html(&Failure { frame: &frame, problem }),
        None => html(&Outside { files: Files::all(), problem }),
    }
}

/// The answer for a path that no page has.
pub async fn missing(State(edge): State<Shared>, request: Request) -> Response {
    let visit = Visit::of(&edge, request.headers(), request.uri()).await.ok().flatten();
    let error = Error::Missing("there is no such page".to_owned()).into_response();
    let mut response = shown(&edge, visit.as_ref(), error).await;
    *response.status_mut() = StatusCode::NOT_FOUND;
    headers::dress(response, request.headers(), edge.pages.is_secure).await
}
