//! `/v1/apps/{app_id}/feed`: which purchases there are and how far each is, for a receiver that lost its table.

use super::{Id, Query};
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::{AppId, CollapseKey};
use storage::{Fed, Paged};

/// `GET /v1/apps/{app_id}/feed`: each purchase once, in the order of the keys, so that what changes meanwhile moves
/// nothing. `destination_id` leaves out what that destination does not want, and adds what it acknowledged.
pub async fn list(
    State(edge): State<Shared>,
    Id(app): Id<AppId>,
    Query(mut fields): Query,
) -> Result<Json<Paged<Fed>>, Error> {
    let to = fields.parsed("destination_id", "a destination id (a UUID)");
    let page = fields.page();
    if page.cursor.as_deref().is_some_and(|cursor| cursor.parse::<CollapseKey>().is_err()) {
        fields.wrong("cursor", "the `next_cursor` of the answer before, or nothing for the beginning");
    }
    fields.finish()?;
    edge.store.app(app).await?;
    Ok(Json(edge.store.feed(app, to, page).await?))
}
