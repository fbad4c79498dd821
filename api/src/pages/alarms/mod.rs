//! Alarms, which need a person, and acts: what persons, keys and scripts changed.

mod view;

use super::Screen;
use super::frame::{Frame, Place, shown};
use super::visit::Visit;
use crate::edge::Shared;
use crate::error::Error;
use crate::keys::Caller;
use crate::routes::Route;
use axum::extract::State;
use axum::response::Response;
use storage::{ActFilter, AlarmFilter, Page, Role};
use view::{ActsPage, AlarmsPage};

/// Number of alarms or acts on a page.
const SHOWN: i64 = 50;

/// The screen.
pub const SCREEN: Screen = Screen { name: "Alarms and acts", path: "/ui/alarms", icon: "alarms", key: 'a', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/alarms", alarms).summary("What needs a person's attention."),
        Route::page(Role::Read, "GET", "/ui/acts", acts).summary("What persons, keys and scripts changed."),
    ]
}

/// `GET /ui/alarms`
async fn alarms(State(edge): State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    let app = caller.app(&edge, visit.app).await?;
    let filter = AlarmFilter { app_id: app, ..AlarmFilter::default() };
    let found = edge.store.alarms_of(filter, Page { cursor: visit.query("cursor"), limit: SHOWN }).await?;
    let place = Place {
        screen: SCREEN.path,
        title: "Alarms".to_owned(),
        api: "/v1/alarms".to_owned(),
        command: "settle alarm list".to_owned(),
        ..Place::default()
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    shown(&visit, &AlarmsPage::new((&frame, &visit), &found), &found)
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
