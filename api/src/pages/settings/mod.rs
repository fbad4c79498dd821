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
use crate::resources::{about, sign_ins};
use crate::route::Route;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::SignInId;
use storage::{Page, Role};
use view::{Refusal, SettingsPage};

/// Maximum number of sign-ins that are read.
const SIGN_INS: i64 = 500;

pub const SCREEN: Screen = Screen { name: "Settings", path: "/ui/settings", icon: "settings", key: 's', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/settings", show).summary("The settings, and who is signed in."),
        Route::page(Role::Admin, "POST", "/ui/settings/sign-ins/{sign_in_id}/end", finish)
            .twin("DELETE /v1/sign-ins/{sign_in_id}")
            .summary("Signs a person out."),
    ]
}

/// `GET /ui/settings`. A sign-in of one app sees no settings of the process.
async fn show(State(edge): State<Shared>, visit: Visit) -> Result<Response, Error> {
    page(&edge, &visit, None).await
}

async fn page(edge: &Shared, visit: &Visit, refused: Option<Refusal>) -> Result<Response, Error> {
    let about = about::show(State(Shared::clone(edge))).await.0;
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
        is_answer: refused.is_some(),
    };
    let frame = Frame::of(edge, visit, place).await?;
    let page = SettingsPage::new(&frame, visit, &about, sign_ins, refused);
    if visit.sign_in.app_id.is_some() {
        return shown(visit, &page, &serde_json::json!({ "version": about.version }));
    }
    shown(visit, &page, &about)
}

/// `POST /ui/settings/sign-ins/{sign_in_id}/end`
async fn finish(edge: Acting, visit: Visit, sent: Sent, Id(id): Id<SignInId>) -> Result<Response, Error> {
    let reason = match sent.reason() {
        Ok(reason) => reason,
        Err(Field { expected, .. }) => {
            let entered = sent.get("reason").unwrap_or_default().to_owned();
            let page = page(&edge, &visit, Some(Refusal { sign_in: id, expected, entered })).await?;
            return Ok((StatusCode::BAD_REQUEST, page).into_response());
        }
    };
    let _ = sign_ins::finish(edge.named(None, Some(reason)), Id(id)).await?;
    Ok(Redirect::to(&visit.to("/ui/settings")).into_response())
}
