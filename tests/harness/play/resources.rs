//! Purchases as resources of the API.

use super::body::{money, without_nulls};
use super::purchase::{Bought, Item};
use serde_json::{Value, json};

impl Item {
    fn body(&self, of: &Bought) -> Value {
        let phase = if self.is_trial {
            "freeTrial"
        } else {
            "basePrice"
        };
        let instalments = self.payments_left.map(|left| {
            json!({
                "initialCommittedPaymentsCount": 12, "remainingCommittedPaymentsCount": left,
                "pendingCancellation": self.is_ending.then(|| json!({})),
            })
        });
        let next = self
            .replaced_by
            .as_ref()
            .map(|product| json!({ "productId": product }));
        let renewing = (!of.is_prepaid).then(|| {
            json!({
                "autoRenewEnabled": of.renews.then_some(true), "recurringPrice": money(self.cents, of.currency),
                "installmentDetails": instalments,
            })
        });
        let prepaid = of
            .is_prepaid
            .then(|| json!({ "allowExtendAfterTime": of.started_at }));
        json!({
            "productId": self.product, "offerDetails": { "basePlanId": self.plan },
            "expiryTime": self.expires_at, "latestSuccessfulOrderId": self.order,
            "offerPhase": self.order.as_ref().map(|_| json!({ phase: {} })),
            "autoRenewingPlan": renewing, "prepaidPlan": prepaid,
            "deferredItemReplacement": next,
        })
    }
}

impl Bought {
    const fn acknowledgement(&self) -> &'static str {
        if self.is_acknowledged {
            "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
        } else {
            "ACKNOWLEDGEMENT_STATE_PENDING"
        }
    }

    /// Returns the resource `SubscriptionPurchaseV2`. The context of a purchase outside the app is shown only until
    /// the purchase is acknowledged.
    pub fn subscription_body(&self) -> Value {
        let named = |account: &Option<String>| {
            account
                .as_ref()
                .map(|account| json!({ "obfuscatedExternalAccountId": account }))
        };
        let former = self.former.as_ref().filter(|_| !self.is_acknowledged);
        let former = former.map(|former| {
            json!({
                "expiredPurchaseToken": former.token,
                "expiredExternalAccountIdentifiers": named(&former.account),
            })
        });
        let canceled = self
            .canceled
            .map(|(member, at)| json!({ member: { "cancelTime": at } }));
        let declined = |state: &str| {
            let unpaid = self.unpaid_order.as_ref().filter(|_| self.state == state)?;
            Some(json!({ "renewalDeclined": { "pendingOrderId": unpaid } }))
        };
        let items: Vec<Value> = self.items.iter().map(|item| item.body(self)).collect();
        without_nulls(json!({
            "kind": "androidpublisher#subscriptionPurchaseV2", "regionCode": self.country,
            "subscriptionState": format!("SUBSCRIPTION_STATE_{}", self.state),
            "acknowledgementState": self.acknowledgement(),
            "startTime": self.started_at, "linkedPurchaseToken": self.linked,
            "outOfAppPurchaseContext": former, "externalAccountIdentifiers": named(&self.account),
            "canceledStateContext": canceled,
            "pausedStateContext": self.resumes_at.map(|at| json!({ "autoResumeTime": at })),
            "inGracePeriodStateContext": declined("IN_GRACE_PERIOD"),
            "onHoldStateContext": declined("ON_HOLD"),
            "testPurchase": self.is_test.then(|| json!({})), "lineItems": items,
        }))
    }

    /// Returns the resource `ProductPurchaseV2`; `None` for a subscription.
    pub fn product_body(&self) -> Option<Value> {
        let (product, pieces) = self.one_time.as_ref()?;
        let state = match self.state {
            "ACTIVE" => "PURCHASED",
            other => other,
        };
        let test = self.is_test.then(|| json!({ "fopType": "TEST" }));
        Some(without_nulls(json!({
            "kind": "androidpublisher#productPurchaseV2", "regionCode": self.country,
            "orderId": self.orders.first().map(|order| &order.id),
            "purchaseCompletionTime": self.started_at,
            "purchaseStateContext": { "purchaseState": state },
            "acknowledgementState": self.acknowledgement(),
            "obfuscatedExternalAccountId": self.account, "testPurchaseContext": test,
            "productLineItem": [{
                "productId": product,
                "productOfferDetails": {
                    "purchaseOptionId": "buy", "quantity": pieces.bought, "refundableQuantity": pieces.unrefunded,
                    "consumptionState": "CONSUMPTION_STATE_YET_TO_BE_CONSUMED",
                },
            }],
        })))
    }
}
