//! Shows errors as pages.

use super::frame::{Files, Frame, PageAddress, html};
use super::visit::Visit;
use super::{SCREENS, deliveries, headers};
use api::edge::Shared;
use api::edge::pages::PREFIX;
use api::error::{Error, Problem};
use askama::Template;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

/// The paths of all pages, with parameters.
static PAGES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let all = SCREENS
        .iter()
        .flat_map(|screen| (screen.routes)())
        .chain(deliveries::routes());
    all.filter(|route| route.method == "GET")
        .map(|route| route.path)
        .collect()
});

#[derive(Template)]
#[template(path = "failure.html")]
struct Failure<'a> {
    frame: &'a Frame,
    problem: &'a Problem,
    back: Option<String>,
}

#[derive(Template)]
#[template(path = "failure_outside.html")]
struct Outside<'a> {
    files: Files,
    problem: &'a Problem,
}

/// Converts a response with an error of the API to a page; any other response is unchanged.
pub async fn shown(
    edge: &Shared,
    visit: Option<(&Visit, &Method)>,
    response: Response,
) -> Response {
    let Some(problem) = response.extensions().get::<Problem>().cloned() else {
        return response;
    };
    if visit.is_some_and(|(visit, _)| visit.is_json) {
        return response;
    }
    let (status, retry) = (
        response.status(),
        response.headers().get(header::RETRY_AFTER).cloned(),
    );
    let mut page = rendered(edge, visit, &problem).await.unwrap_or(response);
    *page.status_mut() = status;
    if let Some(retry) = retry {
        page.headers_mut().insert(header::RETRY_AFTER, retry);
    }
    page
}

async fn rendered(
    edge: &Shared,
    visit: Option<(&Visit, &Method)>,
    problem: &Problem,
) -> Result<Response, Error> {
    if let Some((visit, method)) = visit {
        let place = PageAddress {
            title: problem.title.to_owned(),
            ..PageAddress::default()
        };
        if let Ok(frame) = Frame::of(edge, visit, place).await {
            let back = back(method, visit.uri.path()).map(|path| visit.to(path));
            return html(&Failure {
                frame: &frame,
                problem,
                back,
            });
        }
    }
    html(&Outside {
        files: Files::all(),
        problem,
    })
}

/// Returns the nearest page above a path or, for a form, the page at the form's own path; `None` if there is no page.
fn back<'p>(method: &Method, path: &'p str) -> Option<&'p str> {
    let is_page = |path: &str| {
        let fits = |(one, other): (&str, &str)| one.starts_with('{') || one == other;
        let is_of = |page: &str| {
            page.split('/').count() == path.split('/').count()
                && page.split('/').zip(path.split('/')).all(fits)
        };
        PAGES.iter().any(|page| is_of(page))
    };
    let above = path.match_indices('/').map(|(at, _)| &path[..at]).rev();
    let own = (method != Method::GET).then_some(path);
    own.into_iter()
        .chain(above)
        .filter(|path| path.len() > PREFIX.len())
        .find(|path| is_page(path))
}

/// Returns the response for a path without a page.
pub async fn missing(State(edge): State<Shared>, request: Request) -> Response {
    let visit = Visit::of(&edge, request.headers(), request.uri())
        .await
        .ok()
        .flatten();
    let error = Error::Missing("there is no such page".to_owned()).into_response();
    let mut response = shown(
        &edge,
        visit.as_ref().map(|visit| (visit, request.method())),
        error,
    )
    .await;
    *response.status_mut() = StatusCode::NOT_FOUND;
    headers::dress(response, request.headers(), edge.pages.is_secure).await
}

#[cfg(test)]
mod tests {
    use super::back;
    use axum::http::Method;

    #[test]
    fn an_error_leads_back_to_the_page_of_its_thing() {
        for (method, path, page) in [
            (
                Method::POST,
                "/ui/destinations/7/delete",
                Some("/ui/destinations/7"),
            ),
            (
                Method::POST,
                "/ui/destinations/7/settings",
                Some("/ui/destinations/7/settings"),
            ),
            (Method::POST, "/ui/events/7/resend", Some("/ui/events/7")),
            (
                Method::POST,
                "/ui/purchases/7/hold",
                Some("/ui/purchases/7"),
            ),
            (Method::POST, "/ui/connect", Some("/ui/connect")),
            (Method::GET, "/ui/events/7", Some("/ui/events")),
            (Method::GET, "/ui/events", None),
            (Method::GET, "/ui/nothing", None),
        ] {
            assert_eq!(back(&method, path), page, "{method} {path}");
        }
    }
}
