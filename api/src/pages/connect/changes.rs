//! The settings and the deletion of a platform. Each change is a call of the API with the reason from its form.

use super::changes_view::SettingsPage;
use super::of_app;
use super::progress::ConnectStep;
use super::steps::{At, Connected, as_api, deletion};
use crate::change::{Mistakes, reasoned};
use crate::described::{Entered, Known, changes, groups, values};
use crate::form::Sent;
use crate::frame::{Frame, PageAddress, shown};
use api::edge::Edge;
use api::error::Error;
use api::extract::{Id, Stored};
use api::keys::Acting;
use api::resources::forms::{Form, of_stores};
use api::resources::platforms::{self, PlatformPatch};
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Map;
use storage::{Platform, Role};

/// The parts of a request that each change needs.
type Parts = (At, Sent);

/// The fields that can be set only when a platform is created.
const FIXED: [&str; 1] = ["store"];

/// Returns the form of a platform's store, with the fields that can be changed.
fn form_of(edge: &Edge, platform: &Platform) -> Option<Form> {
    let mut form = of_stores(&edge.known)
        .into_iter()
        .find(|form| form.name == platform.store)?;
    form.fields.retain(|field| !FIXED.contains(&field.name));
    Some(form)
}

/// `GET /ui/connect/platforms/{platform_id}/settings`: a form for visitors who may change the settings; for others,
/// their values.
pub async fn settings(
    at: At,
    Stored(platform): Stored<Platform>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let (State(edge), visit, _) = &at;
    let value = as_api(&at, &platform).await?;
    let of = Connected::of(edge, platform).await?;
    let known = Known {
        is_change: true,
        ..Known::default()
    };
    let is_answer = mistakes.is_answer();
    let entered = match is_answer {
        true => Entered::Sent(&mistakes.sent, &mistakes.refused.fields),
        false => Entered::Stored(&value),
    };
    let form = form_of(edge, &of.platform);
    let groups = form
        .as_ref()
        .map(|form| groups(form, entered, &known))
        .unwrap_or_default();
    let facts = form.map(|form| values(&form, &value)).unwrap_or_default();
    let place = PageAddress {
        is_answer,
        ..of.place(ConnectStep::Platform, "", "update --help")
    };
    let place = PageAddress {
        command: format!("settle platform show {}", of.platform.id),
        ..place
    };
    let frame = Frame::of(edge, visit, place).await?;
    let page = match frame.may(Role::Operator) {
        true => SettingsPage::new(&frame, visit, &of, &mistakes).with(groups),
        false => SettingsPage::new(&frame, visit, &of, &mistakes).read_only(facts),
    };
    shown(visit, &page, &value)
}

/// `POST /ui/connect/platforms/{platform_id}/settings`
pub async fn update(
    edge: Acting,
    parts: Parts,
    stored: Stored<Platform>,
) -> Result<Response, Error> {
    let (at, sent) = parts;
    let platform = stored.0.clone();
    let result = async {
        let body = match form_of(&edge, &platform) {
            Some(form) => changes(&form, &sent, &as_api(&at, &platform).await?)?,
            None => Map::new(),
        };
        let is_empty = body.is_empty();
        let draft = reasoned::<PlatformPatch>(&sent, body)?;
        if is_empty && sent.reason().is_ok() {
            return Ok("?done=nothing");
        }
        platforms::update(edge, Stored(platform.clone()), draft)
            .await
            .map(|_| "?done=settings")
    };
    match result.await {
        Ok(done) => Ok(back(&at, &platform, done)),
        Err(error) => {
            let mistakes = Mistakes::of(&at.1, sent, error)?;
            let status = mistakes.refused.status;
            Ok((status, settings(at, stored, mistakes).await?).into_response())
        }
    }
}

/// Redirects to the page of the platform whose path ends with `rest`.
fn back((_, visit, _): &At, platform: &Platform, rest: &str) -> Response {
    let path = format!("/ui/connect/platforms/{}{rest}", platform.id);
    Redirect::to(&of_app(visit, platform.app_id, &path)).into_response()
}

/// `POST /ui/connect/platforms/{platform_id}/delete`: the second step, after the page that explains the consequences.
pub async fn delete(
    edge: Acting,
    (at, sent): Parts,
    stored: Stored<Platform>,
) -> Result<Response, Error> {
    let (id, app) = (stored.0.id, stored.0.app_id);
    let result = async {
        sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]))?;
        platforms::delete(edge, Id(id)).await
    };
    match result.await {
        Ok(_) => {
            let path = format!("/ui/connect/apps/{app}?done=deleted");
            Ok(Redirect::to(&of_app(&at.1, app, &path)).into_response())
        }
        Err(error) => {
            let mistakes = Mistakes::of(&at.1, sent, error)?;
            let status = mistakes.refused.status;
            Ok((status, deletion(at, stored, mistakes).await?).into_response())
        }
    }
}
