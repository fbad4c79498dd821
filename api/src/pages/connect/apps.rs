//! The first two steps: an app, and the app on a store.

use super::listed::{AppCard, AppPage, ListPage, PlatformPage, PlatformRow};
use super::progress::{Facts, Receivers};
use super::{SCREEN, of_app};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Body, Query, Stored, checked};
use crate::keys::{Acting, Caller};
use crate::pages::change::{Refused, reasoned, texts};
use crate::pages::described::{Entered, Known, creation, groups};
use crate::pages::form::{Sent, TOKEN};
use crate::pages::frame::{Frame, Place, html, shown};
use crate::pages::visit::Visit;
use crate::resources::apps::{self, NewApp};
use crate::resources::forms::{Form, of_stores};
use crate::resources::platforms::{self, NewPlatform};
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use storage::{App, Page, Paged};

/// Maximum number of apps on a page.
const APPS: i64 = 20;
/// Maximum number of platforms of an app that are shown.
const PLATFORMS: i64 = 50;

/// `GET /ui/connect`
pub async fn list(State(edge): State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    list_page(&edge, (&visit, &caller), (&Sent::default(), &Refused::default())).await
}

async fn list_page(
    edge: &Edge,
    (visit, caller): (&Visit, &Caller),
    (sent, refused): (&Sent, &Refused),
) -> Result<Response, Error> {
    let is_answer = sent.get(TOKEN).is_some();
    let found = match caller.app(edge, visit.app).await? {
        Some(app) => Paged { items: vec![edge.store.app(app).await?], next_cursor: None },
        None => edge.store.apps(Page { cursor: visit.query("cursor"), limit: APPS }).await?,
    };
    let mut cards = Vec::new();
    for app in &found.items {
        let receivers = Receivers::of(edge, app.id).await?;
        cards.push(AppCard::new((visit, app), rows(edge, (visit, app), &receivers).await?));
    }
    let place = Place {
        screen: SCREEN.path,
        title: "Connect".to_owned(),
        api: "/v1/apps".to_owned(),
        command: "settle app list".to_owned(),
        is_answer,
    };
    let frame = Frame::of(edge, visit, place).await?;
    let page = ListPage::new((&frame, visit), (cards, found.next_cursor.as_deref()), (sent, refused));
    shown(visit, &page, &found)
}

/// The platforms of an app, with how far each is connected.
async fn rows(edge: &Edge, (visit, app): (&Visit, &App), receivers: &Receivers) -> Result<Vec<PlatformRow>, Error> {
    let platforms = edge.store.platforms(app.id, Page { cursor: None, limit: PLATFORMS }).await?.items;
    let mut rows = Vec::new();
    for platform in platforms {
        let facts = Facts::of(edge, &platform, receivers.clone()).await?;
        rows.push(PlatformRow::new(visit, &platform, &facts));
    }
    Ok(rows)
}

/// `POST /ui/connect`
pub async fn create(
    edge: Acting,
    State(shared): State<Shared>,
    (visit, caller, sent): (Visit, Caller, Sent),
) -> Result<Response, Error> {
    let draft = reasoned::<NewApp>(&sent, texts(&sent, &["name"]));
    let result = match draft.and_then(|draft| draft.finish()) {
        Ok(_) if caller.app.is_some() => {
            Err(Error::Forbidden("this concerns all apps, and the session is of one".to_owned()))
        }
        Ok(new) => apps::create(edge, Body(new)).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(created) => {
            let id = created.0.id;
            Ok(Redirect::to(&of_app(&visit, id, &format!("/ui/connect/apps/{id}"))).into_response())
        }
        Err(error) => {
            let refused = Refused::of(error)?;
            let page = list_page(&shared, (&visit, &caller), (&sent, &refused)).await?;
            Ok((refused.status, page).into_response())
        }
    }
}

/// `GET /ui/connect/apps/{app_id}`
pub async fn show(
    State(edge): State<Shared>,
    (visit, caller): (Visit, Caller),
    Stored(app): Stored<App>,
) -> Result<Response, Error> {
    let first = Query(checked(serde_json::Map::new())?);
    let listed = platforms::list(State(edge.clone()), caller, Stored(app.clone()), first).await?.0;
    let receivers = Receivers::of(&edge, app.id).await?;
    let rows = rows(&edge, (&visit, &app), &receivers).await?;
    let place = Place {
        screen: SCREEN.path,
        title: format!("Connect {}", app.name),
        api: format!("/v1/apps/{}/platforms", app.id),
        command: format!("settle platform list --app {}", app.id),
        ..Place::default()
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    let page = AppPage::new((&frame, &visit), &app, (rows, &receivers.destinations));
    shown(&visit, &page, &listed)
}

/// `GET /ui/connect/apps/{app_id}/platforms/new`
pub async fn new_platform(
    State(edge): State<Shared>,
    visit: Visit,
    Stored(app): Stored<App>,
) -> Result<Response, Error> {
    let forms = of_stores();
    let chosen = visit.query("store");
    let form = chosen.and_then(|name| forms.iter().find(|form| form.name == name)).or_else(|| only(&forms));
    let groups = form.map(|form| groups(form, Entered::New, &Known::default()));
    let frame = Frame::of(&edge, &visit, place_of_new(&app)).await?;
    let page = PlatformPage::new((&frame, &visit), &app, (&forms, form)).with(groups.unwrap_or_default());
    html(&page)
}

/// The only form, where there is no choice.
fn only(forms: &[Form]) -> Option<&Form> {
    match forms {
        [form] => Some(form),
        _ => None,
    }
}

fn place_of_new(app: &App) -> Place {
    Place {
        screen: SCREEN.path,
        title: format!("Connect {} to a store", app.name),
        api: format!("/v1/apps/{}/platforms", app.id),
        command: format!("settle platform create --app {} --help", app.id),
        is_answer: true,
    }
}

/// `POST /ui/connect/apps/{app_id}/platforms/new`
pub async fn create_platform(
    edge: Acting,
    State(shared): State<Shared>,
    (visit, sent): (Visit, Sent),
    Stored(app): Stored<App>,
) -> Result<Response, Error> {
    let forms = of_stores();
    let form = sent.get("store").and_then(|name| forms.iter().find(|form| form.name == name));
    let mut body = form.map(|form| creation(form, &sent)).unwrap_or_default();
    if let Some(form) = form {
        body.insert("store".to_owned(), form.name.into());
    }
    let result = match reasoned::<NewPlatform>(&sent, body) {
        Ok(draft) => platforms::create(edge, Stored(app.clone()), draft).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(created) => {
            let path = format!("/ui/connect/platforms/{}", created.0.id);
            Ok(Redirect::to(&of_app(&visit, app.id, &path)).into_response())
        }
        Err(error) => {
            let refused = Refused::of(error)?;
            let entered = Entered::Sent(&sent, &refused.fields);
            let groups = form.map(|form| groups(form, entered, &Known::default())).unwrap_or_default();
            let frame = Frame::of(&shared, &visit, place_of_new(&app)).await?;
            let page = PlatformPage::new((&frame, &visit), &app, (&forms, form)).with(groups).refused(&sent, &refused);
            Ok((refused.status, html(&page)?).into_response())
        }
    }
}
