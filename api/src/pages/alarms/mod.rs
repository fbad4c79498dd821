//! Alarms, which need a person's attention, and the audit log, which lists changes by people, keys and scripts.

mod about;
pub mod list;
mod text;
mod view;

pub use about::{About, customers, missing_product};
pub use text::AlarmText;

use super::Screen;
use super::act::{above, act};
use super::change::Mistakes;
use super::form::Sent;
use super::frame::{Frame, PageAddress, shown};
use super::lists;
use super::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::Id;
use api::keys::Caller;
use api::resources::{alarms as resources, audit_log as entries};
use api::route::Route;
use axum::extract::State;
use axum::response::Response;
use domain::AlarmId;
use serde_json::{Map, Value};
use storage::{AlarmFilter, Page, Role};
use view::AlarmsPage;

/// Maximum number of alarms on a page.
const SHOWN: i64 = 50;

pub const SCREEN: Screen = Screen {
    name: "Alarms and audit log",
    path: "/ui/alarms",
    icon: "alarms",
    key: 'a',
    routes,
};

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/alarms", alarms)
            .summary("What needs a person's attention."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/alarms/{alarm_id}/acknowledge",
            act(resources::acknowledge, alarms)
                .body(set_note)
                .then(|visit, _| above(visit, 2)),
        )
        .twin("POST /v1/alarms/{alarm_id}/acknowledge")
        .summary("Notes that a person knows of an alarm."),
        Route::page(Role::Read, "GET", "/ui/audit-log", audit_log)
            .summary("What persons, keys and scripts changed."),
    ]
}

/// `GET /ui/alarms`: open alarms, or all alarms with `?which=all`.
async fn alarms(
    State(edge): State<Shared>,
    visit: Visit,
    caller: Caller,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let is_all = visit.query("which").as_deref() == Some("all");
    let filter = AlarmFilter {
        app_id: caller.app(&edge, visit.app).await?,
        open: (!is_all).then_some(true),
        ..AlarmFilter::default()
    };
    let page = Page {
        cursor: visit.query("cursor"),
        limit: SHOWN,
    };
    let mut found = resources::chosen(&edge, filter, page).await?;
    // The alarm whose form was refused is always shown, even if the list no longer contains it.
    let wrong = mistakes
        .path
        .split('/')
        .find_map(|part| part.parse::<AlarmId>().ok());
    if let Some(wrong) = wrong.filter(|wrong| !found.items.iter().any(|one| one.id == *wrong)) {
        let wrong = resources::show(State(edge.clone()), Id(wrong)).await?.0;
        found.items.insert(0, wrong);
    }
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Alarms".to_owned(),
        api: if is_all {
            "/v1/alarms".to_owned()
        } else {
            "/v1/alarms?open=true".to_owned()
        },
        command: if is_all {
            "settle alarm list".to_owned()
        } else {
            "settle alarm list --open".to_owned()
        },
        is_answer: mistakes.is_answer(),
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    shown(
        &visit,
        &AlarmsPage::new(&frame, &visit, &found, is_all, &mistakes),
        &found,
    )
}

/// Sets the note to the text entered about the alarm.
fn set_note(
    _: &Shared,
    _: &Visit,
    sent: &Sent,
    body: &mut Map<String, Value>,
) -> Result<(), Error> {
    body.extend(
        sent.get("reason")
            .map(|note| ("note".to_owned(), note.into())),
    );
    Ok(())
}

/// `GET /ui/audit-log`
async fn audit_log(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    lists::show(list::audit_log(&visit), state, visit, caller, entries::list).await
}
