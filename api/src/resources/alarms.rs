//! `/v1/alarms`: what a person should look at.

use super::Query;
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use storage::{Alarm, Paged};

/// `GET /v1/alarms`, the last raised first.
pub async fn list(State(edge): State<Shared>, Query(mut fields): Query) -> Result<Json<Paged<Alarm>>, Error> {
    let page = fields.page();
    fields.finish()?;
    Ok(Json(edge.store.alarms(page).await?))
}
