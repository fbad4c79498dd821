//! Team & keys: current sessions, links for colleagues, and the API keys. Only administrators see it; an administrator
//! of a single app sees and creates only what belongs to that app.

mod forms;
mod view;

use super::Screen;
use super::act::{above, act};
use super::change::Mistakes;
use super::frame::{Frame, PageAddress, shown};
use super::once::ShownOnce;
use super::text::with_query;
use super::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::keys::Caller;
use api::resources::{keys as api_keys, sign_ins};
use api::route::Route;
use axum::extract::State;
use axum::response::Response;
use storage::{Page, Paged, Role};
use view::{KeysPage, PeoplePage};

/// Number of sessions or keys per read.
const READ: i64 = 500;

pub const SCREEN: Screen = Screen {
    name: "Team & keys",
    path: "/ui/team",
    icon: "team",
    key: 't',
    routes,
};

/// The path of the list of keys.
const KEYS: &str = "/ui/team/keys";

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Admin, "GET", "/ui/team", people)
            .summary("Who is signed in to the page."),
        Route::page(
            Role::Admin,
            "POST",
            "/ui/team",
            act(sign_ins::link, people).shown_once(),
        )
        .twin("POST /v1/sign-in-links")
        .summary("Invites a person; the only page with the link."),
        Route::page(
            Role::Admin,
            "POST",
            "/ui/team/sign-ins/{sign_in_id}/end",
            act(sign_ins::finish, people).then(|visit, _| above(visit, 3)),
        )
        .twin("DELETE /v1/sign-ins/{sign_in_id}")
        .summary("Signs a person out."),
        Route::page(Role::Admin, "GET", "/ui/team/keys", keys).summary("The keys of the API."),
        Route::page(
            Role::Admin,
            "POST",
            "/ui/team/keys",
            act(api_keys::create, keys).shown_once(),
        )
        .twin("POST /v1/keys")
        .summary("Creates a key; the only page with it."),
        Route::page(
            Role::Admin,
            "POST",
            "/ui/team/keys/{key_id}/revoke",
            act(api_keys::revoke, keys).then(|visit, _| above(visit, 2)),
        )
        .twin("DELETE /v1/keys/{key_id}")
        .summary("Revokes a key."),
    ]
}

/// `GET /ui/team`
async fn people(
    State(edge): State<Shared>,
    visit: Visit,
    caller: Caller,
    mistakes: Mistakes,
    once: ShownOnce,
) -> Result<Response, Error> {
    let app = caller.app(&edge, visit.app).await?;
    let found = whole(|page| sign_ins::of_app(&edge, app, page)).await?;
    let current = sign_ins::holding(&edge, &found.items, visit.now).await?;
    let place = place(&visit, SCREEN.path, &mistakes, &once);
    let frame = Frame::of(&edge, &visit, place).await?;
    let page = PeoplePage::new(
        &frame,
        &visit,
        current,
        edge.pages.sign_in_lifetime,
        mistakes,
        &once,
    );
    shown(&visit, &page, &found)
}

/// `GET /ui/team/keys`
async fn keys(
    State(edge): State<Shared>,
    visit: Visit,
    caller: Caller,
    mistakes: Mistakes,
    once: ShownOnce,
) -> Result<Response, Error> {
    let app = caller.app(&edge, visit.app).await?;
    let found = whole(|page| api_keys::of_app(&edge, app, page)).await?;
    let place = place(&visit, KEYS, &mistakes, &once);
    let frame = Frame::of(&edge, &visit, place).await?;
    let page = KeysPage::new(&frame, &visit, &found.items, mistakes, &once);
    shown(&visit, &page, &found)
}

/// Returns all items of a list.
async fn whole<T, F>(read: impl Fn(Page) -> F) -> Result<Paged<T>, Error>
where
    F: Future<Output = Result<Paged<T>, Error>>,
{
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let found = read(Page {
            cursor,
            limit: READ,
        })
        .await?;
        items.extend(found.items);
        cursor = found.next_cursor;
        if cursor.is_none() {
            return Ok(Paged {
                items,
                next_cursor: None,
            });
        }
    }
}

fn place(visit: &Visit, path: &str, mistakes: &Mistakes, once: &ShownOnce) -> PageAddress {
    let (title, api, command) = match path {
        KEYS => ("API keys", "/v1/keys", "settle key list"),
        _ => ("Team", "/v1/sign-ins", "settle sign-in list"),
    };
    let app = visit.app.map(|app| app.to_string()).unwrap_or_default();
    PageAddress {
        screen: SCREEN.path,
        title: title.to_owned(),
        api: with_query(api, &[("app_id", &app)]),
        command: if app.is_empty() {
            command.to_owned()
        } else {
            format!("{command} --app {app}")
        },
        is_answer: mistakes.is_answer() || once.is_answer(),
    }
}
