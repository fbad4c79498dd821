//! `/v1/apps`

use super::{Body, Id, Query};
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::AppId;
use storage::{App, Paged};

/// `POST /v1/apps`
pub async fn create(State(edge): State<Shared>, Body(mut fields): Body) -> Result<(StatusCode, Json<App>), Error> {
    let name = fields.required_text("name");
    fields.finish()?;
    Ok((StatusCode::CREATED, Json(edge.store.new_app(&name).await?)))
}

/// `GET /v1/apps`
pub async fn list(State(edge): State<Shared>, Query(mut fields): Query) -> Result<Json<Paged<App>>, Error> {
    let page = fields.page();
    fields.finish()?;
    Ok(Json(edge.store.apps(page).await?))
}

/// `GET /v1/apps/{app_id}`
pub async fn show(State(edge): State<Shared>, Id(id): Id<AppId>) -> Result<Json<App>, Error> {
    Ok(Json(edge.store.app(id).await?))
}

/// `PATCH /v1/apps/{app_id}`
pub async fn update(State(edge): State<Shared>, Id(id): Id<AppId>, Body(mut fields): Body) -> Result<Json<App>, Error> {
    let name = fields.text("name");
    fields.finish()?;
    Ok(Json(match name {
        Some(name) => edge.store.rename_app(id, &name).await?,
        None => edge.store.app(id).await?,
    }))
}

/// `DELETE /v1/apps/{app_id}`
pub async fn delete(State(edge): State<Shared>, Id(id): Id<AppId>) -> Result<StatusCode, Error> {
    edge.store.delete_app(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
