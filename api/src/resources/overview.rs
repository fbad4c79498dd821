//! `/v1/overview`: the overall state, in numbers.

use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::AppId;
use schemars::JsonSchema;
use serde::Deserialize;
use storage::Overview;

/// App of the overview.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
pub struct OfApp {
    /// Only this app; by default, all apps that the caller can access.
    pub app_id: Option<AppId>,
}

/// `GET /v1/overview`
pub async fn show(
    State(edge): State<Shared>,
    caller: Caller,
    Query(OfApp { app_id }): Query<OfApp>,
) -> Result<Json<Overview>, Error> {
    let app = caller.app(&edge, app_id).await?;
    Ok(Json(of(&edge, app).await?))
}

/// The overview of an app, or of all.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn of(edge: &Edge, app: Option<AppId>) -> Result<Overview, Error> {
    Ok(edge.store.overview(app).await?)
}
