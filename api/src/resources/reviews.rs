//! `/v1/transfer-reviews`: decisions on whether purchases may move from one identified customer to another who logs in
//! on the same device.

use super::transfers::{Transfer, TransferAuthor, TransferSide, refusal};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Body, Id, PageQuery, Query, Stored};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use domain::{AppId, PlatformId, ReviewId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use storage::{App, Paged};

/// A login on a device with another named customer's purchases, on a platform that requires a review.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TransferReview {
    /// Id of the review, the same for every login of this customer with purchases of that owner.
    review_id: ReviewId,
    /// Id of the app.
    app_id: AppId,
    /// Id of the platform of the first device with such a login.
    platform_id: PlatformId,
    /// Owner of the purchases.
    from: TransferSide,
    /// Customer who logged in on a device with the owner's purchases.
    to: TransferSide,
    /// When the review was recorded.
    requested_at: Timestamp,
    /// Decision, which also applies to later logins of the same customer; null while there is none.
    answer: Option<ReviewAnswer>,
    /// When the review was last decided. The audit log shows the author and reason.
    answered_at: Option<Timestamp>,
}

/// Decision on a review.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReviewAnswer {
    /// The purchases may move.
    Approved,
    /// The purchases stay with their owner.
    Refused,
}

/// A transfer review after a decision.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnsweredReview {
    /// The review with its answer.
    #[serde(flatten)]
    review: TransferReview,
    /// Transfer caused by the decision; null if the review was refused, or if no device of the other customer currently
    /// has purchases of the owner, for example after a logout.
    transfer: Option<Transfer>,
}

impl From<storage::Review> for TransferReview {
    fn from(review: storage::Review) -> Self {
        let answer = |approved| {
            if approved {
                ReviewAnswer::Approved
            } else {
                ReviewAnswer::Refused
            }
        };
        Self {
            review_id: review.id,
            app_id: review.app_id,
            platform_id: review.platform_id,
            from: TransferSide {
                user_id: review.from_user_id,
                external_id: review.from_external_id,
            },
            to: TransferSide {
                user_id: review.to_user_id,
                external_id: review.to_external_id,
            },
            requested_at: review.requested_at,
            answer: review.is_approved.map(answer),
            answered_at: review.answered_at,
        }
    }
}

impl From<storage::Answered> for AnsweredReview {
    fn from(answered: storage::Answered) -> Self {
        Self {
            review: answered.review.into(),
            transfer: answered.transfer.map(Transfer::from),
        }
    }
}

/// `GET /v1/apps/{app_id}/transfer-reviews`: pending reviews.
pub async fn list(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<TransferReview>>, Error> {
    let Paged { items, next_cursor } = edge.store.reviews(app.id, query.page()).await?;
    Ok(Json(Paged {
        items: items.into_iter().map(TransferReview::from).collect(),
        next_cursor,
    }))
}

/// `GET /v1/transfer-reviews/{review_id}`
pub async fn show(
    State(edge): State<Shared>,
    Id(id): Id<ReviewId>,
) -> Result<Json<TransferReview>, Error> {
    Ok(Json(edge.store.review(id).await?.into()))
}

/// `POST /v1/transfer-reviews/{review_id}/approve`: moves the purchases now, and at later logins of the same customer.
pub async fn approve(
    edge: Acting,
    Id(id): Id<ReviewId>,
    Body(author): Body<TransferAuthor>,
) -> Result<Json<AnsweredReview>, Error> {
    let (edge, author) = author.acting(edge);
    let answered = edge
        .store
        .approve_transfer(id, author)
        .await
        .map_err(refusal)?;
    edge.wake_for_persons();
    Ok(Json(answered.into()))
}

/// `POST /v1/transfer-reviews/{review_id}/refuse`: leaves the purchases with their owner, now and at later logins of
/// the same customer.
pub async fn refuse(
    edge: Acting,
    Id(id): Id<ReviewId>,
    Body(author): Body<TransferAuthor>,
) -> Result<Json<AnsweredReview>, Error> {
    let (edge, author) = author.acting(edge);
    Ok(Json(
        edge.store
            .refuse_transfer(id, author)
            .await
            .map_err(refusal)?
            .into(),
    ))
}
