//! `/v1/apps`

use crate::answer::{Created, NoContent};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Draft, Id, PageQuery, Query, Stored};
use crate::keys::{Acting, Caller, check_visible};
use axum::Json;
use axum::extract::State;
use domain::AppId;
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{App, Page, Paged};

/// An app to create.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "name": "reader" }]))]
pub struct NewApp {
    /// Name of the app, unique among apps that are not deleted.
    #[schemars(length(max = 200))]
    name: String,
}

/// A change to an app.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "name": "reader" }]))]
pub struct AppPatch {
    /// New name of the app, unique among apps that are not deleted.
    #[schemars(length(max = 200))]
    name: Option<String>,
}

/// `POST /v1/apps`
pub async fn create(edge: Acting, mut draft: Draft<NewApp>) -> Result<Created<App>, Error> {
    check_visible(&mut draft.wrong, &draft.body.name);
    Ok(Created(edge.store.new_app(&draft.finish()?.name).await?))
}

/// `GET /v1/apps`
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<App>>, Error> {
    Ok(Json(reached(&edge, caller.app, query.page()).await?))
}

/// Returns a page of all apps, oldest first, or only the app that the caller is limited to.
///
/// # Errors
/// 404 if there is no such app.
pub async fn reached(edge: &Edge, only: Option<AppId>, page: Page) -> Result<Paged<App>, Error> {
    Ok(match only {
        None => edge.store.apps(page).await?,
        Some(own) => Paged {
            items: vec![one(edge, own).await?],
            next_cursor: None,
        },
    })
}

/// Returns an app that is not deleted.
///
/// # Errors
/// 404 if there is no such app.
pub async fn one(edge: &Edge, id: AppId) -> Result<App, Error> {
    Ok(edge.store.app(id).await?)
}

/// `GET /v1/apps/{app_id}`
pub async fn show(Stored(app): Stored<App>) -> Result<Json<App>, Error> {
    Ok(Json(app))
}

/// `PATCH /v1/apps/{app_id}`
pub async fn update(
    edge: Acting,
    Stored(app): Stored<App>,
    mut draft: Draft<AppPatch>,
) -> Result<Json<App>, Error> {
    if let Some(name) = &draft.body.name {
        check_visible(&mut draft.wrong, name);
    }
    Ok(Json(match draft.finish()?.name {
        Some(name) => edge.store.rename_app(app.id, &name).await?,
        None => app,
    }))
}

/// `DELETE /v1/apps/{app_id}`
pub async fn delete(edge: Acting, Id(id): Id<AppId>) -> Result<NoContent, Error> {
    edge.store.delete_app(id).await?;
    Ok(NoContent)
}
