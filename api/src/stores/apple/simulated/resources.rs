//! What the simulated App Store shows of a purchase: the decoded contents of its signed parts, and the answers of the
//! App Store Server API. Pure.
//!
//! Shares no code with the protocol on purpose: the names of the members are written a second time here.

use super::super::signer::{Chain, Unusable};
use super::purchase::{PaidPeriod, SimulatedPlan, SimulatedPurchase, SimulatedStage};
use domain::{CollapseKey, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

/// Products of the demo: SKU, name, price in US dollars, and whether the product gives the entitlement.
pub const PRODUCTS: [(&str, &str, &str, bool); 3] = [
    (MONTHLY, "Demo Gold, monthly (simulated)", "9.99", true),
    (YEARLY, "Demo Gold, yearly (simulated)", "99.99", true),
    (LIFETIME, "Demo Gold, lifetime (simulated)", "149.99", true),
];
/// Reference id of the entitlement that the products give.
pub const ENTITLEMENT: &str = "gold";

const MONTHLY: &str = "demo_gold_monthly";
const YEARLY: &str = "demo_gold_yearly";
const LIFETIME: &str = "demo_gold_lifetime";
const GROUP: &str = "21000001";
const SANDBOX: &str = "Sandbox";
const SUBSCRIPTION: &str = "Auto-Renewable Subscription";
const NON_CONSUMABLE: &str = "Non-Consumable";
const CURRENCY: &str = "USD";
/// Number of customers of the demo.
const CUSTOMERS: u128 = 3;
/// The account token of a customer is this number plus that of the customer.
const ACCOUNTS: u128 = 0x5e77_1e00_0000_4000_8000_0000_0000_0000;
/// Number of transactions in a page of the history. Apple's is the same.
const PAGE: usize = 20;
/// Maximum number of digits in a transaction's number, which is shorter than the end of a minted id.
const MAX_DIGITS: usize = 9;

/// A transaction of a sample purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionName {
    /// The id of the purchase, and of its first transaction.
    pub receipt_id: String,
    /// Number of the transaction among those of its purchase, from 0.
    pub number: usize,
}

impl TransactionName {
    /// Returns the id.
    pub fn id(&self) -> String {
        let Self { receipt_id, number } = self;
        match number {
            0 => receipt_id.clone(),
            _ => format!("{receipt_id}.{number}"),
        }
    }

    /// Parses an id. That of the first transaction has no number.
    pub fn parse(id: &str) -> Self {
        let parts = id.rsplit_once('.');
        let parts = parts.filter(|(_, number)| {
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            is_number && number.len() <= MAX_DIGITS
        });
        let numbered = parts.and_then(|(receipt_id, number)| {
            let number = number.parse::<usize>().ok()?;
            (number > 0).then_some((receipt_id, number))
        });
        let (receipt_id, number) = numbered.unwrap_or((id, 0));
        Self {
            receipt_id: receipt_id.to_owned(),
            number,
        }
    }
}

/// The transactions that a request for a history wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// `startDate` and `endDate`, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// Whether `sort` is `DESCENDING`.
    pub is_descending: bool,
    /// `productType`, such as `AUTO_RENEWABLE`; all if empty.
    pub product_types: Vec<String>,
    /// `revision`: the number of transactions that earlier pages had.
    pub skipped: usize,
}

/// A sample purchase with its names, and the time at which its parts are signed.
#[derive(Debug, Clone)]
pub struct NamedPurchase {
    pub key: CollapseKey,
    pub receipt_id: String,
    pub bundle_id: String,
    pub purchase: SimulatedPurchase,
    pub signed_at: Timestamp,
}

impl NamedPurchase {
    /// Returns the content of the current transaction.
    pub fn current(&self) -> Value {
        self.transaction(self.purchase.number(), &self.purchase.current)
    }

    /// Returns the content of the transaction with this number; `None` if there is none.
    pub fn numbered(&self, number: usize) -> Option<Value> {
        let period = self.purchase.periods().nth(number)?;
        Some(self.transaction(number, period))
    }

    fn transaction(&self, number: usize, period: &PaidPeriod) -> Value {
        let is_subscription = self.purchase.is_subscription();
        let first = self.purchase.periods().next().unwrap_or(period);
        let reason = if period.is_renewal {
            "RENEWAL"
        } else {
            "PURCHASE"
        };
        let refund = period.revoked_at;
        present(json!({
            "transactionId": self.transaction_id(number),
            "originalTransactionId": self.receipt_id,
            "bundleId": self.bundle_id,
            "productId": sku(period.plan),
            "subscriptionGroupIdentifier": is_subscription.then_some(GROUP),
            "type": if is_subscription { SUBSCRIPTION } else { NON_CONSUMABLE },
            "purchaseDate": millis(period.from),
            "originalPurchaseDate": millis(first.from),
            "expiresDate": is_subscription.then(|| millis(period.until)),
            "quantity": 1,
            "inAppOwnershipType": "PURCHASED",
            "transactionReason": reason,
            "isUpgraded": period.is_upgraded.then_some(true),
            "revocationDate": refund.map(millis),
            "revocationReason": refund.map(|_| 0),
            "revocationType": refund.map(|_| "REFUND_FULL"),
            "revocationPercentage": refund.map(|_| 100_000),
            "price": price(period.plan),
            "currency": CURRENCY,
            "storefront": "USA",
            "storefrontId": "143441",
            "appAccountToken": self.account_token(),
            "appTransactionId": self.app_transaction_id(),
            "environment": SANDBOX,
            "signedDate": millis(self.signed_at),
        }))
    }

    /// Returns the content of the renewal information; `None` for a one-time purchase.
    pub fn renewal(&self) -> Option<Value> {
        let purchase = &self.purchase;
        let renews = purchase.renews;
        let is_retried = match purchase.stage {
            SimulatedStage::Grace | SimulatedStage::Retry => Some(true),
            SimulatedStage::Expired => Some(false),
            SimulatedStage::Active | SimulatedStage::Revoked => None,
        };
        purchase.is_subscription().then(|| {
            present(json!({
                "originalTransactionId": self.receipt_id,
                "productId": sku(purchase.current.plan),
                "autoRenewProductId": sku(purchase.next),
                "autoRenewStatus": i64::from(renews),
                "renewalDate": renews.then(|| millis(purchase.current.until)),
                "renewalPrice": renews.then(|| price(purchase.next)),
                "currency": CURRENCY,
                "expirationIntent": purchase.intent,
                "isInBillingRetryPeriod": is_retried,
                "gracePeriodExpiresDate": purchase.grace_ends_at().map(millis),
                "recentSubscriptionStartDate": millis(purchase.began_at),
                "appAccountToken": self.account_token(),
                "appTransactionId": self.app_transaction_id(),
                "environment": SANDBOX,
                "signedDate": millis(self.signed_at),
            }))
        })
    }

    /// Returns the member `data` of a notification about the purchase.
    ///
    /// # Errors
    /// The chain cannot sign.
    pub fn data(&self, chain: &Chain) -> Result<Value, Unusable> {
        let renewal = self.renewal();
        let renewal = renewal.map(|content| chain.sign(&content)).transpose()?;
        let is_subscription = self.purchase.is_subscription();
        Ok(present(json!({
            "environment": SANDBOX,
            "bundleId": self.bundle_id,
            "bundleVersion": "1",
            "status": is_subscription.then(|| self.purchase.stage.number()),
            "signedTransactionInfo": chain.sign(&self.current())?,
            "signedRenewalInfo": renewal,
        })))
    }

    /// Returns a `StatusResponse`. Like Apple's, it shows nothing of a one-time purchase.
    ///
    /// # Errors
    /// The chain cannot sign.
    pub fn statuses(&self, chain: &Chain) -> Result<Value, Unusable> {
        let mut groups = Vec::new();
        if let Some(renewal) = self.renewal() {
            groups.push(json!({
                "subscriptionGroupIdentifier": GROUP,
                "lastTransactions": [{
                    "originalTransactionId": self.receipt_id,
                    "status": self.purchase.stage.number(),
                    "signedTransactionInfo": chain.sign(&self.current())?,
                    "signedRenewalInfo": chain.sign(&renewal)?,
                }],
            }));
        }
        Ok(json!({ "environment": SANDBOX, "bundleId": self.bundle_id, "data": groups }))
    }

    /// Returns a `HistoryResponse`, a page of the wanted transactions.
    ///
    /// # Errors
    /// The chain cannot sign.
    pub fn history(&self, chain: &Chain, filter: &HistoryFilter) -> Result<Value, Unusable> {
        let kind = if self.purchase.is_subscription() {
            "AUTO_RENEWABLE"
        } else {
            "NON_CONSUMABLE"
        };
        let mut types = filter.product_types.iter();
        let is_wanted_type = filter.product_types.is_empty() || types.any(|one| one == kind);
        let is_wanted = |period: &PaidPeriod| {
            let at = millis(period.from);
            let is_late = filter.from_ms.is_none_or(|from| at >= from);
            is_wanted_type && is_late && filter.until_ms.is_none_or(|until| at < until)
        };
        self.page(chain, is_wanted, filter)
    }

    /// Returns a `RefundHistoryResponse`, a page of the refunded transactions.
    ///
    /// # Errors
    /// The chain cannot sign.
    pub fn refunds(&self, chain: &Chain, filter: &HistoryFilter) -> Result<Value, Unusable> {
        self.page(chain, |period| period.revoked_at.is_some(), filter)
    }

    fn page(
        &self,
        chain: &Chain,
        is_wanted: impl Fn(&PaidPeriod) -> bool,
        filter: &HistoryFilter,
    ) -> Result<Value, Unusable> {
        let periods = self.purchase.periods().enumerate();
        let mut wanted: Vec<(usize, &PaidPeriod)> =
            periods.filter(|(_, period)| is_wanted(period)).collect();
        if filter.is_descending {
            wanted.reverse();
        }
        let end = filter.skipped.saturating_add(PAGE).min(wanted.len());
        let page = wanted.iter().skip(filter.skipped).take(PAGE);
        let page = page.map(|(number, period)| chain.sign(&self.transaction(*number, period)));
        let page: Vec<String> = page.collect::<Result<_, _>>()?;
        Ok(json!({
            "revision": end.to_string(),
            "bundleId": self.bundle_id,
            "environment": SANDBOX,
            "hasMore": end < wanted.len(),
            "signedTransactions": page,
        }))
    }

    fn transaction_id(&self, number: usize) -> String {
        let receipt_id = self.receipt_id.clone();
        TransactionName { receipt_id, number }.id()
    }

    /// Returns the number of one of the demo's customers, from 1.
    fn customer(&self) -> u128 {
        self.key.uuid().as_u128() % CUSTOMERS + 1
    }

    fn account_token(&self) -> String {
        Uuid::from_u128(ACCOUNTS + self.customer()).to_string()
    }

    fn app_transaction_id(&self) -> String {
        format!("70000000000000000{}", self.customer())
    }
}

/// Returns the content of a test notification.
pub fn test(token: Uuid, bundle_id: &str, signed_at: Timestamp) -> Value {
    json!({
        "notificationType": "TEST",
        "notificationUUID": token,
        "version": "2.0",
        "signedDate": millis(signed_at),
        "data": { "environment": SANDBOX, "bundleId": bundle_id },
    })
}

const fn sku(plan: SimulatedPlan) -> &'static str {
    match plan {
        SimulatedPlan::Monthly => MONTHLY,
        SimulatedPlan::Yearly => YEARLY,
        SimulatedPlan::Lifetime => LIFETIME,
    }
}

/// Returns a price in thousandths of the currency's unit.
const fn price(plan: SimulatedPlan) -> i64 {
    match plan {
        SimulatedPlan::Monthly => 9_990,
        SimulatedPlan::Yearly => 99_990,
        SimulatedPlan::Lifetime => 149_990,
    }
}

/// Returns an instant as Apple writes it, in milliseconds since 1970.
pub const fn millis(at: Timestamp) -> i64 {
    at.micros().div_euclid(1000)
}

/// Returns an object without the members that have no value. Apple leaves them out.
pub fn present(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}
