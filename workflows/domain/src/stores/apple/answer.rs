//! A purchase as Apple signs it: facts with a signing time each, and the snapshot of all of them.
//!
//! A notification, an answer of the App Store Server API and a device bring the same facts, in any order and
//! repeatedly. Which of them count is decided in `lanes`; the names of their members are not known here. They name no
//! customer.

use super::lanes::Lanes;
use super::mapping::{
    Intent, OfferKind, Ownership, ProductKind, SubscriptionStatus, TransactionCause,
};
use crate::environment::Environment;
use crate::period::{OfferPhase, RefundExtent};
use crate::purchase::Purchase;
use crate::store_state::{StoreState, StoreStatus};
use crate::time::Timestamp;
use crate::verification::{Offer, Product, SAME, Snapshot};
use rust_decimal::Decimal;
use std::collections::BTreeSet;

/// What Apple signed about one purchase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PurchaseFacts {
    pub transactions: Vec<TransactionFact>,
    pub renewals: Vec<RenewalFact>,
    /// The number of periods in the running row, up to the current one, if the history was counted.
    pub counted: Option<u64>,
    /// The beginning of the newest period that names a customer.
    pub named_at: Option<Timestamp>,
}

/// A transaction: a period of a subscription, or a one-time purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionFact {
    pub signed_at: Timestamp,
    pub transaction_id: String,
    pub product: String,
    pub kind: ProductKind,
    pub bought_at: Timestamp,
    /// The first purchase of all, which lapses and changes of plan leave as it is.
    pub began_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub offer: Option<OfferKind>,
    /// Whether the offer is a free trial.
    pub is_free: bool,
    pub cause: TransactionCause,
    pub ownership: Ownership,
    /// The price of all seats or units, tax included.
    pub price: Option<Decimal>,
    pub currency: Option<String>,
    /// The storefront, by its code with three letters.
    pub storefront: Option<String>,
    pub quantity: u32,
    /// Whether an upgrade replaced it before its end.
    pub is_upgraded: bool,
    pub revocation: Option<Revocation>,
    /// The end of the payments to which the customer is committed.
    pub committed_until: Option<Timestamp>,
    pub environment: Environment,
}

/// A refund of a transaction, or the end of access that another customer paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    pub at: Timestamp,
    pub extent: RefundExtent,
    /// Whether access ends with it, unlike with the return of single seats.
    pub ends_access: bool,
}

/// What one message shows of the state of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalFact {
    pub signed_at: Timestamp,
    pub status: Option<SubscriptionStatus>,
    /// The renewal information, if the message has any.
    pub renewal: Option<Renewal>,
}

/// How a subscription renews.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Renewal {
    pub product: String,
    /// The product from the next renewal on.
    pub next_product: Option<String>,
    pub is_on: bool,
    pub renews_at: Option<Timestamp>,
    pub intent: Option<Intent>,
    /// Whether Apple still tries to collect a failed payment.
    pub is_retried: bool,
    pub grace_ends_at: Option<Timestamp>,
    /// The beginning of the running row of periods.
    pub began_at: Option<Timestamp>,
    /// The end of the payments to which the customer is committed.
    pub committed_until: Option<Timestamp>,
}

/// What has to be requested from Apple, because the signed facts do not suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The present state of the purchase.
    Statuses,
    /// The periods that no fact shows.
    History,
}

impl PurchaseFacts {
    /// Returns the snapshot of these facts and of what is recorded; `None` if neither shows a transaction.
    pub fn snapshot(&self, known: Option<&Purchase>) -> Option<Snapshot> {
        let lanes = Lanes::of(self, known)?;
        let (current, last) = (&lanes.current, lanes.last());
        let at = self.at(last);
        let is_subscription = current.kind == Product::Subscription;
        let status = lanes.status();
        let is_live = matches!(status, StoreStatus::Active | StoreStatus::Grace);
        let is_over = status == StoreStatus::Over;
        let auto_renewing = lanes.is_on().filter(|_| is_subscription);
        let is_off = auto_renewing == Some(false);
        let committed_until = lanes.committed_until().filter(|end| is_off && *end > at);
        let will_end = committed_until.or(current.ends_at);
        let planned = lanes
            .planned()
            .filter(|_| is_subscription && is_live && !is_off);
        let renews_at = lanes.renews_at(status, at).filter(|_| is_subscription);
        let ends_at = if is_over {
            current.ends_at
        } else {
            will_end.filter(|_| is_off && is_live)
        };
        let purchased_at = lanes.began_at();
        let is_trial = current.phase == OfferPhase::Trial;
        Some(Snapshot {
            at,
            product: current.kind,
            product_id: Some(current.product.clone()),
            term_sku: Some(current.product.clone()),
            term: last.and_then(|last| last.term),
            purchased_at,
            renews_at,
            ends_at: ends_at.filter(|_| is_subscription),
            end_reason: lanes
                .revoked()
                .or_else(|| lanes.end_reason().filter(|_| is_over || is_off)),
            auto_renewing,
            trial_ends_at: current
                .ends_at
                .filter(|_| is_trial && status == StoreStatus::Active),
            grace_ends_at: lanes
                .grace_ends_at()
                .filter(|_| status == StoreStatus::Grace),
            deferred_at: renews_at.filter(|_| planned.is_some()),
            deferred_sku: planned.clone(),
            in_intro_offer: is_live && current.offer == Some(Offer::Introductory) && !is_trial,
            offer: current.offer.filter(|_| is_live),
            country: current.country.clone(),
            environment: current.environment,
            state: Some(Box::new(StoreState {
                status,
                skus: BTreeSet::from([current.product.clone()]),
                planned: planned.map(|sku| BTreeSet::from([sku])),
                phase: Some(current.phase),
                transaction_id: Some(current.transaction_id.clone()),
                cycle: lanes
                    .cycle(self.counted, purchased_at)
                    .filter(|_| is_subscription),
                canceled_at: lanes.canceled_at(self).filter(|_| is_off),
                counted_until: match self.counted {
                    Some(_) if lanes.known.is_none() => Some(current.begins_at),
                    _ => last_state(last).and_then(|state| state.counted_until),
                },
                is_bought: current.is_bought,
                shared: current.shared,
                renewal_as_of: lanes.renewal_as_of(),
                named_at: self
                    .named_at
                    .max(last_state(last).and_then(|state| state.named_at)),
                ends_after_commitment: committed_until.is_some(),
                periods: lanes.periods(),
                ..StoreState::default()
            })),
            ..Snapshot::default()
        })
    }

    /// Whether these facts show the beginning of this row of periods. Of another purchase, settle books no earlier periods.
    pub fn shows_beginning(&self, row: Option<Timestamp>) -> bool {
        let mut all = self.transactions.iter();
        row.is_some_and(|row| all.any(|fact| fact.bought_at.distance(row) <= SAME))
    }

    /// Returns whether there is no fact.
    pub const fn is_empty(&self) -> bool {
        self.transactions.is_empty() && self.renewals.is_empty()
    }

    /// Returns what has to be requested before these facts can be settled; `None` if they suffice.
    pub fn doubt(&self, known: Option<&Purchase>) -> Option<Doubt> {
        let Some(lanes) = Lanes::of(self, known) else {
            return Some(Doubt::Statuses);
        };
        lanes.doubt(self)
    }

    /// Returns when the newest fact was signed.
    fn at(&self, last: Option<&Snapshot>) -> Timestamp {
        let transactions = self.transactions.iter().map(|fact| fact.signed_at);
        let renewals = self.renewals.iter().map(|fact| fact.signed_at);
        let signed = transactions.chain(renewals).max();
        signed.max(last.map(|last| last.at)).unwrap_or_default()
    }
}

fn last_state(last: Option<&Snapshot>) -> Option<&StoreState> {
    last?.state.as_deref()
}
