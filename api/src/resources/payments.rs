//! `/v1/payments`: what was paid, refunded and corrected.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::{AppId, CollapseKey, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{Paged, PaymentSubject, PaymentView};

/// Selection of payments: exactly one of `collapse_key` and `user_id`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PaymentQuery {
    /// Only payments of this app.
    app_id: Option<AppId>,
    /// Payments of this purchase.
    collapse_key: Option<CollapseKey>,
    /// Payments of the purchases that this user owns now.
    user_id: Option<UserId>,
}

/// `GET /v1/payments`, newest first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { filter, page }): Query<Listed<PaymentQuery>>,
) -> Result<Json<Paged<PaymentView>>, Error> {
    let PaymentQuery {
        app_id,
        collapse_key,
        user_id,
    } = filter;
    let subject = match (collapse_key, user_id) {
        (Some(key), None) => PaymentSubject::Purchases(vec![key]),
        (None, Some(user)) => PaymentSubject::User(user),
        _ => {
            return Err(Error::invalid(
                "collapse_key",
                "exactly one of `collapse_key` and `user_id`",
            ));
        }
    };
    let app = caller.app(&edge, app_id).await?;
    Ok(Json(edge.store.payments(app, subject, page.page()).await?))
}
