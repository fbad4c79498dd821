//! Duties to the stores: acknowledging purchases, answering questions. settle or the app does the former; only a person
//! does the latter, and then closes the duty.

use super::signals::Nothing;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Body, Id, PageQuery, Query, Stored};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use domain::DutyId;
use storage::{DutyView, Paged, Platform};

/// `GET /v1/platforms/{platform_id}/duties`: the open ones.
pub async fn list(
    State(edge): State<Shared>,
    Stored(platform): Stored<Platform>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<DutyView>>, Error> {
    let duties = edge.store.open_duties(platform.id, query.page()).await?;
    Ok(Json(duties))
}

/// `POST /v1/duties/{duty_id}/close`: records that a person has done it. 409 if it is closed.
pub async fn close(
    edge: Acting,
    Id(id): Id<DutyId>,
    _: Body<Nothing>,
) -> Result<Json<DutyView>, Error> {
    Ok(Json(edge.store.close_duty(id).await?))
}
