//! A purchase as Google shows it. Plain values: what they mean for a purchase is decided elsewhere.
//!
//! Names, mail addresses, postal addresses and answers to surveys are not among them. The customer's id is apart, since
//! it enters no history.

use super::money::Money;
use domain::Timestamp;
use domain::notification::MAX_ID_BYTES;
use serde::Deserialize;
use std::fmt;

/// Google's id of a purchase. A device proves a purchase by it, so it has no debug output.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PurchaseToken(String);

/// A text that is no purchase token.
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

    /// Google publishes no form; ids of any store are bounded, and `.` and `..` cannot be a part of a path.
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
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PurchaseToken")
    }
}

/// What kind of purchase a token stands for. Each has a resource of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseKind {
    Subscription,
    OneTime,
}

/// A purchase at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownPurchase {
    /// When the request was sent. Of two, the later one is true.
    pub at: Timestamp,
    pub kind: PurchaseKind,
    pub stage: PurchaseStage,
    /// The beginning of access by this token; absent while the payment is pending.
    pub started_at: Option<Timestamp>,
    /// The ISO 3166-1 code of the billing country at that time.
    pub country: Option<String>,
    /// Whether the purchase is acknowledged; `None` if the store does not show it.
    pub is_acknowledged: Option<bool>,
    /// Whether a tester bought it.
    pub is_test: bool,
    /// The parts of the purchase. Several with add-ons, or with a change of plan that is due later.
    pub items: Vec<ShownItem>,
    /// The paid orders that the items name, as far as the store knows them.
    pub orders: Vec<ShownOrder>,
    /// Who ended renewal; only while it is off.
    pub cancellation: Option<Cancellation>,
    /// The planned end of a pause.
    pub resumes_at: Option<Timestamp>,
    /// The order whose payment failed, in grace and hold.
    pub unpaid_order: Option<String>,
    /// The purchase that this one continues: it was replaced, if this one is paid.
    pub linked: Option<PurchaseToken>,
    /// The purchase that had ended before this one was made outside the app. It is no link, and vanishes with the
    /// acknowledgement.
    pub former: Option<PurchaseToken>,
}

/// State of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseStage {
    /// The first payment is pending; there is no access.
    Pending,
    /// Access, whatever the dates of the items: a payment may be late without any notification.
    Active,
    /// A payment failed; access goes on.
    Grace,
    /// A payment failed; there is no access.
    Hold,
    /// The customer paused it; there is no access.
    Paused,
    /// Access until the end of the term, without a renewal. Subscriptions only.
    Canceled,
    Expired,
    /// The first payment fell through.
    PendingCanceled,
    /// A one-time purchase that was cancelled, pending or paid.
    Voided,
}

/// A part of a purchase: a product with its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownItem {
    pub product_id: String,
    /// The base plan of a subscription, or the purchase option of a one-time product.
    pub plan_id: Option<String>,
    pub offer_id: Option<String>,
    /// The end of the term, extended in grace. Behind a hold that was not recovered it is the end of the hold, which is
    /// later than the end of access.
    pub expires_at: Option<Timestamp>,
    /// The last paid order; absent for an item that is not charged yet, and for a purchase by a promotion code.
    pub order_id: Option<String>,
    /// The phase of the offer; absent does not mean the base price.
    pub phase: Option<OfferPhase>,
    /// Whether a change of plan left a period in parts.
    pub is_prorated: bool,
    pub renewal: Renewal,
    /// The price of a renewal, before discounts, and with tax as the country has it.
    pub recurring_price: Option<Money>,
    pub price_change: Option<PriceChange>,
    pub instalments: Option<Instalments>,
    /// What happens at the next renewal.
    pub planned: Option<PlannedChange>,
    /// The item that it replaced less than 60 days ago.
    pub replaced: Option<ReplacedItem>,
    /// Whether a code was used at signup.
    pub has_code: bool,
    /// Number of pieces; one-time purchases only.
    pub quantity: Option<u32>,
    /// Number of pieces that are not refunded; one-time purchases only.
    pub unrefunded_quantity: Option<u32>,
    /// Whether the app used it up; one-time purchases only.
    pub is_consumed: Option<bool>,
}

/// How an item goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// A plan that renews by itself, if that is on.
    Automatic { is_on: bool },
    /// A plan that the customer extends, from this time on.
    Prepaid { from: Option<Timestamp> },
    /// No plan: a one-time product, or none is shown.
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
    /// Whether it is cancelled, with effect from the end of the commitment.
    pub is_ending: bool,
}

/// A change of an item at the next renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedChange {
    /// Another product takes its place.
    Replacement {
        product_id: Option<String>,
    },
    Removal,
}

/// The item whose place another one took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedItem {
    pub product_id: Option<String>,
    pub plan_id: Option<String>,
    /// The store's own name of the way, such as `CHARGE_FULL_PRICE`.
    pub mode: Option<String>,
}

/// Who ended the renewal of a purchase, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancellation {
    pub by: CanceledBy,
    /// The time, if the customer did.
    pub at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanceledBy {
    Customer,
    /// The store, for example because of a payment.
    Store,
    Developer,
    /// Another purchase took its place.
    Replacement,
}

/// An order: the only source of what was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownOrder {
    pub id: String,
    pub state: OrderState,
    /// The purchase that it paid. The old item of a change of plan can name an order of the purchase before.
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
    /// What the buyer paid for it, with tax.
    pub total: Option<Money>,
    pub tax: Option<Money>,
    pub phase: Option<OfferPhase>,
    pub is_prorated: bool,
    /// The paid period, as it was when the order was processed.
    pub period_from: Option<Timestamp>,
    pub period_until: Option<Timestamp>,
    pub quantity: Option<u32>,
}

/// Money that went back to the buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRefund {
    pub at: Option<Timestamp>,
    /// Whether it is the refund of the whole order.
    pub is_full: bool,
    /// Whether the money is on its way; false while it is only planned.
    pub is_processed: bool,
    /// Whether the buyer's bank took it back.
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

    /// Returns the latest end of the terms of all items.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.items.iter().filter_map(|item| item.expires_at).max()
    }

    /// Returns the end of the latest period that one of the orders paid.
    pub fn paid_until(&self) -> Option<Timestamp> {
        let lines = self.orders.iter().flat_map(|order| &order.lines);
        lines.filter_map(|line| line.period_until).max()
    }

    /// Returns the ids of the paid orders, each once, in the order of the items.
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
    /// Returns the product with its plan: both plans of a product have its id, so that it alone is no SKU.
    pub fn sku(&self) -> String {
        match &self.plan_id {
            Some(plan) => format!("{}:{plan}", self.product_id),
            None => self.product_id.clone(),
        }
    }
}

impl ShownOrder {
    /// Returns the number of the order in the series of its purchase, from 1: `GPA.1..0` is the second. `None` if its
    /// suffix is no number.
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
