//! The changes of a platform: each is a call of the API with the reason of its form.

use super::of_app;
use super::progress::Step;
use super::steps::{At, Connected, Tried, as_api, console_page, deletion_page, sample_page, topics_page};
use super::view::SettingsPage;
use crate::error::Error;
use crate::extract::{Body, Id, Ids, Stored};
use crate::keys::Acting;
use crate::pages::change::{Refused, reasoned, texts};
use crate::pages::described::{Entered, Known, changes, groups};
use crate::pages::form::Sent;
use crate::pages::frame::{Frame, PageAddress, shown};
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
type Parts = (At, Sent);

/// The fields that a platform is created with alone.
const FIXED: [&str; 1] = ["store"];

/// The form of a platform's store, as far as it can be changed.
fn form_of(platform: &Platform) -> Option<Form> {
    let mut form = of_stores().into_iter().find(|form| form.name == platform.store)?;
    form.fields.retain(|field| !FIXED.contains(&field.name));
    Some(form)
}

/// `GET /ui/connect/platforms/{platform_id}/settings`
pub async fn settings(at: At, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    settings_page(&at, platform, &Tried::default()).await
}

async fn settings_page(at: &At, platform: Platform, tried: &Tried) -> Result<Response, Error> {
    let (State(edge), visit, _) = at;
    let value = as_api(at, &platform).await?;
    let of = Connected::of(edge, platform).await?;
    let known = Known { is_change: true, ..Known::default() };
    let is_answer = tried.sent.get(crate::pages::form::TOKEN).is_some();
    let entered = if is_answer { Entered::Sent(&tried.sent, &tried.refused.fields) } else { Entered::Stored(&value) };
    let groups = form_of(&of.platform).map(|form| groups(&form, entered, &known)).unwrap_or_default();
    let place = PageAddress { is_answer, ..of.place(Step::Platform, "", "update --help") };
    let place = PageAddress { command: format!("settle platform show {}", of.platform.id), ..place };
    let frame = Frame::of(edge, visit, place).await?;
    shown(visit, &SettingsPage::new(&frame, visit, &of, groups, tried), &value)
}

/// `POST /ui/connect/platforms/{platform_id}/settings`
pub async fn update(edge: Acting, parts: Parts, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    let (at, sent) = &parts;
    let value = as_api(at, &platform).await?;
    let result = async {
        let body = form_of(&platform).map_or_else(|| Ok(Map::new()), |form| changes(&form, sent, &value))?;
        let is_empty = body.is_empty();
        let draft = reasoned::<PlatformPatch>(sent, body)?;
        if is_empty && sent.reason().is_ok() {
            return Ok("?done=nothing");
        }
        platforms::update(edge, Stored(platform.clone()), draft).await.map(|_| "?done=settings")
    }
    .await;
    answered(parts, platform, "settings", result).await
}

/// Leads to the page of the platform whose path ends like this, or shows that of the form with why nothing was changed.
async fn answered(
    (at, sent): Parts,
    platform: Platform,
    name: impl Into<String>,
    result: Result<impl Into<String>, Error>,
) -> Result<Response, Error> {
    let error = match result {
        Ok(rest) => {
            let path = format!("/ui/connect/platforms/{}{}", platform.id, rest.into());
            return Ok(Redirect::to(&of_app(&at.1, platform.app_id, &path)).into_response());
        }
        Err(error) => error,
    };
    let tried = Tried { name: name.into(), sent, refused: Refused::of(error)? };
    let page = match tried.name.split('-').next() {
        Some("settings") => settings_page(&at, platform, &tried).await?,
        Some("sample") => sample_page(&at, platform, &tried).await?,
        Some("approve" | "reject") => topics_page(&at, platform, &tried).await?,
        Some("delete") => deletion_page(&at, platform, &tried).await?,
        _ => console_page(&at, platform, &tried).await?,
    };
    Ok((tried.refused.status, page).into_response())
}

/// A body without fields, if there is a reason.
fn nothing((_, sent): &Parts) -> Result<Body<Nothing>, Error> {
    Ok(Body(reasoned::<Nothing>(sent, Map::new())?.finish()?))
}

/// `POST /ui/connect/platforms/{platform_id}/topics/{topic_id}/approve`
pub async fn approve(edge: Acting, parts: Parts, ids: Ids<PlatformId, TopicId>) -> Result<Response, Error> {
    let (platform, name) = (edge.store.platform(ids.0).await?, format!("approve-{}", ids.1));
    let result = async { topics::approve(edge, ids, nothing(&parts)?).await.map(|_| "/topics") }.await;
    answered(parts, platform, name, result).await
}

/// `POST /ui/connect/platforms/{platform_id}/topics/{topic_id}/reject`
pub async fn reject(edge: Acting, parts: Parts, ids: Ids<PlatformId, TopicId>) -> Result<Response, Error> {
    let (platform, name) = (edge.store.platform(ids.0).await?, format!("reject-{}", ids.1));
    let result = async { topics::reject(edge, ids, nothing(&parts)?).await.map(|_| "/topics") }.await;
    answered(parts, platform, name, result).await
}

/// `POST /ui/connect/platforms/{platform_id}/sample`
pub async fn send_sample(edge: Acting, parts: Parts, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    let sent = &parts.1;
    let result = async {
        // Without a reason nothing is tried, also where no sample is taken.
        sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]))?;
        let draft = reasoned::<SampleRequest>(sent, texts(sent, &["type", "receipt_id", "app_user_id"]))?;
        let accepted = samples::send(edge, Stored(platform.clone()), draft).await?;
        Ok(format!("/sample?sent={}", accepted.0.collapse_key))
    }
    .await;
    answered(parts, platform, "sample", result).await
}

/// `POST /ui/connect/platforms/{platform_id}/rotate-ingress-key`
pub async fn rotate(edge: Acting, parts: Parts, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    let result = async {
        nothing(&parts)?;
        platforms::rotate(edge, Id(platform.id), Body(RotateIngressKey::default())).await
    }
    .await;
    acted(parts, platform, "rotate-ingress-key", result).await
}

/// `POST /ui/connect/platforms/{platform_id}/retire-old-ingress-key`
pub async fn retire_old(edge: Acting, parts: Parts, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    let result = async { platforms::retire_old(edge, Id(platform.id), nothing(&parts)?).await }.await;
    acted(parts, platform, "retire-old-ingress-key", result).await
}

/// `POST /ui/connect/platforms/{platform_id}/retry-parked`
pub async fn retry_parked(edge: Acting, parts: Parts, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    let result = async { platforms::retry_parked(edge, Stored(platform.clone()), nothing(&parts)?).await }.await;
    acted(parts, platform, "retry-parked", result).await
}

/// The page of the platform after one of its actions, or why it was not carried out.
async fn acted<T>(parts: Parts, platform: Platform, name: &str, result: Result<T, Error>) -> Result<Response, Error> {
    answered(parts, platform, name, result.map(|_| format!("?done={name}"))).await
}

/// `POST /ui/connect/platforms/{platform_id}/delete`: the second step, after the page that says what it means.
pub async fn delete(edge: Acting, parts: Parts, Stored(platform): Stored<Platform>) -> Result<Response, Error> {
    let result = async {
        nothing(&parts)?;
        platforms::delete(edge, Id(platform.id)).await
    };
    match result.await {
        Ok(_) => {
            let path = format!("/ui/connect/apps/{}?done=deleted", platform.app_id);
            Ok(Redirect::to(&of_app(&parts.0.1, platform.app_id, &path)).into_response())
        }
        Err(error) => answered(parts, platform, "delete", Err::<String, _>(error)).await,
    }
}
