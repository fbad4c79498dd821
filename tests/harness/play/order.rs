//! Orders, the only place where Google shows what was paid.

use super::body::{money, without_nulls};
use domain::Timestamp;
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub struct Order {
    pub id: String,
    /// Token of the purchase that the order paid for.
    pub token: String,
    pub product: String,
    /// The base plan; `None` for a one-time product.
    pub plan: Option<String>,
    pub created_at: Timestamp,
    /// End of the paid period; `None` for a one-time product.
    pub paid_until: Option<Timestamp>,
    pub is_trial: bool,
    /// Total price in hundredths of the currency, tax included.
    pub cents: i64,
    pub country: &'static str,
    pub currency: &'static str,
    /// Number of pieces of a one-time product.
    pub quantity: Option<u32>,
    /// Refunds, oldest first.
    pub refunds: Vec<Refund>,
}

/// Money that was returned.
#[derive(Debug, Clone, Copy)]
pub struct Refund {
    pub at: Timestamp,
    pub cents: i64,
}

impl Order {
    /// Returns the part of the price that was returned.
    pub fn refunded_cents(&self) -> i64 {
        self.refunds.iter().map(|refund| refund.cents).sum()
    }

    const fn phase(&self) -> &'static str {
        if self.is_trial {
            "freeTrialDetails"
        } else {
            "baseDetails"
        }
    }

    /// Returns the resource `Order`.
    pub fn body(&self) -> Value {
        let is_refunded = !self.refunds.is_empty() && self.refunded_cents() >= self.cents;
        let state = match self.refunds.as_slice() {
            [] => "PROCESSED",
            _ if is_refunded => "REFUNDED",
            _ => "PARTIALLY_REFUNDED",
        };
        let amount = |cents: i64| money(cents, self.currency);
        let amounts = |refund: &Refund| json!({ "total": amount(refund.cents), "tax": amount(refund.cents / 10) });
        let partial = self.refunds.iter().filter(|_| !is_refunded).map(|refund| {
            json!({
                "createTime": refund.at, "processTime": refund.at, "state": "PROCESSED_SUCCESSFULLY",
                "refundDetails": amounts(refund),
            })
        });
        let full = self.refunds.last().filter(|_| is_refunded).map(|last| {
            let whole = Refund {
                at: last.at,
                cents: self.cents,
            };
            json!({ "eventTime": whole.at, "refundDetails": amounts(&whole), "refundReason": "OTHER" })
        });
        let changed_at = self
            .refunds
            .last()
            .map_or(self.created_at, |refund| refund.at);
        let details = self.plan.as_ref().map(|plan| {
            json!({
                "basePlanId": plan, "offerPhaseDetails": { self.phase(): {} },
                "servicePeriodStartTime": self.created_at, "servicePeriodEndTime": self.paid_until,
            })
        });
        let pieces = self
            .quantity
            .map(|quantity| json!({ "purchaseOptionId": "buy", "quantity": quantity }));
        without_nulls(json!({
            "orderId": self.id, "purchaseToken": self.token, "state": state, "salesChannel": "IN_APP",
            "createTime": self.created_at, "lastEventTime": changed_at,
            "buyerAddress": { "buyerCountry": self.country },
            "total": amount(self.cents), "tax": amount(self.cents / 10),
            "lineItems": [{
                "productId": self.product, "productTitle": self.product,
                "total": amount(self.cents), "tax": amount(self.cents / 10),
                "subscriptionDetails": details, "oneTimePurchaseDetails": pieces,
            }],
            "orderHistory": {
                "processedEvent": { "eventTime": self.created_at },
                "partialRefundEvents": partial.collect::<Vec<_>>(), "refundEvent": full,
            },
        }))
    }
}
