//! The settings as they are, each with the name of its variable, for administrators of all apps; for others the version
//! and their own sign-in. Settings are changed where the process is started, never here.

mod view;

use super::Screen;
use super::frame::{Frame, PageAddress, shown};
use super::visit::Visit;
use crate::edge::Shared;
use crate::error::Error;
use crate::resources::about;
use crate::route::Route;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use storage::Role;
use view::SettingsPage;

pub const SCREEN: Screen = Screen { name: "Settings", path: "/ui/settings", icon: "settings", key: 's', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/settings", show)
            .summary("The version, and for administrators the settings."),
    ]
}

/// `GET /ui/settings`
async fn show(State(edge): State<Shared>, visit: Visit) -> Result<Response, Error> {
    let about = about::show(State(Shared::clone(&edge))).await.0;
    let sees_all = visit.sign_in.app_id.is_none() && visit.sign_in.role >= Role::Admin;
    // What others are shown is no answer of the API.
    let api = if sees_all { "/v1/about" } else { "" };
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Settings".to_owned(),
        api: api.to_owned(),
        ..PageAddress::default()
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    if sees_all {
        return shown(&visit, &SettingsPage::new(&frame, &visit, &about, &about.settings), &about);
    }
    shown(&visit, &SettingsPage::new(&frame, &visit, &about, &[]), &json!({ "version": about.version }))
}
