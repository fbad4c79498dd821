//! A purchase as an answer of the Developer API shows it, and the snapshot of it.
//!
//! Which of its parts counts, which period an order paid, and until when access lasts is decided here; the names of the
//! answer's members are not known here. It names no customer.

use super::mapping::{self, Cancellation};
use super::money::{OrderState, refund_extent};
use crate::period::{OfferPhase, Period, PeriodRefund, RefundExtent};
use crate::store_state::{StoreState, StoreStatus};
use crate::time::Timestamp;
use crate::verification::{EndReason, Product, Snapshot, Term};
use rust_decimal::Decimal;
use std::collections::BTreeSet;

/// A purchase at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchaseAnswer {
    /// When the request was sent.
    pub at: Timestamp,
    pub is_subscription: bool,
    pub status: Status,
    /// The beginning of access by this token; absent while the payment is pending.
    pub started_at: Option<Timestamp>,
    pub country: Option<String>,
    pub is_acknowledged: Option<bool>,
    pub is_test: bool,
    pub items: Vec<ItemAnswer>,
    /// The orders that the items name.
    pub orders: Vec<OrderAnswer>,
    /// Who ended renewal, and when the customer did.
    pub cancellation: Option<(Cancellation, Option<Timestamp>)>,
    /// The planned end of a pause.
    pub resumes_at: Option<Timestamp>,
    /// The token of the purchase that this one continues.
    pub linked: Option<String>,
    /// The length of a term and the kind of product, by the catalogue.
    pub term: Option<Term>,
    pub listed: Product,
}

/// `subscriptionState`, or the state of a one-time purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Pending,
    Active,
    Grace,
    Hold,
    Paused,
    /// Access until the end of the term, without a renewal.
    Canceled,
    Expired,
    PendingCanceled,
    /// A one-time purchase that was cancelled.
    Voided,
}

/// A part of a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemAnswer {
    pub product: String,
    pub plan: Option<String>,
    pub expires_at: Option<Timestamp>,
    /// The last paid order.
    pub order: Option<String>,
    pub phase: Option<OfferPhase>,
    pub has_code: bool,
    /// Whether renewal is on; `None` if the item does not renew by itself.
    pub renews: Option<bool>,
    pub is_prepaid: bool,
    /// Whether an instalment plan is cancelled with effect from the end of the commitment.
    pub ends_after_commitment: bool,
    /// Number of payments to which the customer is still committed.
    pub committed_payments: u32,
    pub planned: Option<PlannedItem>,
    pub quantity: Option<u32>,
    /// Number of pieces that are not refunded.
    pub unrefunded: Option<u32>,
    pub is_consumed: bool,
}

/// A change of an item at the next renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedItem {
    /// The product that takes its place.
    Replacement(String),
    Removal,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderAnswer {
    pub id: String,
    pub state: OrderState,
    pub created_at: Option<Timestamp>,
    /// What the buyer paid for all lines, tax included.
    pub total: Option<Decimal>,
    pub currency: Option<String>,
    /// The tax in it.
    pub tax: Option<Decimal>,
    /// The buyer's country.
    pub country: Option<String>,
    /// The phase of the offer of its first line.
    pub phase: Option<OfferPhase>,
    /// The paid period.
    pub paid_from: Option<Timestamp>,
    pub paid_until: Option<Timestamp>,
    /// The sum of all refunds, and when the last one was made.
    pub refunded: Option<Decimal>,
    pub refunded_at: Option<Timestamp>,
    /// The tax in that sum.
    pub refunded_tax: Option<Decimal>,
}

impl PurchaseAnswer {
    /// The snapshot of this answer; `None` if it has no part.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let current = self.current();
        let last = |item: &&&ItemAnswer| item.expires_at;
        // Of several parts with the last end, the first one.
        let main = *current.iter().rev().max_by_key(last)?;
        let expires_at = main.expires_at;
        let skus: BTreeSet<String> = current.iter().map(|item| item.sku()).collect();
        let planned = self.planned(&current, &skus);
        let order = main.order.as_deref().filter(|order| !order.is_empty());
        let paid = self
            .orders
            .iter()
            .find(|one| Some(one.id.as_str()) == order);
        let phase = main.phase.or_else(|| paid.and_then(|order| order.phase));
        let status = self.store_status(main);
        let is_live = matches!(status, StoreStatus::Active | StoreStatus::Grace);
        let will_end = self.status == Status::Canceled || main.is_prepaid;
        let is_over = status == StoreStatus::Over;
        let sku = main.sku();
        let next = planned
            .as_ref()
            .and_then(|planned| planned.difference(&skus).next().cloned());
        Some(Snapshot {
            at: self.at,
            product: mapping::product(self.is_subscription, self.listed, main.is_consumed),
            product_id: Some(main.product.clone()),
            term_sku: Some(sku),
            term: self.term,
            purchased_at: self.started_at,
            renews_at: expires_at.filter(|_| self.is_subscription),
            ends_at: self.ends_at(main, will_end, is_over),
            end_reason: self.end_reason(status),
            auto_renewing: self.is_subscription.then(|| self.renews(main)),
            trial_ends_at: expires_at
                .filter(|_| status == StoreStatus::Active && phase == Some(OfferPhase::Trial)),
            grace_ends_at: expires_at.filter(|_| status == StoreStatus::Grace),
            deferred_at: expires_at.filter(|_| is_live && planned.is_some()),
            deferred_sku: next,
            in_intro_offer: is_live && phase == Some(OfferPhase::Introductory),
            offer: mapping::offer(phase, main.has_code).filter(|_| is_live),
            country: self
                .country
                .as_deref()
                .and_then(mapping::country)
                .map(str::to_owned),
            is_test: self.is_test,
            environment: mapping::environment(self.is_test),
            state: Some(Box::new(StoreState {
                status,
                has_fallen_through: is_over && self.has_fallen_through(),
                skus,
                planned: planned.filter(|_| is_live),
                phase,
                transaction_id: order.map(str::to_owned),
                cycle: mapping::billing_cycles(order).filter(|_| self.is_subscription),
                canceled_at: self.cancellation.and_then(|(_, at)| at),
                resumes_at: self.resumes_at,
                revoked_at: None,
                is_prepaid: main.is_prepaid,
                ends_after_commitment: main.ends_after_commitment,
                renews_by_commitment: self.renews_by_commitment(main),
                is_acknowledged: self.is_acknowledged,
                continues: self.linked.clone(),
                periods: self.periods(main),
                voided: Vec::new(),
                ..StoreState::default()
            })),
            ..Snapshot::default()
        })
    }

    /// The parts that it has now. One that takes the place of another at the next renewal is listed before it is paid.
    fn current(&self) -> Vec<&ItemAnswer> {
        let replaces = |new: &ItemAnswer| {
            self.items.iter().any(|old| {
                old.planned == Some(PlannedItem::Replacement(new.product.clone())) && old != new
            })
        };
        let is_current = |item: &&ItemAnswer| item.order.is_some() || !replaces(item);
        self.items.iter().filter(is_current).collect()
    }

    /// The SKUs from the next renewal on, if they are others.
    fn planned(
        &self,
        current: &[&ItemAnswer],
        skus: &BTreeSet<String>,
    ) -> Option<BTreeSet<String>> {
        let next = |item: &&ItemAnswer| match &item.planned {
            None => Some(item.sku()),
            Some(PlannedItem::Removal) => None,
            Some(PlannedItem::Replacement(product)) => {
                let listed = self.items.iter().filter(|one| one.product == *product);
                let mut listed = listed.filter(|one| *one != *item);
                let listed = listed.next().map(ItemAnswer::sku);
                Some(listed.unwrap_or_else(|| product.clone()))
            }
        };
        let planned: BTreeSet<String> = current.iter().filter_map(next).collect();
        (planned != *skus).then_some(planned)
    }

    fn store_status(&self, main: &ItemAnswer) -> StoreStatus {
        match self.status {
            Status::Pending => StoreStatus::Pending,
            // All pieces were refunded.
            Status::Active if !self.is_subscription && main.unrefunded == Some(0) => {
                StoreStatus::Over
            }
            Status::Active | Status::Canceled => StoreStatus::Active,
            Status::Grace => StoreStatus::Grace,
            Status::Hold => StoreStatus::AccountHold,
            Status::Paused => StoreStatus::Paused,
            Status::Expired | Status::PendingCanceled | Status::Voided => StoreStatus::Over,
        }
    }

    /// Whether the first payment was not made.
    fn has_fallen_through(&self) -> bool {
        let is_unpaid = self.status == Status::Voided && self.started_at.is_none();
        is_unpaid || self.status == Status::PendingCanceled
    }

    fn renews(&self, main: &ItemAnswer) -> bool {
        self.status != Status::Canceled && main.renews == Some(true)
    }

    /// Whether a cancelled instalment plan renews once more: the cancellation takes effect after the last committed payment
    /// (<https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2#InstallmentPlan>).
    fn renews_by_commitment(&self, main: &ItemAnswer) -> bool {
        let will_renew = self.status != Status::Canceled && main.ends_after_commitment;
        will_renew && main.committed_payments > 0
    }

    fn ends_at(&self, main: &ItemAnswer, will_end: bool, is_over: bool) -> Option<Timestamp> {
        if self.is_subscription {
            return main.expires_at.filter(|_| will_end || is_over);
        }
        is_over.then_some(self.at)
    }

    fn end_reason(&self, status: StoreStatus) -> Option<EndReason> {
        let is_over = status == StoreStatus::Over;
        if is_over && self.has_fallen_through() {
            return Some(mapping::end_reason(Cancellation::PendingPurchase));
        }
        let ends = is_over || self.status == Status::Canceled;
        let named = self.cancellation.map(|(by, _)| by);
        let by = named.unwrap_or(Cancellation::Unknown);
        (ends && self.is_subscription).then(|| mapping::end_reason(by))
    }

    /// The paid periods, one of each order.
    fn periods(&self, main: &ItemAnswer) -> Vec<Period> {
        let paid = self.orders.iter().filter(|order| order.state.is_paid());
        let period = |order: &OrderAnswer| {
            let of_order = |item: &&ItemAnswer| item.order.as_deref() == Some(order.id.as_str());
            let item = self.items.iter().find(of_order).unwrap_or(main);
            let quantity = item.quantity.unwrap_or(1);
            let extent = refund_extent(order.state, order.refunded);
            let refunded_at = order.refunded_at.unwrap_or(self.at);
            let units = || {
                let unrefunded = item.unrefunded.filter(|_| !self.is_subscription)?;
                let units = quantity
                    .checked_sub(unrefunded)
                    .filter(|units| *units > 0)?;
                Some(RefundExtent::Units(units))
            };
            Period {
                transaction_id: order.id.clone(),
                as_of: self.at,
                product: item.product.clone(),
                plan: item.plan.clone(),
                begins_at: order
                    .paid_from
                    .or(order.created_at)
                    .or(self.started_at)
                    .unwrap_or(self.at),
                ends_at: order.paid_until.filter(|_| self.is_subscription),
                phase: order.phase.or(item.phase).unwrap_or(OfferPhase::Base),
                price: order.total,
                currency: order
                    .currency
                    .as_deref()
                    .and_then(mapping::currency)
                    .map(str::to_owned),
                tax: order.tax,
                country: order
                    .country
                    .as_deref()
                    .and_then(mapping::country)
                    .map(str::to_owned),
                quantity,
                refund: extent.or_else(units).map(|extent| PeriodRefund {
                    at: refunded_at,
                    extent,
                }),
                refunded_tax: order.refunded_tax,
                voided_at: None,
                cause: None,
            }
        };
        paid.map(period).collect()
    }
}

impl ItemAnswer {
    fn sku(&self) -> String {
        mapping::sku(&self.product, self.plan.as_deref())
    }
}
