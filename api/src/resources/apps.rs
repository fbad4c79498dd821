//! `/v1/apps`

use crate::answer::{Created, NoContent};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Body, Id, PageQuery, Query, Stored};
use axum::Json;
use axum::extract::State;
use domain::AppId;
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{App, Paged};

/// A new app.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "name": "reader" }]))]
pub struct NewApp {
    /// Its name, unique among the apps that were not deleted.
    name: String,
}

/// A change of an app.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "name": "reader" }]))]
pub struct AppPatch {
    /// Its new name, unique among the apps that were not deleted.
    name: Option<String>,
}

/// `POST /v1/apps`
pub async fn create(State(edge): State<Shared>, Body(new): Body<NewApp>) -> Result<Created<App>, Error> {
    Ok(Created(edge.store.new_app(&new.name).await?))
}

/// `GET /v1/apps`
pub async fn list(State(edge): State<Shared>, Query(query): Query<PageQuery>) -> Result<Json<Paged<App>>, Error> {
    Ok(Json(edge.store.apps(query.page()).await?))
}

/// `GET /v1/apps/{app_id}`
pub async fn show(Stored(app): Stored<App>) -> Result<Json<App>, Error> {
    Ok(Json(app))
}

/// `PATCH /v1/apps/{app_id}`
pub async fn update(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Body(patch): Body<AppPatch>,
) -> Result<Json<App>, Error> {
    Ok(Json(match patch.name {
        Some(name) => edge.store.rename_app(app.id, &name).await?,
        None => app,
    }))
}

/// `DELETE /v1/apps/{app_id}`
pub async fn delete(State(edge): State<Shared>, Id(id): Id<AppId>) -> Result<NoContent, Error> {
    edge.store.delete_app(id).await?;
    Ok(NoContent)
}
