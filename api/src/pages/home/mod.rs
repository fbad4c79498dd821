//! The home page: the overall state in one sentence and a few numbers and, until all of them are done, the first steps
//! with settle.

mod headline;
mod view;

use super::Screen;
use super::frame::{Frame, PageAddress, shown};
use super::recent::Recent;
use super::visit::Visit;
use api::edge::{Edge, Shared};
use api::error::Error;
use api::keys::Caller;
use api::resources::first_steps::FirstSteps;
use api::resources::health::EngineHealth;
use api::resources::series::{self, LastHour};
use api::resources::{alarms, overview};
use api::route::Route;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use domain::AppId;
use std::sync::Arc;
use storage::{Alarm, AlarmFilter, Overview, Page, Role, Series};
use view::{EngineUse, HomePage, Hour, Requests};

/// Maximum number of alarms that are shown.
const ALARMS: i64 = 5;
/// Maximum number of destinations with a small chart.
const BARS: usize = 12;
/// Series in the charts of the last hour.
const CHARTED: [Series; 6] = [
    Series::Accepted,
    Series::Refused,
    Series::Lag,
    Series::Delivered,
    Series::Failed,
    Series::Latency,
];

pub const SCREEN: Screen = Screen {
    name: "Home",
    path: "/ui/",
    icon: "home",
    key: 'h',
    routes,
};

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/", show).summary("Show the overview."),
        Route::page(Role::Read, "GET", "/ui/live", api::resources::live::show)
            .summary("Stream the things that change."),
    ]
}

/// Status of an app, or of all apps that a session may see. All visitors with the same access share it.
#[derive(Debug)]
pub struct AppStatus {
    found: Overview,
    alarms: Vec<Alarm>,
    health: EngineHealth,
    steps: Option<FirstSteps>,
    hour: Hour,
    /// `None` unless the visitor sees all apps.
    engine_use: Option<EngineUse>,
}

/// The status of each app, and of all apps together, for all visitors. The router passes it as an extension.
pub type AppStatuses = Arc<Recent<Option<AppId>, AppStatus>>;

/// `GET /ui/`
async fn show(
    State(edge): State<Shared>,
    Extension(known): Extension<AppStatuses>,
    visit: Visit,
    caller: Caller,
) -> Result<Response, Error> {
    let app = caller.app(&edge, visit.app).await?;
    let changed_at = || edge.pages.live.changed_at();
    let read = async || Ok::<_, Error>((visit.marks.clone(), status(&edge, app).await?));
    let found = known.of(app, changed_at, read).await?;
    let query = app.map_or_else(String::new, |app| format!("?app_id={app}"));
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Home".to_owned(),
        api: format!("/v1/overview{query}"),
        command: "settle status".to_owned(),
        ..PageAddress::default()
    };
    // The marks are those of the shared status, so that the page is also notified of changes since that status was
    // read.
    let frame = Frame {
        marks: found.marks.clone(),
        ..Frame::of(&edge, &visit, place).await?
    };
    shown(
        &visit,
        &HomePage::new(&frame, &visit, &found.value),
        &found.value.found,
    )
}

async fn status(edge: &Edge, app: Option<AppId>) -> Result<AppStatus, Error> {
    let found = overview::of(edge, app).await?;
    let raised = AlarmFilter {
        app_id: app,
        open: Some(true),
        ..AlarmFilter::default()
    };
    let page = Page {
        cursor: None,
        limit: ALARMS,
    };
    let alarms = alarms::chosen(edge, raised, page).await?.items;
    let health = EngineHealth::read(edge).await?;
    let steps = FirstSteps::left(edge, &found, app).await?;
    let hour = hour(edge, &found, app).await?;
    let engine_use = if app.is_none() {
        let actions = series::actions_of_day(edge).await?;
        Some(EngineUse { actions })
    } else {
        None
    };
    Ok(AppStatus {
        found,
        alarms,
        health,
        steps,
        hour,
        engine_use,
    })
}

/// Returns the counts of the last hour.
async fn hour(edge: &Edge, found: &Overview, app: Option<AppId>) -> Result<Hour, Error> {
    let ids: Vec<_> = found
        .destinations
        .iter()
        .take(BARS)
        .map(|one| one.destination.id)
        .collect();
    let all = LastHour::of(edge, &CHARTED, app, Vec::new()).await?;
    let each = LastHour::of(edge, &CHARTED, app, ids.clone()).await?;
    let requests = |hour: &LastHour, id| Requests {
        delivered: hour.points(Series::Delivered, id),
        failed: hour.points(Series::Failed, id),
        latency: hour.points(Series::Latency, id),
    };
    Ok(Hour {
        accepted: all.points(Series::Accepted, None),
        refused: all.points(Series::Refused, None),
        lag: all.points(Series::Lag, None),
        destinations: ids
            .into_iter()
            .map(|id| requests(&each, Some(id)))
            .collect(),
        all: requests(&all, None),
    })
}
