//! Duties to the stores: acknowledging purchases, answering questions. settle or the app does the former; only a person
//! does the latter, and then closes the duty.

use super::signals::Nothing;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Body, Id, PageQuery, Query, Stored};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use domain::{DutyId, PlatformId};
use storage::{DutyView, Page, Paged, Platform};

/// `GET /v1/platforms/{platform_id}/duties`: the open ones.
pub async fn list(
    State(edge): State<Shared>,
    Stored(platform): Stored<Platform>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<DutyView>>, Error> {
    Ok(Json(of_platform(&edge, platform.id, query.page()).await?))
}

/// Returns the open duties to a platform's store, the earliest deadline first.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_platform(
    edge: &Edge,
    platform: PlatformId,
    page: Page,
) -> Result<Paged<DutyView>, Error> {
    Ok(edge.store.open_duties(platform, page).await?)
}

/// `POST /v1/duties/{duty_id}/close`: records that a person has done it. 409 if it is closed.
pub async fn close(
    edge: Acting,
    Id(id): Id<DutyId>,
    _: Body<Nothing>,
) -> Result<Json<DutyView>, Error> {
    Ok(Json(edge.store.close_duty(id).await?))
}
