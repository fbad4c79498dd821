//! The changes of a platform: each is a call of the API with the reason of its form.

use super::of_app;
use super::progress::Step;
use super::steps::{Connected, Tried, as_api, console_page, deletion_page, sample_page, topics_page};
use super::view::SettingsPage;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Body, Id, Ids, Stored};
use crate::keys::{Acting, Caller};
use crate::pages::change::{Refused, reasoned, texts};
use crate::pages::described::{Entered, Known, changes, groups};
use crate::pages::form::Sent;
use crate::pages::frame::{Frame, Place, shown};
use crate::pages::visit::Visit;
use crate::resources::forms::{Form, of_stores};
use crate::resources::platforms::{self, PlatformPatch, RotateIngressKey};
use crate::resources::samples::{self, SampleRequest};
use crate::resources::signals::Nothing;
use crate::resources::topics;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{PlatformId, TopicId};
use serde_json::Map;
use storage::Platform;

/// What each change takes of a request.
type Parts = (State<Shared>, (Visit, Caller, Sent));

/// The fields that a platform is created with alone.
const FIXED: [&str; 1] = ["store"];

/// The form of a platform's store, as far as it can be changed.
fn form_of(platform: &Platform) -> Option<Form> {
    let mut form = of_stores().into_iter().find(|form| form.name == platform.store)?;
    form.fields.retain(|field| !FIXED.contains(&field.name));
    Some(form)
}

/// `GET /ui/connect/platforms/{platform_id}/settings`
pub async fn settings(
    State(edge): State<Shared>,
    visit: Visit,
    caller: Caller,
    Stored(platform): Stored<Platform>,
) -> Result<Response, Error> {
    settings_page(&edge, &visit, &caller, platform, &Tried::default()).await
}

async fn settings_page(
    edge: &Shared,
    visit: &Visit,
    caller: &Caller,
    platform: Platform,
    tried: &Tried,
) -> Result<Response, Error> {
    let value = as_api(edge, caller, &platform).await?;
    let of = Connected::of(edge, platform).await?;
    let known = Known { is_change: true, ..Known::default() };
    let is_answer = tried.sent.get(crate::pages::form::TOKEN).is_some();
    let entered = if is_answer { Entered::Sent(&tried.sent, &tried.refused.fields) } else { Entered::Stored(&value) };
    let groups = form_of(&of.platform).map(|form| groups(&form, entered, &known)).unwrap_or_default();
    let place = Place { is_answer, ..of.place(Step::Platform, "", "update --help") };
    let place = Place { command: format!("settle platform show {}", of.platform.id), ..place };
    let frame = Frame::of(edge, visit, place).await?;
    shown(visit, &SettingsPage::new(&frame, visit, &of, groups, tried), &value)
}

/// `POST /ui/connect/platforms/{platform_id}/settings`
pub async fn update(
    edge: Acting,
    (State(shared), (visit, caller, sent)): Parts,
    Stored(platform): Stored<Platform>,
) -> Result<Response, Error> {
    let value = as_api(&shared, &caller, &platform).await?;
    let body = form_of(&platform).map(|form| changes(&form, &sent, &value)).unwrap_or_else(|| Ok(Map::new()));
    let result = match body.and_then(|body| Ok((body.is_empty(), reasoned::<PlatformPatch>(&sent, body)?))) {
        Ok((true, _)) if sent.reason().is_ok() => return Ok(back(&visit, &platform, "?done=nothing")),
        Ok((_, draft)) => platforms::update(edge, Stored(platform.clone()), draft).await.map(drop),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => Ok(back(&visit, &platform, "?done=settings")),
        Err(error) => {
            let tried = tried("settings", sent, error)?;
            let page = settings_page(&shared, &visit, &caller, platform, &tried).await?;
            Ok((tried.refused.status, page).into_response())
        }
    }
}

fn tried(name: impl Into<String>, sent: Sent, error: Error) -> Result<Tried, Error> {
    Ok(Tried { name: name.into(), sent, refused: Refused::of(error)? })
}

/// Back at a page of the platform.
fn back(visit: &Visit, platform: &Platform, rest: &str) -> Response {
    let path = format!("/ui/connect/platforms/{}{rest}", platform.id);
    Redirect::to(&of_app(visit, platform.app_id, &path)).into_response()
}

/// A body without fields, if there is a reason.
fn nothing(sent: &Sent) -> Result<Body<Nothing>, Error> {
    Ok(Body(reasoned::<Nothing>(sent, Map::new())?.finish()?))
}

/// `POST /ui/connect/platforms/{platform_id}/topics/{topic_id}/approve`
pub async fn approve(edge: Acting, parts: Parts, Ids(of, id): Ids<PlatformId, TopicId>) -> Result<Response, Error> {
    let result = match nothing(&parts.1.2) {
        Ok(body) => topics::approve(edge, Ids(of, id), body).await.map(drop),
        Err(error) => Err(error),
    };
    decided(parts, of, format!("approve-{id}"), result).await
}

/// `POST /ui/connect/platforms/{platform_id}/topics/{topic_id}/reject`
pub async fn reject(edge: Acting, parts: Parts, Ids(of, id): Ids<PlatformId, TopicId>) -> Result<Response, Error> {
    let result = match nothing(&parts.1.2) {
        Ok(body) => topics::reject(edge, Ids(of, id), body).await.map(drop),
        Err(error) => Err(error),
    };
    decided(parts, of, format!("reject-{id}"), result).await
}

/// The topics after a decision, or why it was not taken.
async fn decided(
    (State(edge), (visit, _, sent)): Parts,
    of: PlatformId,
    name: String,
    result: Result<(), Error>,
) -> Result<Response, Error> {
    let platform = edge.store.platform(of).await?;
    match result {
        Ok(()) => Ok(back(&visit, &platform, "/topics")),
        Err(error) => {
            let tried = tried(name, sent, error)?;
            let page = topics_page(&edge, &visit, platform, &tried).await?;
            Ok((tried.refused.status, page).into_response())
        }
    }
}

/// `POST /ui/connect/platforms/{platform_id}/sample`
pub async fn send_sample(
    edge: Acting,
    (State(shared), (visit, caller, sent)): Parts,
    Stored(platform): Stored<Platform>,
) -> Result<Response, Error> {
    let body = texts(&sent, &["type", "receipt_id", "app_user_id"]);
    // Without a reason nothing is tried, also where no sample is taken.
    let reason = sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]));
    let result = match reason.and_then(|_| reasoned::<SampleRequest>(&sent, body)) {
        Ok(draft) => samples::send(edge, Stored(platform.clone()), draft).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(accepted) => Ok(back(&visit, &platform, &format!("/sample?sent={}", accepted.0.collapse_key))),
        Err(error) => {
            let tried = tried("sample", sent, error)?;
            let page = sample_page(&shared, &visit, &caller, platform, &tried).await?;
            Ok((tried.refused.status, page).into_response())
        }
    }
}

/// `POST /ui/connect/platforms/{platform_id}/rotate-ingress-key`
pub async fn rotate(edge: Acting, parts: Parts, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    let result = match nothing(&parts.1.2) {
        Ok(Body(_)) => platforms::rotate(edge, Id(platform.id), Body(RotateIngressKey::default())).await.map(drop),
        Err(error) => Err(error),
    };
    acted(parts, platform, "rotate-ingress-key", result).await
}

/// `POST /ui/connect/platforms/{platform_id}/end-old-ingress-key`
pub async fn end_old(edge: Acting, parts: Parts, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    let result = match nothing(&parts.1.2) {
        Ok(body) => platforms::end_old(edge, Id(platform.id), body).await.map(drop),
        Err(error) => Err(error),
    };
    acted(parts, platform, "end-old-ingress-key", result).await
}

/// `POST /ui/connect/platforms/{platform_id}/retry-parked`
pub async fn retry_parked(edge: Acting, parts: Parts, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    let result = match nothing(&parts.1.2) {
        Ok(body) => platforms::retry_parked(edge, Stored(platform.clone()), body).await.map(drop),
        Err(error) => Err(error),
    };
    acted(parts, platform, "retry-parked", result).await
}

/// The page of the platform after one of its actions, or why it was not carried out.
async fn acted(
    (State(edge), (visit, caller, sent)): Parts,
    platform: Platform,
    name: &'static str,
    result: Result<(), Error>,
) -> Result<Response, Error> {
    match result {
        Ok(()) => Ok(back(&visit, &platform, &format!("?done={name}"))),
        Err(error) => {
            let tried = tried(name, sent, error)?;
            let page = console_page(&edge, &visit, &caller, platform, &tried).await?;
            Ok((tried.refused.status, page).into_response())
        }
    }
}

/// `POST /ui/connect/platforms/{platform_id}/delete`: the second step, after the page that says what it means.
pub async fn delete(
    edge: Acting,
    (State(shared), (visit, _, sent)): Parts,
    Stored(platform): Stored<Platform>,
) -> Result<Response, Error> {
    let result = match nothing(&sent) {
        Ok(Body(_)) => platforms::delete(edge, Id(platform.id)).await.map(drop),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => {
            let path = format!("/ui/connect/apps/{}?done=deleted", platform.app_id);
            Ok(Redirect::to(&of_app(&visit, platform.app_id, &path)).into_response())
        }
        Err(error) => {
            let tried = tried("delete", sent, error)?;
            let page = deletion_page(&shared, &visit, platform, &tried).await?;
            Ok((tried.refused.status, page).into_response())
        }
    }
}
