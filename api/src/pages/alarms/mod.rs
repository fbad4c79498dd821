//! Alarms, which need a person, and acts: what persons, keys and scripts changed.

mod view;

use super::Screen;
use super::form::Sent;
use super::frame::{Frame, Place, shown};
use super::visit::Visit;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Body, Id, drafted};
use crate::keys::{Acting, Caller};
use crate::resources::alarms as resources;
use crate::routes::Route;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::AlarmId;
use serde_json::Map;
use storage::{ActFilter, AlarmFilter, Page, Role};
use view::{ActsPage, AlarmsPage, Mistake};

/// Number of alarms or acts on a page.
const SHOWN: i64 = 50;

/// The screen.
pub const SCREEN: Screen = Screen { name: "Alarms and acts", path: "/ui/alarms", icon: "alarms", key: 'a', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/alarms", alarms).summary("What needs a person's attention."),
        Route::page(Role::Support, "POST", "/ui/alarms/{alarm_id}/acknowledge", acknowledge)
            .twin("POST /v1/alarms/{alarm_id}/acknowledge")
            .summary("Notes that a person knows of an alarm."),
        Route::page(Role::Read, "GET", "/ui/acts", acts).summary("What persons, keys and scripts changed."),
    ]
}

/// `GET /ui/alarms`: those that nobody acknowledged, or all with `?which=all`.
async fn alarms(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    page(&state, &visit, (caller, Mistake::default())).await
}

async fn page(
    State(edge): &State<Shared>,
    visit: &Visit,
    (caller, mistake): (Caller, Mistake),
) -> Result<Response, Error> {
    let is_all = visit.query("which").as_deref() == Some("all");
    let filter = AlarmFilter {
        app_id: caller.app(edge, visit.app).await?,
        open: (!is_all).then_some(true),
        ..AlarmFilter::default()
    };
    let found = edge.store.alarms_of(filter, Page { cursor: visit.query("cursor"), limit: SHOWN }).await?;
    let place = Place {
        screen: SCREEN.path,
        title: "Alarms".to_owned(),
        api: if is_all { "/v1/alarms".to_owned() } else { "/v1/alarms?open=true".to_owned() },
        command: "settle alarm list".to_owned(),
        is_answer: mistake.alarm.is_some(),
    };
    let frame = Frame::of(edge, visit, place).await?;
    shown(visit, &AlarmsPage::new((&frame, visit), (&found, is_all), mistake), &found)
}

/// `POST /ui/alarms/{alarm_id}/acknowledge`
async fn acknowledge(edge: Acting, (visit, sent): (Visit, Sent), Id(id): Id<AlarmId>) -> Result<Response, Error> {
    let note = match sent.reason() {
        Ok(note) => note,
        Err(wrong) => {
            let mistake = Mistake { alarm: Some(id), expected: wrong.expected };
            let state = State(Shared::clone(&edge));
            let page = page(&state, &visit, (edge.caller.clone(), mistake)).await?;
            return Ok((StatusCode::BAD_REQUEST, page).into_response());
        }
    };
    let body = drafted(Map::from_iter([("note".to_owned(), note.into())]))?.finish()?;
    let _ = resources::acknowledge(edge, Id(id), Body(body)).await?;
    Ok(Redirect::to(&visit.to("/ui/alarms")).into_response())
}

/// `GET /ui/acts`
async fn acts(State(edge): State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    let filter = ActFilter {
        app_id: caller.app(&edge, visit.app).await?,
        subject: visit.query("subject"),
        key_id: None,
        operation: visit.query("operation"),
    };
    let found = edge.store.acts(filter.clone(), Page { cursor: visit.query("cursor"), limit: SHOWN }).await?;
    let place = Place {
        screen: SCREEN.path,
        title: "Acts".to_owned(),
        api: "/v1/acts".to_owned(),
        command: "settle acts".to_owned(),
        ..Place::default()
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    shown(&visit, &ActsPage::new((&frame, &visit), &filter, &found), &found)
}
