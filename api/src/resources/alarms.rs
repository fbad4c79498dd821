//! `/v1/alarms`: what needs a person's attention.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{PageQuery, Query};
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use storage::{Alarm, Paged};

/// `GET /v1/alarms`, the last raised first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<Alarm>>, Error> {
    Ok(Json(edge.store.alarms_of(caller.app, query.page()).await?))
}
