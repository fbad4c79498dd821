//! A purchase as Google shows it, in plain values. Their meaning for settle's purchase is decided elsewhere.
//!
//! It contains no names, email addresses, postal addresses and survey answers. The customer's id is held separately,
//! since it is written to no workflow history.

use super::money::Money;
use domain::Timestamp;
use domain::notification::MAX_ID_BYTES;
use domain::stores::google::sku;
use domain::verification::Term;
use serde::Deserialize;
use std::fmt;

/// Google's id of a purchase. It has no debug output, since a device can claim the purchase with it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PurchaseToken(String);

/// The error about a text that is no purchase token.
#[derive(Debug, thiserror::Error)]
#[error("not a purchase token")]
pub struct InvalidPurchaseToken;

impl PurchaseToken {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PurchaseToken {
    type Error = InvalidPurchaseToken;

    /// Checks a text only roughly, since Google publishes no format: its length is limited, and `.` and `..` cannot be
    /// path segments.
    fn try_from(text: String) -> Result<Self, InvalidPurchaseToken> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_usable = !text.is_empty() && text.len() <= MAX_ID_BYTES && is_visible;
        if !is_usable || matches!(text.as_str(), "." | "..") {
            return Err(InvalidPurchaseToken);
        }
        Ok(Self(text))
    }
}

impl fmt::Debug for PurchaseToken {
    /// Hides the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PurchaseToken")
    }
}

/// The kind of purchase that a token identifies. Each kind has its own API resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseKind {
    Subscription,
    OneTime,
}

/// A purchase at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownPurchase {
    /// When the request was sent. Of two snapshots, the later one is right.
    pub at: Timestamp,
    pub kind: PurchaseKind,
    pub stage: PurchaseStage,
    /// The beginning of access with this token; `None` while the payment is pending.
    pub started_at: Option<Timestamp>,
    /// The ISO 3166-1 code of the billing country when access began.
    pub country: Option<String>,
    /// Whether the purchase is acknowledged; `None` if the store does not show it.
    pub is_acknowledged: Option<bool>,
    /// Whether a tester bought it.
    pub is_test: bool,
    /// The items of the purchase: more than one with add-ons, or with a plan change that takes effect later.
    pub items: Vec<ShownItem>,
    /// The paid orders that the items name, unless the store does not know them.
    pub orders: Vec<ShownOrder>,
    /// Who turned renewal off, while it is off.
    pub cancellation: Option<Cancellation>,
    /// The planned end of a pause.
    pub resumes_at: Option<Timestamp>,
    /// The order whose payment failed, during grace and hold.
    pub unpaid_order: Option<String>,
    /// The length of the current term, according to its plan.
    pub term: Option<Term>,
    /// The purchase that this one continues. Once this one is paid, the other is replaced.
    pub linked: Option<PurchaseToken>,
    /// The expired purchase that precedes this one, which was made outside the app. It is no link in the chain, and
    /// Google no longer shows it once this purchase is acknowledged.
    pub former: Option<PurchaseToken>,
}

/// State of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseStage {
    /// The first payment is pending; there is no access.
    Pending,
    /// The customer has access, whatever the dates of the items: a payment may be late without any notification.
    Active,
    /// A payment failed; the customer still has access.
    Grace,
    /// A payment failed; there is no access.
    Hold,
    /// The customer paused the subscription; there is no access.
    Paused,
    /// The customer has access until the end of the term, without a renewal. Subscriptions only.
    Canceled,
    Expired,
    /// The first payment was never completed.
    PendingCanceled,
    /// A one-time purchase that was cancelled, pending or paid.
    Voided,
}

/// An item of a purchase: a product with its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownItem {
    pub product_id: String,
    /// The base plan of a subscription, or the purchase option of a one-time product.
    pub plan_id: Option<String>,
    pub offer_id: Option<String>,
    /// The end of the term, extended by grace. After a hold without a recovery, it is the end of the hold, which is
    /// later than the end of access.
    pub expires_at: Option<Timestamp>,
    /// The last paid order; `None` for an item that is not charged yet, and for a purchase with a promotion code.
    pub order_id: Option<String>,
    /// The phase of the offer. `None` does not mean the base price.
    pub phase: Option<OfferPhase>,
    /// Whether a plan change left a partial period.
    pub is_prorated: bool,
    pub renewal: Renewal,
    /// The price of a renewal before discounts, with or without tax as is usual in the country.
    pub recurring_price: Option<Money>,
    pub price_change: Option<PriceChange>,
    pub instalments: Option<Instalments>,
    /// What happens at the next renewal.
    pub planned: Option<PlannedChange>,
    /// The item that this one replaced less than 60 days ago.
    pub replaced: Option<ReplacedItem>,
    /// Whether a code was used at signup.
    pub has_code: bool,
    /// Number of pieces; one-time purchases only.
    pub quantity: Option<u32>,
    /// Number of pieces that are not refunded; one-time purchases only.
    pub unrefunded_quantity: Option<u32>,
    /// Whether the app has consumed the item; one-time purchases only.
    pub is_consumed: Option<bool>,
}

/// How an item is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// A plan that renews automatically, as long as renewal is on.
    Automatic { is_on: bool },
    /// A plan that the customer can extend, from this time on.
    Prepaid { from: Option<Timestamp> },
    /// No plan: a one-time product, or a subscription item without one.
    None,
}

/// The phase of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferPhase {
    Base,
    FreeTrial,
    Introductory,
}

/// A change of an item's price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceChange {
    pub price: Option<Money>,
    /// The store's own name of its state, such as `OUTSTANDING`.
    pub state: Option<String>,
    pub charged_from: Option<Timestamp>,
}

/// The commitment of a plan that is paid in instalments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instalments {
    /// Number of payments that are still committed.
    pub remaining: Option<u32>,
    /// Whether the commitment is cancelled, which takes effect at its end.
    pub is_ending: bool,
}

/// A change of an item at the next renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedChange {
    /// Another product replaces the item.
    Replacement {
        product_id: Option<String>,
    },
    Removal,
}

/// The item that another one replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedItem {
    pub product_id: Option<String>,
    pub plan_id: Option<String>,
    /// The store's own name of the replacement mode, such as `CHARGE_FULL_PRICE`.
    pub mode: Option<String>,
}

/// Who ended the renewal of a purchase, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancellation {
    pub by: CanceledBy,
    /// The time, if the customer turned renewal off.
    pub at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanceledBy {
    Customer,
    /// The store, for example because a payment failed.
    Store,
    Developer,
    /// Another purchase replaced it.
    Replacement,
}

/// An order, the only source of the amounts that were paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownOrder {
    pub id: String,
    pub state: OrderState,
    /// The purchase that the order paid for. In a plan change, the old item can name an order of the previous purchase.
    pub token: Option<PurchaseToken>,
    pub created_at: Option<Timestamp>,
    /// The last event of the order.
    pub changed_at: Option<Timestamp>,
    pub canceled_at: Option<Timestamp>,
    /// The buyer's country. Nothing else of the address is read.
    pub country: Option<String>,
    /// What the buyer paid, with tax.
    pub total: Option<Money>,
    pub tax: Option<Money>,
    pub lines: Vec<OrderLine>,
    pub refunds: Vec<OrderRefund>,
}

/// State of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    Pending,
    Processed,
    Canceled,
    PendingRefund,
    PartiallyRefunded,
    Refunded,
    /// A state that this version does not know: it says nothing about the money.
    Unknown,
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    pub product_id: Option<String>,
    pub plan_id: Option<String>,
    pub offer_id: Option<String>,
    /// What the buyer paid for the line, with tax.
    pub total: Option<Money>,
    pub tax: Option<Money>,
    pub phase: Option<OfferPhase>,
    pub is_prorated: bool,
    /// The paid period, as planned when the order was processed.
    pub period_from: Option<Timestamp>,
    pub period_until: Option<Timestamp>,
    pub quantity: Option<u32>,
}

/// Money that was returned to the buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRefund {
    pub at: Option<Timestamp>,
    /// Whether the whole order was refunded.
    pub is_full: bool,
    /// Whether the refund was processed; false while it is only planned.
    pub is_processed: bool,
    /// Whether the buyer's bank forced the refund.
    pub is_chargeback: bool,
    pub total: Option<Money>,
    pub tax: Option<Money>,
}

impl ShownPurchase {
    /// Returns whether the customer has access.
    pub const fn is_running(&self) -> bool {
        matches!(
            self.stage,
            PurchaseStage::Active | PurchaseStage::Grace | PurchaseStage::Canceled
        )
    }

    /// Returns the latest of the items' term ends.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.items.iter().filter_map(|item| item.expires_at).max()
    }

    /// Returns the latest end of a period that one of the orders paid for.
    pub fn paid_until(&self) -> Option<Timestamp> {
        let lines = self.orders.iter().flat_map(|order| &order.lines);
        lines.filter_map(|line| line.period_until).max()
    }

    /// Returns the distinct ids of the paid orders, in the order of the items.
    pub fn order_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = Vec::new();
        for id in self
            .items
            .iter()
            .filter_map(|item| item.order_id.as_deref())
        {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }
}

impl ShownItem {
    /// Returns the SKU, the product with its plan: all plans of a product share the product's id.
    pub fn sku(&self) -> String {
        sku(&self.product_id, self.plan_id.as_deref())
    }
}

impl ShownOrder {
    /// Returns the number of the order among those of its purchase, from 1: `GPA.1..0` is the second. `None` if its
    /// suffix is not a number.
    pub fn number(&self) -> Option<u32> {
        match self.id.split_once("..") {
            None => Some(1),
            Some((_, renewal)) => {
                let is_number = renewal.bytes().all(|byte| byte.is_ascii_digit());
                let renewal = renewal.parse::<u32>().ok().filter(|_| is_number)?;
                renewal.checked_add(2)
            }
        }
    }
}
