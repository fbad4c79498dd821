//! The actions on one destination. Each is that of the API, with a reason.

use super::head::SETTINGS_FORM;
use super::one::{Answer, changed, overview};
use super::{form_of, once};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Body, Id, Stored, drafted};
use crate::keys::Acting;
use crate::pages::action::Mistakes;
use crate::pages::described::{BASED_ON, changes, wrong_lines};
use crate::pages::form::Sent;
use crate::pages::visit::Visit;
use crate::resources::destinations::{self, CreatedDestination, Tested};
use crate::resources::forms::of_change;
use crate::route::Route;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::DestinationId;
use serde_json::{Map, Value, json};
use storage::{Destination, Role};

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Support, "POST", "/ui/destinations/{destination_id}/test", post_test)
            .twin("POST /v1/destinations/{destination_id}/test")
            .summary("Sends a test; the answer shows its result."),
        Route::page(Role::Operator, "POST", "/ui/destinations/{destination_id}/enable", post_enable)
            .twin("POST /v1/destinations/{destination_id}/enable")
            .summary("Sends again."),
        Route::page(Role::Operator, "POST", "/ui/destinations/{destination_id}/disable", post_disable)
            .twin("POST /v1/destinations/{destination_id}/disable")
            .summary("Sends nothing any more."),
        Route::page(Role::Support, "POST", "/ui/destinations/{destination_id}/probe", post_probe)
            .twin("POST /v1/destinations/{destination_id}/probe")
            .summary("Tests now whether it answers again."),
        Route::page(Role::Support, "POST", "/ui/destinations/{destination_id}/retry", post_retry)
            .twin("POST /v1/destinations/{destination_id}/retry")
            .summary("Sends what is pending now."),
        Route::page(Role::Operator, "POST", "/ui/destinations/{destination_id}/settings", post_settings)
            .twin("PATCH /v1/destinations/{destination_id}")
            .summary("Changes the settings."),
        Route::page(Role::Operator, "POST", "/ui/destinations/{destination_id}/rotate-secret", post_rotate)
            .twin("POST /v1/destinations/{destination_id}/rotate-secret")
            .summary("Replaces the secret; the only page with the new one."),
        Route::page(Role::Operator, "POST", "/ui/destinations/{destination_id}/delete", post_delete)
            .twin("DELETE /v1/destinations/{destination_id}")
            .summary("Deletes a destination."),
    ]
}

/// The parts of a request that each action takes.
type Parts = (State<Shared>, Visit, Sent);

/// The fields of a form that the API takes as texts, once the form has a reason.
fn body(sent: &Sent, names: &[&str]) -> Result<Map<String, Value>, Error> {
    sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]))?;
    let present = names.iter().filter_map(|name| Some(((*name).to_owned(), Value::from(sent.get(name)?))));
    Ok(present.collect())
}

/// Back at the destination, which says what was taken, or why nothing was.
async fn answer<T>(
    (state, visit, sent): Parts,
    id: DestinationId,
    action: &'static str,
    result: Result<T, Error>,
) -> Result<Response, Error> {
    match result {
        Ok(_) => Ok(Redirect::to(&visit.to(&format!("/ui/destinations/{id}?done={action}"))).into_response()),
        Err(error) => {
            let (status, mistakes) = Mistakes::of(action, sent, error)?;
            let answer = Answer { mistakes, tested: None };
            Ok((status, overview(&state, &visit, id, answer).await?).into_response())
        }
    }
}

async fn post_test(edge: Acting, parts: Parts, stored: Stored<Destination>) -> Result<Response, Error> {
    let id = stored.0.id;
    let result = match body(&parts.2, &["event_type"]).and_then(drafted) {
        Ok(draft) => match draft.finish() {
            Ok(wanted) => destinations::test(edge, stored, Body(wanted)).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    let (tested, status) = match result {
        Ok(Json(tested)) => (tested, StatusCode::OK),
        Err(Error::Conflict(detail)) => (Tested { ok: false, detail }, StatusCode::CONFLICT),
        Err(error) => return answer::<()>(parts, id, "test", Err(error)).await,
    };
    let (state, visit, _) = &parts;
    let shown = Answer { tested: Some(tested), ..Answer::default() };
    Ok((status, overview(state, visit, id, shown).await?).into_response())
}

async fn post_enable(edge: Acting, parts: Parts, stored: Stored<Destination>) -> Result<Response, Error> {
    let id = stored.0.id;
    let is_newest_only = parts.2.get("newest_only") == Some("true");
    let body = body(&parts.2, &[]).map(|mut body| {
        body.insert("newest_only".to_owned(), json!(is_newest_only));
        body
    });
    let result = match body.and_then(drafted) {
        Ok(draft) => destinations::enable(edge, stored, draft).await.map(drop),
        Err(error) => Err(error),
    };
    answer(parts, id, "enable", result).await
}

async fn post_disable(edge: Acting, parts: Parts, stored: Stored<Destination>) -> Result<Response, Error> {
    let id = stored.0.id;
    let result = match body(&parts.2, &[]).and_then(drafted).and_then(|draft| draft.finish()) {
        Ok(action) => destinations::disable(edge, stored, Body(action)).await.map(drop),
        Err(error) => Err(error),
    };
    answer(parts, id, "disable", result).await
}

async fn post_probe(edge: Acting, parts: Parts, stored: Stored<Destination>) -> Result<Response, Error> {
    let id = stored.0.id;
    let result = match body(&parts.2, &[]).and_then(drafted).and_then(|draft| draft.finish()) {
        Ok(action) => destinations::probe(edge, stored, Body(action)).await.map(drop),
        Err(error) => Err(error),
    };
    answer(parts, id, "probe", result).await
}

async fn post_retry(edge: Acting, parts: Parts, stored: Stored<Destination>) -> Result<Response, Error> {
    let id = stored.0.id;
    let result = match body(&parts.2, &[]).and_then(drafted).and_then(|draft| draft.finish()) {
        Ok(action) => destinations::retry(edge, stored, Body(action)).await.map(drop),
        Err(error) => Err(error),
    };
    answer(parts, id, "retry", result).await
}

async fn post_settings(edge: Acting, parts: Parts, stored: Stored<Destination>) -> Result<Response, Error> {
    let before = stored.0.clone();
    let (state, visit, sent) = parts;
    let back = |done: &str| {
        let path = format!("/ui/destinations/{}/settings?done={done}", before.id);
        Redirect::to(&visit.to(&path)).into_response()
    };
    match updated(edge, &sent, stored).await {
        Ok(None) => Ok(back("nothing")),
        Ok(Some(after)) if after.shown_once.is_empty() && after.warnings.is_empty() => Ok(back("settings")),
        Ok(Some(after)) => {
            let form = form_of(&before.kind).ok_or(Error::Internal)?;
            once(&state.0, &visit, &after, form).await
        }
        Err(error) => at_settings((state, visit, sent), before, SETTINGS_FORM, error).await,
    }
}

/// The destination after the change; `None` where nothing is different.
async fn updated(
    edge: Acting,
    sent: &Sent,
    Stored(before): Stored<Destination>,
) -> Result<Option<CreatedDestination>, Error> {
    sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]))?;
    let form = of_change(&before.kind).ok_or(Error::Internal)?;
    let shown = destinations::show(State(Shared::clone(&edge)), Stored(before.clone())).await?.0;
    let stored = serde_json::to_value(&shown).map_err(|_| Error::Internal)?;
    let changes = changes(&form, sent, &stored)?;
    let wrong = wrong_lines(&form, sent);
    if changes.is_empty() && wrong.is_none() {
        return Ok(None);
    }
    let mut draft = drafted(changes)?;
    if let Some(wrong) = wrong {
        draft.wrong.add(&wrong.field, wrong.expected);
    }
    Ok(Some(destinations::update(edge, Stored(before), draft).await?.0))
}

async fn post_rotate(edge: Acting, parts: Parts, stored: Stored<Destination>) -> Result<Response, Error> {
    let before = stored.0.clone();
    let (state, visit, sent) = parts;
    let body = body(&sent, &["secret"]).map(|mut body| {
        let hours = sent.get("overlap_hours");
        let hours = hours.map(|hours| hours.parse::<i64>().map_or_else(|_| Value::from(hours), Value::from));
        body.extend(hours.map(|hours| ("overlap_hours".to_owned(), hours)));
        body
    });
    let result = match (body.and_then(drafted), sent.get(BASED_ON)) {
        (Ok(draft), Some(based_on)) => destinations::rotate_version(edge, stored, draft, based_on).await,
        (Ok(draft), None) => destinations::rotate(edge, stored, draft).await,
        (Err(error), _) => Err(error),
    };
    match result {
        Ok(Json(after)) => {
            let form = form_of(&before.kind).ok_or(Error::Internal)?;
            once(&state.0, &visit, &after, form).await
        }
        Err(error) => at_settings((state, visit, sent), before, "rotate-secret", error).await,
    }
}

async fn post_delete(edge: Acting, parts: Parts, Stored(before): Stored<Destination>) -> Result<Response, Error> {
    let (state, visit, sent) = parts;
    let is_named = sent.get("name") == Some(before.name.trim());
    let confirmed = match (sent.reason(), is_named) {
        (Err(wrong), _) => Err(Error::Invalid(vec![wrong])),
        (Ok(_), false) => Err(Error::invalid("name", "the name of the destination, letter by letter")),
        (Ok(_), true) => destinations::delete(edge, Id(before.id)).await.map(drop),
    };
    match confirmed {
        Ok(()) => {
            let path = format!("/ui/destinations?deleted={}", before.id);
            Ok(Redirect::to(&visit.to(&path)).into_response())
        }
        Err(error) => at_settings((state, visit, sent), before, "delete", error).await,
    }
}

/// The page of the settings with why nothing was changed; what nobody can mend there has a page of its own.
async fn at_settings(
    (state, visit, sent): Parts,
    destination: Destination,
    action: &'static str,
    error: Error,
) -> Result<Response, Error> {
    let (status, mistakes) = Mistakes::of(action, sent, error)?;
    let page = changed(&state, &visit, Stored(destination), mistakes).await?;
    Ok((status, page).into_response())
}
