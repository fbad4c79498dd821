//! Destinations: the list; the form of a new one, which its kind describes; and one destination with its deliveries,
//! its settings and its resends.

mod actions;
mod detail;
mod head;
pub mod list;
mod one;
mod resend;
mod resend_view;
mod standing;
mod state;
mod view;

pub use head::Head;
pub use state::{StateTimes, lasts_since, state, times};

use super::Screen;
use super::change::{Refused, reasoned};
use super::described::{Entered, Known, creation, groups, wrong_lines};
use super::form::Sent;
use super::frame::{Frame, PageAddress, html, shown};
use super::notice::Notice;
use super::text::with_query;
use super::visit::Visit;
use api::edge::{Edge, Shared};
use api::error::Error;
use api::extract::{Query, Stored};
use api::keys::{Acting, Caller};
use api::resources::forms::{Form, of_destinations};
use api::resources::overview::OfApp;
use api::resources::{apps, destinations, overview, platforms};
use api::route::Route;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::{AppId, DestinationId, PlatformId};
use protocols::destinations::shown_kind;
use serde_json::Value;
use storage::{App, Page, Role};
use view::{Entry, ListPage, NewPage, OncePage, Sheet};

/// Number of platforms that are read per page.
const PLATFORMS: i64 = 1000;

pub const SCREEN: Screen = Screen {
    name: "Destinations",
    path: "/ui/destinations",
    icon: "destinations",
    key: 'd',
    routes,
};

fn routes() -> Vec<Route> {
    let mut all = vec![
        Route::page(Role::Read, "GET", "/ui/destinations", list)
            .summary("Who receives events, and how they stand."),
        Route::page(Role::Operator, "GET", "/ui/destinations/new", new)
            .summary("The form of a new destination."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/apps/{app_id}/destinations",
            create,
        )
        .twin("POST /v1/apps/{app_id}/destinations")
        .summary("Creates a destination; the only page with its secret."),
    ];
    all.extend(one::routes());
    all.extend(actions::routes());
    all.extend(resend::routes());
    all
}

fn form_of(kind: &str) -> Option<Form> {
    of_destinations().into_iter().find(|form| form.name == kind)
}

/// Returns what a form needs besides its description, for an app.
async fn known(edge: &Edge, app: AppId, kind: &str, is_change: bool) -> Result<Known, Error> {
    // All platforms are read: one that is missing here would be shown as deleted if a filter names it.
    let (mut platforms, mut cursor) = (Vec::new(), None);
    loop {
        let page = Page {
            cursor,
            limit: PLATFORMS,
        };
        let found = platforms::of_app(edge, app, page).await?;
        platforms.extend(
            found
                .items
                .into_iter()
                .map(|one| (one.id.to_string(), one.settings.name)),
        );
        cursor = found.next_cursor;
        if cursor.is_none() {
            return Ok(Known {
                platforms,
                allowed: shown_kind(kind).choices(&edge.allowed),
                is_change,
            });
        }
    }
}

/// `GET /ui/destinations`
async fn list(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    let State(edge) = &state;
    let of = Query(OfApp { app_id: visit.app });
    let found = overview::show(State(edge.clone()), caller, of).await?.0;
    let app = visit.app.map(|app| app.to_string());
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Destinations".to_owned(),
        api: with_query(
            "/v1/overview",
            &[("app_id", app.as_deref().unwrap_or_default())],
        ),
        // The command that lists destinations needs an app.
        command: app.map_or_else(
            || "settle status".to_owned(),
            |app| format!("settle destination list --app {app}"),
        ),
        ..PageAddress::default()
    };
    let deleted = deleted(edge, &visit)
        .await?
        .map(|name| Notice::good(format!("{name} was deleted.")));
    let frame = Frame::of(edge, &visit, place).await?.announcing(deleted);
    let page = ListPage::new(&frame, &visit, &found.destinations, &of_destinations());
    shown(&visit, &page, &found)
}

/// Returns the name of the destination that the form on the previous page deleted.
async fn deleted(edge: &Edge, visit: &Visit) -> Result<Option<String>, Error> {
    let Some(id) = visit
        .query("deleted")
        .and_then(|id| id.parse::<DestinationId>().ok())
    else {
        return Ok(None);
    };
    let Some(found) = destinations::once_created(edge, id).await? else {
        return Ok(None);
    };
    let is_here = visit
        .sign_in
        .app_id
        .is_none_or(|own| own == found.destination.app_id);
    Ok(found
        .deleted_at
        .filter(|_| is_here)
        .map(|_| found.destination.common.name))
}

/// `GET /ui/destinations/new`: the form for the kind and the app in the address. If one of them is missing, the choice
/// of it.
async fn new(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    let State(edge) = &state;
    let mut app = caller.app(edge, visit.app).await?;
    if app.is_none() {
        let page = Page {
            cursor: None,
            limit: 2,
        };
        let all = apps::reached(edge, None, page).await?.items;
        app = all.first().filter(|_| all.len() == 1).map(|app| app.id);
    }
    let form = visit.query("kind").and_then(|kind| form_of(&kind));
    let sheet = match (form, app) {
        (Some(form), Some(app)) => {
            let groups = groups(
                &form,
                Entered::New,
                &known(edge, app, form.name, false).await?,
            );
            let path = path_of_new(&visit, app);
            let (reason, mistakes) = (String::new(), Vec::new());
            Entry::Sheet(Sheet {
                groups,
                form,
                path,
                reason,
                mistakes,
                detail: None,
            })
        }
        (Some(form), None) => Entry::App(form),
        (None, _) => Entry::Kind(of_destinations()),
    };
    entry(edge, &visit, sheet).await
}

async fn entry(edge: &Edge, visit: &Visit, entry: Entry) -> Result<Response, Error> {
    let place = PageAddress {
        screen: SCREEN.path,
        title: "New destination".to_owned(),
        api: "/v1/destinations/kinds".to_owned(),
        command: "settle destination create --help".to_owned(),
        is_answer: true,
    };
    let frame = Frame::of(edge, visit, place).await?;
    html(&NewPage::new(&frame, visit, entry))
}

/// Returns the path to which the form of a new destination is sent. It names the platform whose connection led there,
/// if any.
fn path_of_new(visit: &Visit, app: AppId) -> String {
    let platform =
        connected_from(visit).map_or_else(String::new, |id| format!("?platform_id={id}"));
    format!("/ui/apps/{app}/destinations{platform}")
}

/// Returns the platform whose connection led to this page, if any.
fn connected_from(visit: &Visit) -> Option<PlatformId> {
    visit.query("platform_id")?.parse().ok()
}

/// `POST /ui/apps/{app_id}/destinations`
async fn create(
    edge: Acting,
    State(shared): State<Shared>,
    visit: Visit,
    sent: Sent,
    Stored(app): Stored<App>,
) -> Result<Response, Error> {
    let form = sent.get("kind").and_then(form_of);
    let form = form.ok_or_else(|| Error::invalid("kind", "a type of destination"))?;
    let app_id = app.id;
    let mut body = creation(&form, &sent);
    body.insert("kind".to_owned(), Value::from(form.name));
    let result = match reasoned(&sent, body) {
        Ok(mut draft) => {
            if let Some(wrong) = wrong_lines(&form, &sent) {
                draft.wrong.add(&wrong.field, wrong.expected);
            }
            destinations::create(edge, Stored(app), draft).await
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(created) => {
            let page = once(&shared, &visit, &created.0, form).await?;
            Ok((StatusCode::CREATED, page).into_response())
        }
        Err(error) => {
            let Refused {
                status,
                fields: mistakes,
                detail,
            } = Refused::of(error)?;
            let known = known(&shared, app_id, form.name, false).await?;
            let groups = groups(&form, Entered::Sent(&sent, &mistakes), &known);
            let path = path_of_new(&visit, app_id);
            let reason = sent.get("reason").unwrap_or_default().to_owned();
            let sheet = Sheet {
                groups,
                form,
                path,
                reason,
                mistakes,
                detail,
            };
            Ok((status, entry(&shared, &visit, Entry::Sheet(sheet)).await?).into_response())
        }
    }
}

/// Returns the page that shows new secrets, if there are any. It is the response to the form that created them, and no
/// other page shows them.
async fn once(
    edge: &Edge,
    visit: &Visit,
    created: &destinations::CreatedDestination,
    form: Form,
) -> Result<Response, Error> {
    let id = created.id();
    let title = if created.shown_once.is_empty() {
        "Saved"
    } else {
        "Copy what is shown once"
    };
    let place = PageAddress {
        screen: SCREEN.path,
        title: title.to_owned(),
        api: format!("/v1/destinations/{id}"),
        command: format!("settle destination show {id}"),
        is_answer: true,
    };
    let frame = Frame::of(edge, visit, place).await?;
    html(&OncePage::new(&frame, visit, created, form))
}
