//! A purchase at Google. Each method is one change: it changes what Google shows from then on. Tests send the
//! notifications, or lose, repeat and delay them.

use super::order::{Order, Refund};
use domain::Timestamp;
use domain::time::DAY;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Price of a subscription's term and of a piece of a one-time product.
pub const CENTS: i64 = 499;
/// Country and currency of a purchase, unless a test chooses others. The ledger counts in this currency.
const COUNTRY: &str = "US";
const CURRENCY: &str = "USD";
/// Length of a term.
pub const TERM: Duration = DAY.saturating_mul(30);

/// An item of a subscription.
#[derive(Debug, Clone)]
pub struct Item {
    pub product: String,
    pub plan: String,
    pub expires_at: Option<Timestamp>,
    /// The last paid order.
    pub order: Option<String>,
    pub is_trial: bool,
    /// The product that replaces this one at the next renewal.
    pub replaced_by: Option<String>,
    /// Number of payments that an instalment plan still commits to.
    pub payments_left: Option<u32>,
    /// Whether the commitment is cancelled with effect from its end.
    pub is_ending: bool,
    pub cents: i64,
}

/// The expired purchase that preceded one that was made outside the app.
#[derive(Debug, Clone)]
pub struct Former {
    pub token: String,
    pub account: Option<String>,
}

/// The pieces of a one-time purchase.
#[derive(Debug, Clone, Copy)]
pub struct Pieces {
    pub bought: u32,
    pub unrefunded: u32,
}

/// A purchase, identified by its token.
#[derive(Debug, Clone)]
pub struct Bought {
    pub token: String,
    /// The account id that the app passed.
    pub account: Option<String>,
    pub linked: Option<String>,
    pub former: Option<Former>,
    /// Name of the state, without `SUBSCRIPTION_STATE_`.
    pub state: &'static str,
    pub started_at: Option<Timestamp>,
    /// Items of a subscription.
    pub items: Vec<Item>,
    /// The product and pieces of a one-time purchase; `None` for a subscription.
    pub one_time: Option<(String, Pieces)>,
    /// All orders that were paid, oldest first.
    pub orders: Vec<Order>,
    /// Member of `canceledStateContext`, with the time of a user's cancellation.
    pub canceled: Option<(&'static str, Option<Timestamp>)>,
    pub resumes_at: Option<Timestamp>,
    /// The order whose payment failed.
    pub unpaid_order: Option<String>,
    pub renews: bool,
    /// Whether the customer extends it by top-ups, each of which is a purchase of its own.
    pub is_prepaid: bool,
    pub country: &'static str,
    pub currency: &'static str,
    pub is_test: bool,
    pub is_acknowledged: bool,
    /// End of the last paid term or trial, without grace.
    paid_until: Timestamp,
    order_base: String,
    term: Duration,
}

/// Returns an order id that no other purchase of this process has.
fn order_base() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(10_000);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("GPA.3301-1702-4153-{number}")
}

impl Bought {
    fn new(token: &str, now: Timestamp) -> Self {
        Self {
            token: token.to_owned(),
            account: None,
            linked: None,
            former: None,
            state: "ACTIVE",
            started_at: Some(now),
            items: Vec::new(),
            one_time: None,
            orders: Vec::new(),
            canceled: None,
            resumes_at: None,
            unpaid_order: None,
            renews: true,
            is_prepaid: false,
            country: COUNTRY,
            currency: CURRENCY,
            is_test: false,
            is_acknowledged: true,
            paid_until: now,
            order_base: order_base(),
            term: TERM,
        }
    }

    /// Returns a subscription that is not paid yet. `sku` is a product with its plan, such as `gold:monthly`.
    ///
    /// # Panics
    /// When the SKU has no plan.
    pub fn pending(token: &str, sku: &str, now: Timestamp) -> Self {
        let (product, plan) = sku.split_once(':').expect("a product and its plan");
        let item = Item {
            product: product.to_owned(),
            plan: plan.to_owned(),
            expires_at: None,
            order: None,
            is_trial: false,
            replaced_by: None,
            payments_left: None,
            is_ending: false,
            cents: CENTS,
        };
        Self {
            state: "PENDING",
            started_at: None,
            items: vec![item],
            is_acknowledged: false,
            ..Self::new(token, now)
        }
    }

    /// Returns a subscription whose first term is paid.
    pub fn subscription(token: &str, sku: &str, now: Timestamp) -> Self {
        let mut new = Self::pending(token, sku, now);
        new.pay(now);
        new.is_acknowledged = true;
        new
    }

    /// Returns a subscription that begins with a trial.
    pub fn trial(token: &str, sku: &str, now: Timestamp, length: Duration) -> Self {
        let mut new = Self::pending(token, sku, now);
        (new.state, new.started_at, new.is_acknowledged) = ("ACTIVE", Some(now), true);
        new.paid_until = now.plus(length);
        let order = new.order(now, 0, true);
        new.show_order(order);
        new
    }

    /// Returns a paid one-time purchase of some pieces.
    pub fn one_time(token: &str, product: &str, pieces: u32, now: Timestamp) -> Self {
        let mut new = Self::new(token, now);
        let all = Pieces {
            bought: pieces,
            unrefunded: pieces,
        };
        new.one_time = Some((product.to_owned(), all));
        new.orders.push(Order {
            id: new.order_base.clone(),
            token: new.token.clone(),
            product: product.to_owned(),
            plan: None,
            created_at: now,
            paid_until: None,
            is_trial: false,
            cents: CENTS * i64::from(pieces),
            country: COUNTRY,
            currency: CURRENCY,
            quantity: Some(pieces),
            refunds: Vec::new(),
        });
        new
    }

    /// Returns this purchase with the account id that the app passed.
    #[must_use]
    pub fn of(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// Returns this purchase as a continuation of another one.
    #[must_use]
    pub fn continuing(mut self, old: &Self) -> Self {
        self.linked = Some(old.token.clone());
        self
    }

    /// Returns this purchase as one that was made outside the app after another one had ended.
    #[must_use]
    pub fn outside_the_app(mut self, old: &Self) -> Self {
        self.former = Some(Former {
            token: old.token.clone(),
            account: old.account.clone(),
        });
        self
    }

    /// Returns this purchase without an acknowledgement.
    #[must_use]
    pub fn unacknowledged(mut self) -> Self {
        self.is_acknowledged = false;
        self
    }

    /// Returns this subscription with a term that ends at `end`.
    #[must_use]
    pub fn until(mut self, end: Timestamp) -> Self {
        self.paid_until = end;
        self.end_items(end);
        if let Some(order) = self.orders.last_mut() {
            order.paid_until = Some(end);
        }
        self
    }

    /// Returns this subscription with another price of its terms, in cents.
    #[must_use]
    pub fn at_price(mut self, cents: i64) -> Self {
        self.items.iter_mut().for_each(|item| item.cents = cents);
        self.orders
            .iter_mut()
            .filter(|order| !order.is_trial)
            .for_each(|order| order.cents = cents);
        self
    }

    /// Returns this purchase as one that was made in another country, in whose currency its prices are.
    #[must_use]
    pub fn in_country(mut self, country: &'static str, currency: &'static str) -> Self {
        (self.country, self.currency) = (country, currency);
        for order in &mut self.orders {
            (order.country, order.currency) = (country, currency);
        }
        self
    }

    /// Returns this subscription as one that the customer extends by top-ups.
    #[must_use]
    pub fn prepaid(mut self) -> Self {
        (self.is_prepaid, self.renews) = (true, false);
        self
    }

    /// Returns this subscription with the first of `payments` committed payments made.
    #[must_use]
    pub fn in_instalments(mut self, payments: u32) -> Self {
        let left = payments.saturating_sub(1);
        self.items
            .iter_mut()
            .for_each(|item| item.payments_left = Some(left));
        self
    }

    /// Returns the id of the order with this number, from 1.
    pub fn order_id(&self, number: usize) -> String {
        match number.checked_sub(2) {
            None => self.order_base.clone(),
            Some(renewal) => format!("{}..{renewal}", self.order_base),
        }
    }

    /// Returns the latest of the items' ends.
    ///
    /// # Panics
    /// When no item has an end.
    pub fn expires_at(&self) -> Timestamp {
        let ends = self.items.iter().filter_map(|item| item.expires_at);
        ends.max().expect("an item with an end")
    }

    /// Returns the end of what is paid, without grace.
    pub const fn paid_until(&self) -> Timestamp {
        self.paid_until
    }

    fn order(&self, now: Timestamp, cents: i64, is_trial: bool) -> Order {
        let item = self.items.first();
        Order {
            id: self.order_id(self.orders.len() + 1),
            token: self.token.clone(),
            product: item.map(|item| item.product.clone()).unwrap_or_default(),
            plan: item.map(|item| item.plan.clone()),
            created_at: now,
            paid_until: Some(self.paid_until),
            is_trial,
            cents,
            country: self.country,
            currency: self.currency,
            quantity: None,
            refunds: Vec::new(),
        }
    }

    /// Adds an order that all items name from now on, until its end.
    fn show_order(&mut self, order: Order) {
        for item in &mut self.items {
            item.order = Some(order.id.clone());
            item.is_trial = order.is_trial;
            item.expires_at = Some(self.paid_until);
        }
        self.orders.push(order);
    }

    /// Pays the next term now.
    fn charge(&mut self, now: Timestamp) {
        let cents = self.items.iter().map(|item| item.cents).sum();
        let order = self.order(now, cents, false);
        self.show_order(order);
        self.state = "ACTIVE";
        (self.unpaid_order, self.resumes_at) = (None, None);
        for item in &mut self.items {
            item.payments_left = item.payments_left.map(|left| left.saturating_sub(1));
        }
    }

    /// Completes the payment of a pending purchase.
    pub fn pay(&mut self, now: Timestamp) {
        (self.started_at, self.paid_until) = (Some(now), now.plus(self.term));
        self.charge(now);
    }

    /// Renews, also after a trial and in grace. After a hold or pause, the new term begins now. A planned replacement
    /// takes place.
    pub fn renew(&mut self, now: Timestamp) {
        let from = if matches!(self.state, "ON_HOLD" | "PAUSED") {
            now
        } else {
            self.paid_until
        };
        self.paid_until = from.plus(self.term);
        if self.items.iter().any(|item| item.replaced_by.is_some()) {
            self.items.retain(|item| item.replaced_by.is_none());
        }
        self.charge(now);
    }

    /// Changes the price of the terms from the next renewal on.
    pub fn change_price(&mut self, cents: i64) {
        self.items.iter_mut().for_each(|item| item.cents = cents);
    }

    /// Fails the payment at the end of the term, which begins a grace period.
    pub fn fail_payment(&mut self, now: Timestamp, grace: Duration) {
        self.state = "IN_GRACE_PERIOD";
        self.unpaid_order = Some(self.order_id(self.orders.len() + 1));
        self.end_items(now.plus(grace));
    }

    /// Ends access because the payment still fails.
    pub fn hold(&mut self, now: Timestamp) {
        self.state = "ON_HOLD";
        self.unpaid_order = Some(self.order_id(self.orders.len() + 1));
        self.end_items(now);
    }

    /// Begins a pause until `resumes_at`.
    pub fn pause(&mut self, now: Timestamp, resumes_at: Timestamp) {
        self.state = "PAUSED";
        self.resumes_at = Some(resumes_at);
        self.end_items(now);
    }

    /// Turns renewal off, as the user.
    pub fn cancel(&mut self, now: Timestamp) {
        (self.state, self.renews) = ("CANCELED", false);
        self.canceled = Some(("userInitiatedCancellation", Some(now)));
    }

    /// Cancels an instalment plan with effect from the end of its commitment, as the user.
    pub fn cancel_commitment(&mut self) {
        self.items.iter_mut().for_each(|item| item.is_ending = true);
    }

    /// Ends the purchase at `expires_at`, as the user.
    pub fn expire(&mut self, expires_at: Timestamp) {
        let canceled_at = self.canceled.and_then(|(_, at)| at).unwrap_or(expires_at);
        self.finish(expires_at);
        self.canceled = Some(("userInitiatedCancellation", Some(canceled_at)));
    }

    /// Ends the purchase at the end of a hold, to which Google moves the items' ends.
    pub fn end_hold(&mut self, now: Timestamp) {
        self.finish(now);
        self.canceled = Some(("systemInitiatedCancellation", None));
    }

    /// Ends the purchase because another one takes its place.
    pub fn replace(&mut self, now: Timestamp) {
        self.finish(now);
        self.canceled = Some(("replacementCancellation", None));
    }

    fn finish(&mut self, expires_at: Timestamp) {
        (self.state, self.renews) = ("EXPIRED", false);
        (self.unpaid_order, self.resumes_at) = (None, None);
        self.end_items(expires_at);
    }

    fn end_items(&mut self, at: Timestamp) {
        self.items
            .iter_mut()
            .for_each(|item| item.expires_at = Some(at));
    }

    /// Plans this subscription's product until the next renewal, and its own product from then on: how Google shows a
    /// deferred change of `old` to this purchase. Nothing is charged before.
    ///
    /// # Panics
    /// When one of the purchases has no item.
    pub fn defer_from(&mut self, old: &Self) {
        let own = self.items.first_mut().expect("an item");
        (own.order, own.expires_at, own.is_trial) = (None, None, false);
        let mut present = old.items.first().expect("an item").clone();
        present.replaced_by = Some(own.product.clone());
        self.items.push(present);
        self.orders.clear();
        self.paid_until = old.paid_until;
    }

    /// Returns an order's money, or what is left of it, without revoking access.
    ///
    /// # Panics
    /// When the purchase has no such order.
    pub fn refund(&mut self, order_id: &str, now: Timestamp) {
        let order = self.order_mut(order_id);
        let cents = order.cents - order.refunded_cents();
        order.refunds.push(Refund { at: now, cents });
    }

    /// Returns a part of an order's money, without revoking access.
    ///
    /// # Panics
    /// When the purchase has no such order.
    pub fn refund_part(&mut self, order_id: &str, cents: i64, now: Timestamp) {
        let order = self.order_mut(order_id);
        order.refunds.push(Refund { at: now, cents });
    }

    fn order_mut(&mut self, id: &str) -> &mut Order {
        let mut orders = self.orders.iter_mut();
        let order = orders.find(|order| order.id == id);
        order.unwrap_or_else(|| panic!("no order {id}"))
    }

    /// Returns the money of some pieces of a one-time purchase. Without any piece left, the purchase is cancelled.
    ///
    /// # Panics
    /// When the purchase has no pieces.
    pub fn return_pieces(&mut self, pieces: u32, now: Timestamp) {
        let (_, left) = self.one_time.as_mut().expect("a one-time purchase");
        left.unrefunded = left.unrefunded.saturating_sub(pieces);
        if left.unrefunded == 0 {
            self.state = "CANCELLED";
        }
        for order in &mut self.orders {
            order.refunds.push(Refund {
                at: now,
                cents: CENTS * i64::from(pieces),
            });
        }
    }
}
