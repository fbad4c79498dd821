//! The resources of the Developer API, as far as the demo needs them. Pure.

use super::purchase::{Canceled, PaidOrder, SimulatedPurchase, SimulatedStage};
use domain::CollapseKey;
use serde_json::{Value, json};

/// Products of the demo: SKU, name, price in US dollars, and whether the product gives the entitlement.
pub const PRODUCTS: [(&str, &str, &str, bool); 2] = [
    (
        "demo.gold:monthly",
        "Demo Gold, monthly (simulated)",
        "9.99",
        true,
    ),
    (LIFETIME, "Demo Gold, lifetime (simulated)", "149.99", true),
];
/// Reference id of the entitlement that the products give.
pub const ENTITLEMENT: &str = "gold";
/// The one-time product.
pub const LIFETIME: &str = "demo.gold.lifetime";

const GOLD: &str = "demo.gold";
const MONTHLY: &str = "monthly";
const GOLD_CENTS: i64 = 999;
const LIFETIME_CENTS: i64 = 14_999;
const COUNTRY: &str = "US";
const ACKNOWLEDGED: &str = "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED";
/// Number of customers of the demo.
const CUSTOMERS: u128 = 3;

/// An order of a sample purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderName {
    pub purchase: CollapseKey,
    /// Number of the order among those of its purchase, from 0.
    pub number: usize,
}

impl OrderName {
    /// Returns the id. Like Google's, that of a renewal ends in its number.
    pub fn id(self) -> String {
        let Self { purchase, number } = self;
        match number.checked_sub(1) {
            None => format!("GPA.{purchase}"),
            Some(renewal) => format!("GPA.{purchase}..{renewal}"),
        }
    }

    /// Parses an id; `None` if it is of another form.
    pub fn parse(id: &str) -> Option<Self> {
        let id = id.strip_prefix("GPA.")?;
        let (purchase, number) = match id.split_once("..") {
            None => (id, 0),
            Some((purchase, renewal)) => {
                let renewal: usize = renewal.parse().ok()?;
                (purchase, renewal.checked_add(1)?)
            }
        };
        Some(Self {
            purchase: purchase.parse().ok()?,
            number,
        })
    }
}

/// A sample purchase with its names.
#[derive(Debug, Clone)]
pub struct NamedPurchase {
    pub key: CollapseKey,
    pub token: String,
    pub purchase: SimulatedPurchase,
}

impl NamedPurchase {
    /// Returns the resource `SubscriptionPurchaseV2`; `None` for a one-time purchase.
    pub fn subscription(&self) -> Option<Value> {
        let purchase = &self.purchase;
        let (last, next) = (purchase.last_order(), purchase.orders.len());
        let first = purchase.orders.first()?;
        let renews = purchase.canceled.is_none();
        let state = match purchase.status {
            SimulatedStage::Active | SimulatedStage::Grace if !renews => "CANCELED",
            SimulatedStage::Active => "ACTIVE",
            SimulatedStage::Grace => "IN_GRACE_PERIOD",
            SimulatedStage::Hold => "ON_HOLD",
            SimulatedStage::Paused => "PAUSED",
            SimulatedStage::Over => "EXPIRED",
        };
        let declined = |name: &str| {
            let pending = json!({ "renewalDeclined": { "pendingOrderId": self.order_id(next) } });
            (state == name).then_some(pending)
        };
        let resumes_at = purchase.resumes_at();
        purchase.is_subscription.then(|| {
            json!({
                "kind": "androidpublisher#subscriptionPurchaseV2",
                "subscriptionState": format!("SUBSCRIPTION_STATE_{state}"),
                "startTime": first.paid_at,
                "regionCode": COUNTRY,
                "acknowledgementState": ACKNOWLEDGED,
                "externalAccountIdentifiers": { "obfuscatedExternalAccountId": self.customer() },
                "testPurchase": {},
                "canceledStateContext": purchase.canceled.map(canceled),
                "inGracePeriodStateContext": declined("IN_GRACE_PERIOD"),
                "onHoldStateContext": declined("ON_HOLD"),
                "pausedStateContext": resumes_at.map(|at| json!({ "autoResumeTime": at })),
                "lineItems": [{
                    "productId": GOLD,
                    "offerDetails": { "basePlanId": MONTHLY },
                    "offerPhase": { "basePrice": {} },
                    "expiryTime": purchase.expires_at(),
                    "latestSuccessfulOrderId": self.order_id(last),
                    "autoRenewingPlan": { "autoRenewEnabled": renews, "recurringPrice": money(GOLD_CENTS) },
                }],
            })
        })
    }

    /// Returns the resource `ProductPurchaseV2`; `None` for a subscription.
    pub fn product(&self) -> Option<Value> {
        let purchase = &self.purchase;
        let first = purchase.orders.first()?;
        let state = match purchase.status {
            SimulatedStage::Over => "CANCELLED",
            SimulatedStage::Active
            | SimulatedStage::Grace
            | SimulatedStage::Hold
            | SimulatedStage::Paused => "PURCHASED",
        };
        (!purchase.is_subscription).then(|| {
            json!({
                "kind": "androidpublisher#productPurchaseV2",
                "purchaseStateContext": { "purchaseState": state },
                "purchaseCompletionTime": first.paid_at,
                "orderId": self.order_id(0),
                "regionCode": COUNTRY,
                "acknowledgementState": ACKNOWLEDGED,
                "obfuscatedExternalAccountId": self.customer(),
                "testPurchaseContext": { "fopType": "TEST" },
                "productLineItem": [{
                    "productId": LIFETIME,
                    "productOfferDetails": {
                        "quantity": 1,
                        "consumptionState": "CONSUMPTION_STATE_YET_TO_BE_CONSUMED",
                    },
                }],
            })
        })
    }

    /// Returns the resource `Order` of the order with this number; `None` if there is none.
    pub fn order(&self, number: usize) -> Option<Value> {
        let order = self.purchase.orders.get(number)?;
        let (cents, line) = if self.purchase.is_subscription {
            (GOLD_CENTS, subscription_line(order))
        } else {
            (
                LIFETIME_CENTS,
                json!({ "productId": LIFETIME, "oneTimePurchaseDetails": { "quantity": 1 } }),
            )
        };
        let state = match order.refunded_at {
            None => "PROCESSED",
            Some(_) => "REFUNDED",
        };
        let refund = order.refunded_at.map(|at| {
            json!({ "eventTime": at, "refundReason": "OTHER", "refundDetails": { "total": money(cents) } })
        });
        Some(json!({
            "orderId": self.order_id(number),
            "purchaseToken": self.token,
            "state": state,
            "createTime": order.paid_at,
            "lastEventTime": order.refunded_at.unwrap_or(order.paid_at),
            "buyerAddress": { "buyerCountry": COUNTRY },
            "total": money(cents),
            "lineItems": [line],
            "orderHistory": { "processedEvent": { "eventTime": order.paid_at }, "refundEvent": refund },
        }))
    }

    fn order_id(&self, number: usize) -> String {
        let purchase = self.key;
        OrderName { purchase, number }.id()
    }

    /// Returns the account id of one of the demo's customers.
    fn customer(&self) -> String {
        let number = self.key.uuid().as_u128() % CUSTOMERS;
        format!("sample-customer-{}", number + 1)
    }
}

/// Returns the resource `Subscription` of the product with its plans; `None` if there is no such product.
pub fn plans(product: &str) -> Option<Value> {
    (product == GOLD).then(|| {
        json!({
            "productId": GOLD,
            "basePlans": [{
                "basePlanId": MONTHLY,
                "state": "ACTIVE",
                "autoRenewingBasePlanType": {
                    "billingPeriodDuration": "P1M", "gracePeriodDuration": "P7D", "accountHoldDuration": "P30D",
                },
            }],
        })
    })
}

fn subscription_line(order: &PaidOrder) -> Value {
    json!({
        "productId": GOLD,
        "total": money(GOLD_CENTS),
        "subscriptionDetails": {
            "basePlanId": MONTHLY,
            "offerPhaseDetails": { "baseDetails": {} },
            "servicePeriodStartTime": order.paid_at,
            "servicePeriodEndTime": order.paid_until,
        },
    })
}

fn canceled(canceled: Canceled) -> Value {
    match canceled {
        Canceled::Customer(at) => json!({ "userInitiatedCancellation": { "cancelTime": at } }),
        Canceled::Store => json!({ "systemInitiatedCancellation": {} }),
        Canceled::Developer => json!({ "developerInitiatedCancellation": {} }),
    }
}

/// Returns an amount in US dollars.
fn money(cents: i64) -> Value {
    let (units, nanos) = (cents / 100, cents % 100 * 10_000_000);
    json!({ "currencyCode": "USD", "units": units.to_string(), "nanos": nanos })
}
