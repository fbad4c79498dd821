//! `/v1/alarms`: conditions that require an operator's attention.

use super::query::Listed;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Body, Id, Query};
use crate::keys::{Acting, Caller};
use axum::Json;
use axum::extract::State;
use domain::{AlarmId, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{Alarm, AlarmFilter, Page, Paged};

/// Acknowledgement of an alarm.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "note": "the new secret is set" }]))]
pub struct Acknowledgement {
    /// What was found or done about the alarm. Recorded as the reason in the audit log.
    #[schemars(length(min = 1, max = 1000))]
    note: String,
    /// Name of the person who acknowledges the alarm; the key's name by default.
    #[schemars(length(min = 1, max = 200))]
    by: Option<String>,
    /// `last_at` of the alarm as last read. 409 if the alarm was raised again or acknowledged since.
    last_at: Option<Timestamp>,
}

/// `GET /v1/alarms`, most recently raised first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<AlarmFilter>>,
) -> Result<Json<Paged<Alarm>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    Ok(Json(chosen(&edge, filter, page.page()).await?))
}

/// Returns a page of the alarms that match a filter, most recently raised first.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn chosen(edge: &Edge, filter: AlarmFilter, page: Page) -> Result<Paged<Alarm>, Error> {
    Ok(edge.store.alarms_of(filter, page).await?)
}

/// `GET /v1/alarms/{alarm_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<AlarmId>) -> Result<Json<Alarm>, Error> {
    Ok(Json(edge.store.one_alarm(id).await?))
}

/// `POST /v1/alarms/{alarm_id}/acknowledge`: marks the alarm as known. It reopens if it is raised again.
pub async fn acknowledge(
    edge: Acting,
    Id(id): Id<AlarmId>,
    Body(body): Body<Acknowledgement>,
) -> Result<Json<Alarm>, Error> {
    let Acknowledgement { note, by, last_at } = body;
    // A reason in the header is recorded in the audit entry instead of the note.
    let reason = edge
        .store
        .actor()
        .reason
        .clone()
        .or_else(|| Some(note.clone()));
    let edge = edge.named(by, reason);
    Ok(Json(
        edge.store.acknowledge_alarm(id, &note, last_at).await?,
    ))
}
