//! The current settings, each with the name of its variable, for administrators of all apps; for others, the version
//! and their own session. Settings are changed where the process is started, never here.

mod view;

use super::Screen;
use super::frame::{Frame, PageAddress, shown};
use super::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::resources::about::About;
use api::route::Route;
use axum::extract::State;
use axum::response::Response;
use storage::Role;
use view::SettingsPage;

pub const SCREEN: Screen = Screen {
    name: "Settings",
    path: "/ui/settings",
    icon: "settings",
    key: 's',
    routes,
};

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/settings", show)
            .summary("The version, and for administrators the settings."),
    ]
}

/// `GET /ui/settings`
async fn show(State(edge): State<Shared>, visit: Visit) -> Result<Response, Error> {
    let about = About::of(&edge, visit.sign_in.role, visit.sign_in.app_id);
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Settings".to_owned(),
        api: "/v1/about".to_owned(),
        ..PageAddress::default()
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    shown(&visit, &SettingsPage::new(&frame, &visit, &about), &about)
}
