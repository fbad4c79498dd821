//! Transactions, with the decoded contents of what the App Store signs about a purchase.

use super::purchase::{Bought, SUBSCRIPTION};
use super::{millis, without_nulls};
use crate::sns::PACKAGE;
use domain::Timestamp;
use serde_json::{Map, Value, json};

/// A period of a subscription, or a one-time purchase.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// `transactionId`
    pub id: String,
    pub product: String,
    /// Type of the product.
    pub kind: &'static str,
    /// `purchaseDate`
    pub bought_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub quantity: u32,
    /// Price of the whole quantity, in thousandths of the currency's unit.
    pub price: Option<i64>,
    pub currency: &'static str,
    /// Country, in three letters.
    pub storefront: &'static str,
    pub introduced: Option<Introduced>,
    /// Whether the App Store renewed it, and the customer did not buy it.
    pub is_renewal: bool,
    pub is_upgraded: bool,
    /// `appAccountToken`
    pub account: Option<String>,
    pub returned: Option<Returned>,
    /// Further members, which replace others. Those that are null are left out.
    pub members: Map<String, Value>,
}

/// The offer of a period.
#[derive(Debug, Clone, Copy)]
pub struct Introduced {
    /// `offerType`: 1 introductory, 2 promotional, 3 offer code, 4 win-back.
    pub kind: i64,
    /// `offerDiscountType`
    pub discount: &'static str,
    /// `offerIdentifier`
    pub identifier: Option<&'static str>,
}

impl Introduced {
    /// A free introductory offer.
    pub const TRIAL: Self = Self {
        kind: 1,
        discount: "FREE_TRIAL",
        identifier: None,
    };
}

/// Money that was returned, or access that was taken away.
#[derive(Debug, Clone, Copy)]
pub struct Returned {
    pub at: Timestamp,
    /// `revocationType`
    pub kind: &'static str,
    /// `revocationPercentage`, in thousandths of a percent.
    pub percentage: Option<i64>,
}

impl Returned {
    pub const fn in_full(at: Timestamp) -> Self {
        Self {
            at,
            kind: "REFUND_FULL",
            percentage: Some(100_000),
        }
    }

    pub const fn of_family(at: Timestamp) -> Self {
        Self {
            at,
            kind: "FAMILY_REVOKE",
            percentage: None,
        }
    }
}

impl Transaction {
    /// Whether it is a free trial, of whatever offer.
    pub fn is_free(&self) -> bool {
        let introduced = self.introduced;
        introduced.is_some_and(|introduced| introduced.discount == "FREE_TRIAL")
    }

    /// Returns the content of `signedTransactionInfo`, signed at this time.
    pub fn content(&self, of: &Bought, signed_at: Timestamp) -> Value {
        let is_subscription = self.kind == SUBSCRIPTION;
        let first = of.transactions.first().unwrap_or(self);
        let reason = if self.is_renewal {
            "RENEWAL"
        } else {
            "PURCHASE"
        };
        let content = json!({
            "transactionId": self.id,
            "originalTransactionId": of.id,
            "webOrderLineItemId": is_subscription.then(|| format!("9{}", self.id)),
            "bundleId": PACKAGE,
            "productId": self.product,
            "subscriptionGroupIdentifier": of.group,
            "purchaseDate": millis(self.bought_at),
            "originalPurchaseDate": millis(first.bought_at),
            "expiresDate": self.expires_at.map(millis),
            "quantity": self.quantity,
            "type": self.kind,
            "appAccountToken": self.account,
            "inAppOwnershipType": of.ownership,
            "signedDate": millis(signed_at),
            "revocationReason": self.returned.map(|_| 0),
            "revocationDate": self.returned.map(|returned| millis(returned.at)),
            "revocationType": self.returned.map(|returned| returned.kind),
            "revocationPercentage": self.returned.and_then(|returned| returned.percentage),
            "isUpgraded": self.is_upgraded.then_some(true),
            "offerType": self.introduced.map(|introduced| introduced.kind),
            "offerIdentifier": self.introduced.and_then(|introduced| introduced.identifier),
            "offerDiscountType": self.introduced.map(|introduced| introduced.discount),
            "environment": of.environment,
            "storefront": self.storefront,
            "storefrontId": "143441",
            "transactionReason": reason,
            "currency": self.currency,
            "price": self.price,
            "appTransactionId": of.customer,
        });
        with_members(content, &self.members)
    }

    /// Whether the member of a history's filter has this value.
    pub fn is_of_type(&self, name: &str) -> bool {
        self.type_in_filters() == name
    }

    fn type_in_filters(&self) -> &'static str {
        match self.kind {
            "Auto-Renewable Subscription" => "AUTO_RENEWABLE",
            "Consumable" => "CONSUMABLE",
            "Non-Consumable" => "NON_CONSUMABLE",
            _ => "NON_RENEWABLE",
        }
    }
}

impl Bought {
    /// Returns the content of `signedRenewalInfo`, signed at this time; `None` for a one-time purchase.
    pub fn renewal(&self, signed_at: Timestamp) -> Option<Value> {
        self.group.as_ref()?;
        let current = self.current();
        let content = json!({
            "originalTransactionId": self.id,
            "autoRenewProductId": self.next_product,
            "productId": current.product,
            "autoRenewStatus": i64::from(self.renews),
            "renewalPrice": self.term_price(),
            "currency": current.currency,
            "renewalDate": current.expires_at.map(millis),
            "expirationIntent": self.intent,
            "isInBillingRetryPeriod": self.is_retried,
            "gracePeriodExpiresDate": self.grace_ends_at.map(millis),
            "recentSubscriptionStartDate": millis(self.began_at),
            "signedDate": millis(signed_at),
            "environment": self.environment,
            "appAccountToken": self.account,
            "appTransactionId": self.customer,
        });
        let mut content = with_members(content, &self.renewal_members);
        if !self.renews {
            content["renewalPrice"].take();
        }
        Some(without_nulls(content))
    }
}

/// Returns an object with further members, and without those that are null.
fn with_members(mut content: Value, members: &Map<String, Value>) -> Value {
    for (name, value) in members {
        content[name] = value.clone();
    }
    without_nulls(content)
}
