//! The settings as they are, each with the name of its variable, and who is signed in. Settings are changed where the
//! process is started, never here.

mod view;

use super::Screen;
use super::form::Sent;
use super::frame::{Frame, PageAddress, shown};
use super::visit::Visit;
use crate::edge::Shared;
use crate::error::{Error, Field};
use crate::extract::Id;
use crate::keys::Acting;
use crate::resources::{about, sessions};
use crate::routes::Route;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::SignInId;
use storage::{Page, Role};
use view::{Refusal, SettingsPage};

/// Maximum number of sessions that are read.
const SESSIONS: i64 = 500;

pub const SCREEN: Screen = Screen { name: "Settings", path: "/ui/settings", icon: "settings", key: 's', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/settings", show).summary("The settings, and who is signed in."),
        Route::page(Role::Admin, "POST", "/ui/settings/sessions/{session_id}/end", finish)
            .twin("DELETE /v1/sessions/{session_id}")
            .summary("Signs a person out."),
    ]
}

/// `GET /ui/settings`. A session of one app sees no settings of the process.
async fn show(State(edge): State<Shared>, visit: Visit) -> Result<Response, Error> {
    page(&edge, &visit, None).await
}

async fn page(edge: &Shared, visit: &Visit, refused: Option<Refusal>) -> Result<Response, Error> {
    let about = about::show(State(Shared::clone(edge))).await.0;
    let is_admin = visit.session.role >= Role::Admin;
    let sessions = if is_admin {
        edge.store.sessions(visit.session.app_id, Page { cursor: None, limit: SESSIONS }).await?.items
    } else {
        Vec::new()
    };
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Settings".to_owned(),
        api: "/v1/about".to_owned(),
        command: "settle session list".to_owned(),
        is_answer: refused.is_some(),
    };
    let frame = Frame::of(edge, visit, place).await?;
    let page = SettingsPage::new(&frame, visit, &about, sessions, refused);
    if visit.session.app_id.is_some() {
        return shown(visit, &page, &serde_json::json!({ "version": about.version }));
    }
    shown(visit, &page, &about)
}

/// `POST /ui/settings/sessions/{session_id}/end`
async fn finish(edge: Acting, visit: Visit, sent: Sent, Id(id): Id<SignInId>) -> Result<Response, Error> {
    let reason = match sent.reason() {
        Ok(reason) => reason,
        Err(Field { expected, .. }) => {
            let entered = sent.get("reason").unwrap_or_default().to_owned();
            let page = page(&edge, &visit, Some(Refusal { session: id, expected, entered })).await?;
            return Ok((StatusCode::BAD_REQUEST, page).into_response());
        }
    };
    let _ = sessions::finish(edge.named(None, Some(reason)), Id(id)).await?;
    Ok(Redirect::to(&visit.to("/ui/settings")).into_response())
}
