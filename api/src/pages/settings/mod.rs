//! The settings as they are, each with the name of its variable, and who is signed in. Settings are changed where the
//! process is started, never here.

mod view;

use super::Screen;
use super::act::{above, act};
use super::change::Mistakes;
use super::frame::{Frame, PageAddress, shown};
use super::visit::Visit;
use crate::edge::Shared;
use crate::error::Error;
use crate::resources::{about, sign_ins};
use crate::route::Route;
use axum::extract::State;
use axum::response::Response;
use storage::{Page, Role};
use view::SettingsPage;

/// Maximum number of sign-ins that are read.
const SIGN_INS: i64 = 500;

pub const SCREEN: Screen = Screen { name: "Settings", path: "/ui/settings", icon: "settings", key: 's', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/settings", show).summary("The settings, and who is signed in."),
        Route::page(
            Role::Admin,
            "POST",
            "/ui/settings/sign-ins/{sign_in_id}/end",
            act(sign_ins::finish, show).then(|visit, _| above(visit, 3)),
        )
        .twin("DELETE /v1/sign-ins/{sign_in_id}")
        .summary("Signs a person out."),
    ]
}

/// `GET /ui/settings`. A sign-in of one app sees no settings of the process.
async fn show(State(edge): State<Shared>, visit: Visit, mistakes: Mistakes) -> Result<Response, Error> {
    let about = about::show(State(Shared::clone(&edge))).await.0;
    let is_admin = visit.sign_in.role >= Role::Admin;
    let sign_ins = if is_admin {
        edge.store.sign_ins(visit.sign_in.app_id, Page { cursor: None, limit: SIGN_INS }).await?.items
    } else {
        Vec::new()
    };
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Settings".to_owned(),
        api: "/v1/about".to_owned(),
        command: "settle sign-in list".to_owned(),
        is_answer: mistakes.is_answer(),
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    let page = SettingsPage::new(&frame, &visit, &about, sign_ins, &mistakes);
    if visit.sign_in.app_id.is_some() {
        return shown(&visit, &page, &serde_json::json!({ "version": about.version }));
    }
    shown(&visit, &page, &about)
}
