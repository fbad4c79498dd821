//! `/v1/acts`: who changed what, when and why.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use storage::{ActFilter, ActView, Paged};

/// `GET /v1/acts`, the newest first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<ActFilter>>,
) -> Result<Json<Paged<ActView>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    Ok(Json(edge.store.acts(filter, page.page()).await?))
}
