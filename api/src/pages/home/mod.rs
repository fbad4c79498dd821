//! The home page: the overall state, in one sentence and a few numbers; before the first notification, the steps of
//! connecting.

mod headline;
mod view;

use super::Screen;
use super::frame::{Frame, PageAddress, shown};
use super::recent::Recent;
use super::visit::Visit;
use crate::config::Demo;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::keys::Caller;
use crate::resources::series::LastHour;
use crate::route::Route;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use domain::AppId;
use std::sync::Arc;
use storage::{Alarm, AlarmFilter, Overview, Page, Role, Series};
use view::{EngineUse, Health, HomePage, Hour, Requests, Steps};

/// Maximum number of alarms that are shown.
const ALARMS: i64 = 5;
/// Maximum number of destinations with bars.
const BARS: usize = 12;
/// Maximum number of apps whose platforms are looked for.
const APPS: i64 = 20;
/// Series in the charts of the last hour.
const CHARTED: [Series; 6] = [
    Series::Accepted,
    Series::Refused,
    Series::Lag,
    Series::Delivered,
    Series::Failed,
    Series::Latency,
];
/// The time over which the actions of Temporal are counted.
const DAY_MS: i64 = 24 * 3600 * 1000;

pub const SCREEN: Screen = Screen {
    name: "Home",
    path: "/ui/",
    icon: "home",
    key: 'h',
    routes,
};

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/", show).summary("How everything stands."),
        Route::page(Role::Read, "GET", "/ui/live", crate::resources::live::show)
            .summary("Which things change."),
    ]
}

/// Status of an app, or of everything that a sign-in reaches. It is shared by all visitors with the same access.
#[derive(Debug)]
pub struct AppStatus {
    found: Overview,
    alarms: Vec<Alarm>,
    health: Health,
    steps: Option<Steps>,
    hour: Hour,
    /// Only for visitors who see all apps.
    engine_use: Option<EngineUse>,
}

/// The status of each app, and of all of them, for all visitors. The router passes it as an extension.
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
    // A tick is still to come for what changed since it was read.
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
    let found = edge.store.overview(app).await?;
    let raised = AlarmFilter {
        app_id: app,
        open: Some(true),
        ..AlarmFilter::default()
    };
    let alarms = edge
        .store
        .alarms_of(
            raised,
            Page {
                cursor: None,
                limit: ALARMS,
            },
        )
        .await?
        .items;
    let health = Health {
        is_connected: edge.dispatch.engine().is_connected(),
        is_without_worker: edge.workers.are_missing(),
        is_sweep_late: edge.store.last_sweep().await?.is_late(),
    };
    let steps = steps(edge, &found, app).await?;
    let hour = hour(edge, &found, app).await?;
    let engine_use = if app.is_none() {
        Some(engine_use(edge).await?)
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

/// Usage of Temporal in the last day: a row for each minute, since actions belong to no app.
async fn engine_use(edge: &Edge) -> Result<EngineUse, Error> {
    let totals = edge
        .store
        .totals(&[Series::Actions], (edge.clock)().plus_millis(-DAY_MS))
        .await?;
    Ok(EngineUse {
        actions: totals.get(&Series::Actions).copied().unwrap_or_default(),
    })
}

/// Counts of the last hour.
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

/// The steps of connecting that are left; `None` when all are done, and for the demo. What the demo created counts for
/// no step.
async fn steps(edge: &Edge, found: &Overview, app: Option<AppId>) -> Result<Option<Steps>, Error> {
    let apps = match app {
        Some(app) => vec![edge.store.app(app).await?],
        None => {
            edge.store
                .apps(Page {
                    cursor: None,
                    limit: APPS,
                })
                .await?
                .items
        }
    };
    let is_all = found.last_accepted_at.is_some() && !found.destinations.is_empty();
    if is_all && apps.iter().all(|one| one.name != Demo::APP) {
        return Ok(None);
    }
    let (mut own, mut demo, mut has_platform) = (Vec::new(), None, false);
    for one in &apps {
        let platform = edge
            .store
            .platforms(
                one.id,
                Page {
                    cursor: None,
                    limit: 1,
                },
            )
            .await?
            .items
            .pop();
        if one.name == Demo::APP
            && platform
                .as_ref()
                .is_some_and(|it| it.settings.package_name == Demo::PACKAGE_NAME)
        {
            demo = Some(one.id);
        } else {
            own.push(one.id);
            has_platform |= platform.is_some();
        }
    }
    if app.is_some() && demo == app {
        return Ok(None);
    }
    let has_notification = match demo {
        Some(_) => have_notification(edge, &own).await?,
        None => found.last_accepted_at.is_some(),
    };
    let steps = Steps {
        has_app: !own.is_empty(),
        has_platform,
        has_notification,
        has_destination: found
            .destinations
            .iter()
            .any(|one| Some(one.destination.app_id) != demo),
    };
    Ok((!steps.are_done()).then_some(steps))
}

/// Whether a notification to one of these apps was accepted.
async fn have_notification(edge: &Edge, apps: &[AppId]) -> Result<bool, Error> {
    for app in apps {
        if edge
            .store
            .overview(Some(*app))
            .await?
            .last_accepted_at
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}
