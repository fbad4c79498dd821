//! The first two steps of connecting: an app, and its platform on a store.

use super::listed::{AppCard, AppPage, CONFIRMATION, Connecting, ListPage, PlatformPage};
use super::steps::At;
use super::{SCREEN, of_app};
use crate::change::{Mistakes, Refused, reasoned};
use crate::described::{Entered, Known, creation, groups};
use crate::form::Sent;
use crate::frame::{Frame, PageAddress, html, json, shown};
use crate::visit::Visit;
use api::edge::{Edge, Shared};
use api::error::Error;
use api::extract::{Query, Stored, checked};
use api::keys::Acting;
use api::resources::forms::{Form, of_stores};
use api::resources::platforms::{self, NewPlatform};
use api::resources::{apps, connections, destinations};
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::AppId;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use storage::{App, Page, Platform};

/// Maximum number of apps on a page.
const APPS: i64 = 20;
/// Maximum number of platforms of each app in the list of apps.
const PLATFORMS: usize = 10;
/// Maximum number of platforms and of destinations on the page of one app.
const OF_APP: i64 = 50;

/// `GET /ui/connect`
pub async fn list((State(edge), visit, caller): At, mistakes: Mistakes) -> Result<Response, Error> {
    let (edge, visit) = (&edge, &visit);
    let page = Page {
        cursor: visit.query("cursor"),
        limit: APPS,
    };
    let only = caller.app(edge, visit.app).await?;
    let found = apps::reached(edge, only, page).await?;
    let cards = cards(edge, visit, &found.items).await?;
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Connect".to_owned(),
        api: "/v1/apps".to_owned(),
        command: "settle app list".to_owned(),
        is_answer: mistakes.is_answer(),
    };
    let frame = Frame::of(edge, visit, place).await?;
    let page = ListPage::new(
        &frame,
        visit,
        cards,
        found.next_cursor.as_deref(),
        &mistakes,
    );
    shown(visit, &page, &found)
}

/// Returns the apps, with the connection progress of each app's first platforms.
async fn cards(edge: &Edge, visit: &Visit, apps: &[App]) -> Result<Vec<AppCard>, Error> {
    let ids: Vec<AppId> = apps.iter().map(|app| app.id).collect();
    let most = i64::try_from(PLATFORMS)
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let platforms = platforms::of_apps(edge, ids, most).await?;
    let mut of_apps: BTreeMap<AppId, Vec<Connecting>> = BTreeMap::new();
    for one in connecting(edge, platforms).await? {
        of_apps.entry(one.platform.app_id).or_default().push(one);
    }
    let card = |app: &App| {
        let mut all = of_apps.remove(&app.id).unwrap_or_default();
        let has_more = all.len() > PLATFORMS;
        all.truncate(PLATFORMS);
        AppCard::new(visit, app, &all, has_more)
    };
    Ok(apps.iter().map(card).collect())
}

/// Returns the platforms, with the connection progress of each.
async fn connecting(edge: &Edge, platforms: Vec<Platform>) -> Result<Vec<Connecting>, Error> {
    let found = connections::of_platforms(edge, platforms).await?;
    Ok(found.into_iter().map(Connecting::from).collect())
}

/// Refuses to create an app in a session that is limited to one app.
pub fn refuse_sign_in_of_app(
    _: &Shared,
    visit: &Visit,
    _: &Sent,
    _: &mut Map<String, Value>,
) -> Result<(), Error> {
    match visit.sign_in.app_id {
        Some(_) => Err(Error::Forbidden(
            "this affects all apps, but your sign-in is limited to one".to_owned(),
        )),
        None => Ok(()),
    }
}

/// `GET /ui/connect/apps/{app_id}`
pub async fn show(
    (State(edge), visit, caller): At,
    Stored(app): Stored<App>,
) -> Result<Response, Error> {
    if visit.is_json {
        let cursor = visit
            .query("cursor")
            .map(|cursor| ("cursor".to_owned(), cursor.into()));
        let page = Query(checked(cursor.into_iter().collect())?);
        return json(
            &platforms::list(State(edge), caller, Stored(app), page)
                .await?
                .0,
        );
    }
    let page = |cursor| Page {
        cursor,
        limit: OF_APP,
    };
    let platforms = platforms::of_app(&edge, app.id, page(visit.query("cursor"))).await?;
    let destinations = destinations::of_app(&edge, app.id, page(None)).await?;
    let all = connecting(&edge, platforms.items).await?;
    let place = PageAddress {
        screen: SCREEN.path,
        title: format!("Connect {}", app.name),
        api: format!("/v1/apps/{}/platforms", app.id),
        command: format!("settle platform list --app {}", app.id),
        ..PageAddress::default()
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    html(&AppPage::new(
        &frame,
        &visit,
        &app,
        &all,
        platforms.next_cursor.as_deref(),
        &destinations,
    ))
}

/// `GET /ui/connect/apps/{app_id}/platforms/new`
pub async fn new_platform(
    (State(edge), visit, _): At,
    Stored(app): Stored<App>,
) -> Result<Response, Error> {
    let forms = of_stores(&edge.known);
    let chosen = visit.query("store");
    let form = chosen
        .and_then(|name| forms.iter().find(|form| form.name == name))
        .or_else(|| only(&forms));
    let groups = form.map(|form| groups(form, Entered::New, &Known::default()));
    let needs_confirmation = needs_confirmation(&edge, form).await?;
    let frame = Frame::of(&edge, &visit, place_of_new(&app)).await?;
    let page = PlatformPage::new(&frame, &visit, &app, &forms, form)
        .with(groups.unwrap_or_default(), needs_confirmation);
    html(&page)
}

/// Returns whether a visitor must confirm that no process is running that does not know the form's store.
async fn needs_confirmation(edge: &Edge, form: Option<&Form>) -> Result<bool, Error> {
    match form {
        Some(form) => platforms::needs_confirmation(edge, form.name).await,
        None => Ok(false),
    }
}

/// Returns the form, if there is only one.
fn only(forms: &[Form]) -> Option<&Form> {
    match forms {
        [form] => Some(form),
        _ => None,
    }
}

fn place_of_new(app: &App) -> PageAddress {
    PageAddress {
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
    (State(shared), visit, _): At,
    sent: Sent,
    Stored(app): Stored<App>,
) -> Result<Response, Error> {
    let forms = of_stores(&shared.known);
    let form = sent
        .get("store")
        .and_then(|name| forms.iter().find(|form| form.name == name));
    let mut body = form.map(|form| creation(form, &sent)).unwrap_or_default();
    if let Some(form) = form {
        body.insert("store".to_owned(), form.name.into());
    }
    if sent.get(CONFIRMATION) == Some("true") {
        body.insert(CONFIRMATION.to_owned(), true.into());
    }
    let result = async {
        platforms::create(
            edge,
            Stored(app.clone()),
            reasoned::<NewPlatform>(&sent, body)?,
        )
        .await
    }
    .await;
    match result {
        Ok(created) => {
            let path = format!("/ui/connect/platforms/{}", created.0.id);
            Ok(Redirect::to(&of_app(&visit, app.id, &path)).into_response())
        }
        Err(error) => {
            let refused = Refused::of(error)?;
            let entered = Entered::Sent(&sent, &refused.fields);
            let groups = form
                .map(|form| groups(form, entered, &Known::default()))
                .unwrap_or_default();
            let frame = Frame::of(&shared, &visit, place_of_new(&app)).await?;
            let needs_confirmation = needs_confirmation(&shared, form).await?;
            let page = PlatformPage::new(&frame, &visit, &app, &forms, form)
                .with(groups, needs_confirmation)
                .refused(&sent, &refused);
            Ok((refused.status, html(&page)?).into_response())
        }
    }
}
