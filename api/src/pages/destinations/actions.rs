//! The actions on a destination. Each is a call of the API, with a reason.

use super::one::{overview, settings, show};
use super::standing::ActionResult;
use super::{form_of, once};
use crate::act::act;
use crate::change::{Mistakes, reasoned, texts};
use crate::described::{BASED_ON, changes, wrong_lines};
use crate::form::Sent;
use crate::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::{Body, Id, Stored, drafted};
use api::keys::Acting;
use api::resources::destinations::{self, CreatedDestination, Tested};
use api::resources::forms::of_change;
use api::route::Route;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;
use storage::{Destination, Role};

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(
            Role::Support,
            "POST",
            "/ui/destinations/{destination_id}/test",
            post_test,
        )
        .twin("POST /v1/destinations/{destination_id}/test")
        .summary("Sends a test; the answer shows its result."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/destinations/{destination_id}/enable",
            act(destinations::enable, show),
        )
        .twin("POST /v1/destinations/{destination_id}/enable")
        .summary("Sends again."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/destinations/{destination_id}/disable",
            act(destinations::disable, show),
        )
        .twin("POST /v1/destinations/{destination_id}/disable")
        .summary("Sends nothing any more."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/destinations/{destination_id}/probe",
            act(destinations::probe, show),
        )
        .twin("POST /v1/destinations/{destination_id}/probe")
        .summary("Tests now whether it answers again."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/destinations/{destination_id}/retry",
            act(destinations::retry, show),
        )
        .twin("POST /v1/destinations/{destination_id}/retry")
        .summary("Sends what is pending now."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/destinations/{destination_id}/settings",
            post_settings,
        )
        .twin("PATCH /v1/destinations/{destination_id}")
        .summary("Changes the settings."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/destinations/{destination_id}/rotate-secret",
            post_rotate,
        )
        .twin("POST /v1/destinations/{destination_id}/rotate-secret")
        .summary("Replaces the secret; the only page with the new one."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/destinations/{destination_id}/delete",
            post_delete,
        )
        .twin("DELETE /v1/destinations/{destination_id}")
        .summary("Deletes a destination."),
    ]
}

/// The parts of a request that each action needs.
type Parts = (State<Shared>, Visit, Sent);

async fn post_test(
    edge: Acting,
    (state, visit, sent): Parts,
    stored: Stored<Destination>,
) -> Result<Response, Error> {
    let id = stored.0.id;
    let result = async {
        let wanted = reasoned(&sent, texts(&sent, &["event_type"]))?.finish()?;
        destinations::test(edge, stored, Body(wanted)).await
    };
    let (status, answer) = match result.await {
        Ok(Json(tested)) => (
            StatusCode::OK,
            ActionResult {
                tested: Some(tested),
                ..ActionResult::default()
            },
        ),
        Err(Error::Conflict(detail)) => (
            StatusCode::CONFLICT,
            ActionResult {
                tested: Some(Tested { ok: false, detail }),
                ..ActionResult::default()
            },
        ),
        Err(Error::TooMany { wait, .. }) => {
            let minutes = (wait.as_secs() + 1).div_ceil(60);
            let detail =
                format!("nothing was sent; this destination can be tested again in {minutes} min");
            (
                StatusCode::TOO_MANY_REQUESTS,
                ActionResult {
                    tested: Some(Tested { ok: false, detail }),
                    ..ActionResult::default()
                },
            )
        }
        Err(error) => {
            let mistakes = Mistakes::of(&visit, sent, error)?;
            (
                mistakes.refused.status,
                ActionResult {
                    mistakes,
                    tested: None,
                },
            )
        }
    };
    Ok((status, overview(&state, &visit, id, answer).await?).into_response())
}

async fn post_settings(
    edge: Acting,
    parts: Parts,
    stored: Stored<Destination>,
) -> Result<Response, Error> {
    let before = stored.0.clone();
    let (state, visit, sent) = parts;
    let back = |done: &str| {
        let path = format!("/ui/destinations/{}/settings?done={done}", before.id);
        Redirect::to(&visit.to(&path)).into_response()
    };
    match updated(edge, &sent, stored).await {
        Ok(None) => Ok(back("nothing")),
        Ok(Some(after)) if after.shown_once.is_empty() && after.warnings.is_empty() => {
            Ok(back("settings"))
        }
        Ok(Some(after)) => {
            let form = form_of(&before.kind).ok_or(Error::Internal)?;
            once(&state.0, &visit, &after, form).await
        }
        Err(error) => at_settings((state, visit, sent), before, error).await,
    }
}

/// Changes the destination, and returns it; `None` if nothing differs.
async fn updated(
    edge: Acting,
    sent: &Sent,
    Stored(before): Stored<Destination>,
) -> Result<Option<CreatedDestination>, Error> {
    sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]))?;
    let form = of_change(&before.kind).ok_or(Error::Internal)?;
    let shown = destinations::show(State(Shared::clone(&edge)), Stored(before.clone()))
        .await?
        .0;
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
    Ok(Some(
        destinations::update(edge, Stored(before), draft).await?.0,
    ))
}

async fn post_rotate(
    edge: Acting,
    parts: Parts,
    stored: Stored<Destination>,
) -> Result<Response, Error> {
    let before = stored.0.clone();
    let (state, visit, sent) = parts;
    let mut body = texts(&sent, &["secret"]);
    let hours = sent.get("overlap_hours");
    let hours = hours.map(|hours| {
        hours
            .parse::<i64>()
            .map_or_else(|_| Value::from(hours), Value::from)
    });
    body.extend(hours.map(|hours| ("overlap_hours".to_owned(), hours)));
    let result = match (reasoned(&sent, body), sent.get(BASED_ON)) {
        (Ok(draft), Some(based_on)) => {
            destinations::rotate_version(edge, stored, draft, based_on).await
        }
        (Ok(draft), None) => destinations::rotate(edge, stored, draft).await,
        (Err(error), _) => Err(error),
    };
    match result {
        Ok(Json(after)) => {
            let form = form_of(&before.kind).ok_or(Error::Internal)?;
            once(&state.0, &visit, &after, form).await
        }
        Err(error) => at_settings((state, visit, sent), before, error).await,
    }
}

async fn post_delete(
    edge: Acting,
    parts: Parts,
    Stored(before): Stored<Destination>,
) -> Result<Response, Error> {
    let (state, visit, sent) = parts;
    let is_named = sent.get("name") == Some(before.name.trim());
    let confirmed = match (sent.reason(), is_named) {
        (Err(wrong), _) => Err(Error::Invalid(vec![wrong])),
        (Ok(_), false) => Err(Error::invalid("name", "the exact name of the destination")),
        (Ok(_), true) => destinations::delete(edge, Id(before.id)).await.map(drop),
    };
    match confirmed {
        Ok(()) => {
            let path = format!("/ui/destinations?deleted={}", before.id);
            Ok(Redirect::to(&visit.to(&path)).into_response())
        }
        Err(error) => at_settings((state, visit, sent), before, error).await,
    }
}

/// Returns the page of the settings with the error. An error that cannot be corrected there has its own page.
async fn at_settings(
    (state, visit, sent): Parts,
    destination: Destination,
    error: Error,
) -> Result<Response, Error> {
    let mistakes = Mistakes::of(&visit, sent, error)?;
    let status = mistakes.refused.status;
    Ok((
        status,
        settings(state, visit, Stored(destination), mistakes).await?,
    )
        .into_response())
}
