//! `/v1/payments`: payments, refunds and corrections.

use super::query::Listed;
use super::rates::{RateDay, rate_sentence};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::payment::{EntryKind, UnknownPrice};
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

/// Returns the display name of an entry's kind.
pub const fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Initial => "Payment",
        EntryKind::Renewal => "Renewal",
        EntryKind::TrialConversion => "First payment after the trial",
        EntryKind::Recovery => "Late payment",
        EntryKind::PlanChange => "First payment of a new plan",
        EntryKind::Refund => "Refund",
        EntryKind::Restored => "Refund reversed",
        EntryKind::Correction => "Price correction (no refund)",
    }
}

/// Returns a phrase about the exchange rate that converts an amount; `None` if no rate does.
pub fn rate_of(one: &PaymentView) -> Option<String> {
    one.rate_day
        .as_deref()
        .map(|day| rate_sentence(day, RateDay::of(one.is_rate_carried)))
}

/// Returns a text which states that an amount is not known, with the reason.
pub fn not_known(one: &PaymentView, why: UnknownPrice) -> String {
    format!("not known: {}", unknown(one, why))
}

/// Returns the reason why an amount is not known.
pub const fn unknown(one: &PaymentView, why: UnknownPrice) -> &'static str {
    match why {
        UnknownPrice::ProductUnknown => "the store never showed the product",
        UnknownPrice::Promotion => "the promotion has its own price",
        UnknownPrice::NotListed if one.is_unlisted => "the product is not in the catalogue",
        UnknownPrice::NotListed => "the catalogue has no price for that country",
        UnknownPrice::NoRate => "no exchange rate for that day or the week before it",
        UnknownPrice::PlanChanged => "the plan changed immediately",
        UnknownPrice::Unconfirmed => "the store has not confirmed it yet",
        UnknownPrice::Implausible => "the device reported an implausible price",
    }
}

#[cfg(test)]
mod tests {
    use super::{kind, not_known};
    use crate::fixtures::entry;
    use domain::payment::{EntryKind, UnknownPrice};
    use storage::PaymentView;

    #[test]
    fn a_new_plan_needs_no_change_of_the_former_one() {
        // The same text covers a purchase alongside another one with a shared entitlement.
        assert_eq!(kind(EntryKind::PlanChange), "First payment of a new plan");
    }

    #[test]
    fn a_missing_price_and_a_missing_product_differ() {
        let missing = |is_unlisted| {
            let one = PaymentView {
                is_unlisted,
                ..entry(1, EntryKind::Initial, "9.99")
            };
            not_known(&one, UnknownPrice::NotListed)
        };
        assert_eq!(
            missing(true),
            "not known: the product is not in the catalogue"
        );
        assert_eq!(
            missing(false),
            "not known: the catalogue has no price for that country"
        );
    }
}
