//! `/v1/alarms`: what needs a person's attention.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{PageQuery, Query};
use axum::Json;
use axum::extract::State;
use storage::{Alarm, Paged};

/// `GET /v1/alarms`, the last raised first.
pub async fn list(State(edge): State<Shared>, Query(query): Query<PageQuery>) -> Result<Json<Paged<Alarm>>, Error> {
    Ok(Json(edge.store.alarms(query.page()).await?))
}
