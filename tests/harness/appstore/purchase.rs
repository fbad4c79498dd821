//! Purchases at the App Store. Each method is one change: it changes what the App Store shows from then on. Tests send
//! the notifications, or lose, repeat and delay them.

use super::transaction::{Introduced, Returned, Transaction};
use super::whole;
use domain::Timestamp;
use domain::time::DAY;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// Price of a subscription's term and of a one-time product, in thousandths of the currency's unit.
pub const PRICE: i64 = 4990;
/// Length of a term.
pub const TERM: Duration = DAY.saturating_mul(30);
/// Group of a subscription, unless a test chooses another.
const GROUP: &str = "21000001";

// The types of products.
pub const SUBSCRIPTION: &str = "Auto-Renewable Subscription";
pub const CONSUMABLE: &str = "Consumable";
pub const NON_CONSUMABLE: &str = "Non-Consumable";
pub const NON_RENEWING: &str = "Non-Renewing Subscription";

// The states of a subscription.
pub const ACTIVE: i64 = 1;
pub const EXPIRED: i64 = 2;
pub const RETRY: i64 = 3;
pub const GRACE: i64 = 4;
pub const REVOKED: i64 = 5;

// Why a subscription ended.
pub const BY_CUSTOMER: i64 = 1;
pub const BY_BILLING: i64 = 2;
pub const BY_PRICE: i64 = 3;

/// A purchase, identified by its first transaction.
#[derive(Debug, Clone)]
pub struct Bought {
    /// `originalTransactionId`
    pub id: String,
    /// `appTransactionId`: the Apple account.
    pub customer: String,
    /// The account token that the app sets for new transactions.
    pub account: Option<String>,
    /// `subscriptionGroupIdentifier`; `None` for a one-time purchase.
    pub group: Option<String>,
    /// `Production` or `Sandbox`
    pub environment: &'static str,
    /// `inAppOwnershipType`
    pub ownership: &'static str,
    /// Transactions, oldest first.
    pub transactions: Vec<Transaction>,
    pub status: i64,
    /// Whether the next term will be paid.
    pub renews: bool,
    /// The product from the next renewal on.
    pub next_product: String,
    /// `expirationIntent`
    pub intent: Option<i64>,
    /// `isInBillingRetryPeriod`
    pub is_retried: Option<bool>,
    pub grace_ends_at: Option<Timestamp>,
    /// `recentSubscriptionStartDate`
    pub began_at: Timestamp,
    /// Further members of the renewal information, which replace others. Those that are null are left out.
    pub renewal_members: Map<String, Value>,
    term: Duration,
}

/// Returns a transaction id that no other transaction of this process has.
fn transaction_id() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(2_000_000_500_000_000);
    NUMBER.fetch_add(1, Ordering::Relaxed).to_string()
}

/// Returns the id of a purchase with this name: a number, as Apple's are.
pub fn original_id(name: &str) -> String {
    let (number, _) = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u64_pair();
    (2_000_001_000_000_000 + number % 1_000_000_000_000_000).to_string()
}

/// Returns the account token of a customer with this name.
pub fn account(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string()
}

impl Bought {
    fn new(product: &str, kind: &'static str, now: Timestamp) -> Self {
        let now = whole(now);
        let id = transaction_id();
        let is_subscription = kind == SUBSCRIPTION;
        let first = Transaction {
            id: id.clone(),
            product: product.to_owned(),
            kind,
            bought_at: now,
            expires_at: is_subscription.then(|| now.plus(TERM)),
            quantity: 1,
            price: Some(PRICE),
            currency: "USD",
            storefront: "USA",
            introduced: None,
            is_renewal: false,
            is_upgraded: false,
            account: None,
            returned: None,
            members: Map::new(),
        };
        Self {
            customer: format!("70{id}"),
            id,
            account: None,
            group: is_subscription.then(|| GROUP.to_owned()),
            environment: "Production",
            ownership: "PURCHASED",
            transactions: vec![first],
            status: ACTIVE,
            renews: is_subscription,
            next_product: product.to_owned(),
            intent: None,
            is_retried: None,
            grace_ends_at: None,
            began_at: now,
            renewal_members: Map::new(),
            term: TERM,
        }
    }

    /// Returns a subscription whose first term is paid.
    pub fn subscription(product: &str, now: Timestamp) -> Self {
        Self::new(product, SUBSCRIPTION, now)
    }

    /// Returns a subscription that begins with a free introductory offer.
    pub fn trial(product: &str, now: Timestamp, length: Duration) -> Self {
        let mut new = Self::subscription(product, now);
        new.begin_free(Introduced::TRIAL, length);
        new
    }

    /// Returns a one-time purchase of this type.
    pub fn one_time(product: &str, kind: &'static str, now: Timestamp) -> Self {
        Self::new(product, kind, now)
    }

    /// Returns this purchase with another id, before it changes.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.current_mut().id);
        self.customer = format!("70{id}");
        id.clone_into(&mut self.id);
        self
    }

    /// Returns this purchase as one of a customer with this account token.
    #[must_use]
    pub fn of(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        for transaction in &mut self.transactions {
            transaction.account.clone_from(&self.account);
        }
        self
    }

    /// Returns this purchase as one of the Apple account that another purchase has.
    #[must_use]
    pub fn beside(mut self, other: &Self) -> Self {
        self.customer.clone_from(&other.customer);
        self
    }

    /// Returns this subscription in another group.
    #[must_use]
    pub fn in_group(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Returns this purchase as one in the sandbox.
    #[must_use]
    pub fn in_sandbox(mut self) -> Self {
        self.environment = "Sandbox";
        self
    }

    /// Returns this purchase as that of a member of the buyer's family.
    #[must_use]
    pub fn of_family(mut self) -> Self {
        self.ownership = "FAMILY_SHARED";
        self
    }

    /// Returns this purchase with another price, in thousandths of the currency's unit.
    #[must_use]
    pub fn at_price(
        mut self,
        price: i64,
        currency: &'static str,
        storefront: &'static str,
    ) -> Self {
        for transaction in &mut self.transactions {
            (transaction.currency, transaction.storefront) = (currency, storefront);
            transaction.price = Some(if transaction.is_free() { 0 } else { price });
        }
        self.renewal_members
            .insert("renewalPrice".to_owned(), price.into());
        self
    }

    /// Returns this subscription with another length of its terms.
    #[must_use]
    pub fn with_term(mut self, term: Duration) -> Self {
        self.term = term;
        let current = self.current_mut();
        if !current.is_free() {
            current.expires_at = Some(current.bought_at.plus(term));
        }
        self
    }

    /// Returns the transaction that is current.
    ///
    /// # Panics
    /// When there is none.
    pub fn current(&self) -> &Transaction {
        self.transactions.last().expect("a transaction")
    }

    /// Returns the transaction that is current, to change what it shows.
    ///
    /// # Panics
    /// When there is none.
    pub fn current_mut(&mut self) -> &mut Transaction {
        self.transactions.last_mut().expect("a transaction")
    }

    /// Returns the id of the transaction with this number, from 1.
    ///
    /// # Panics
    /// When there is none.
    pub fn transaction_id(&self, number: usize) -> String {
        self.transactions[number - 1].id.clone()
    }

    /// Returns the end of the current period, without grace.
    ///
    /// # Panics
    /// When it has none.
    pub fn expires_at(&self) -> Timestamp {
        self.current().expires_at.expect("a period with an end")
    }

    /// Returns the price of the terms that are paid from now on.
    pub(super) fn term_price(&self) -> i64 {
        let set = self.renewal_members.get("renewalPrice");
        set.and_then(Value::as_i64).unwrap_or(PRICE)
    }

    /// Sets the price of the terms from the next payment on, in thousandths of the currency's unit.
    pub fn change_price(&mut self, price: i64) {
        self.renewal_members
            .insert("renewalPrice".to_owned(), price.into());
    }

    /// Makes the current period a free one of this length.
    fn begin_free(&mut self, introduced: Introduced, length: Duration) {
        let current = self.current_mut();
        current.introduced = Some(introduced);
        current.price = Some(0);
        current.expires_at = Some(current.bought_at.plus(length));
    }

    /// Adds a paid period of a product that begins at `from`.
    fn pay(&mut self, product: &str, from: Timestamp, is_renewal: bool) {
        let last = self.current();
        let next = Transaction {
            id: transaction_id(),
            product: product.to_owned(),
            bought_at: from,
            expires_at: Some(from.plus(self.term)),
            price: Some(self.term_price()),
            introduced: None,
            is_renewal,
            is_upgraded: false,
            account: self.account.clone(),
            returned: None,
            members: Map::new(),
            ..last.clone()
        };
        self.transactions.push(next);
        self.status = ACTIVE;
        (self.intent, self.is_retried, self.grace_ends_at) = (None, None, None);
        product.clone_into(&mut self.next_product);
    }

    /// Renews, also after a trial and in grace, with the planned product. After a failed payment without access, the
    /// new term begins now.
    pub fn renew(&mut self, now: Timestamp) {
        let from = match self.status {
            RETRY => whole(now),
            _ => self.expires_at(),
        };
        let product = self.next_product.clone();
        self.pay(&product, from, true);
    }

    /// Switches renewal off, as the customer.
    pub const fn cancel(&mut self) {
        self.renews = false;
    }

    /// Switches renewal on again.
    pub const fn restore(&mut self) {
        self.renews = true;
    }

    /// Changes the product at once.
    pub fn upgrade(&mut self, product: &str, now: Timestamp) {
        self.current_mut().is_upgraded = true;
        self.pay(product, whole(now), false);
    }

    /// Plans another product from the next renewal on, which also switches renewal on.
    pub fn plan(&mut self, product: &str) {
        product.clone_into(&mut self.next_product);
        self.restore();
    }

    /// Fails the payment at the end of the term, with access for `grace` if there is one.
    pub fn fail_payment(&mut self, grace: Option<Duration>) {
        let end = self.expires_at();
        self.status = if grace.is_some() { GRACE } else { RETRY };
        self.grace_ends_at = grace.map(|grace| end.plus(grace));
        (self.is_retried, self.intent) = (Some(true), Some(BY_BILLING));
    }

    /// Ends access at the end of the grace period, while the payment is still tried.
    pub const fn end_grace(&mut self) {
        self.status = RETRY;
    }

    /// Ends the subscription, for this reason.
    pub const fn expire(&mut self, intent: i64) {
        (self.status, self.renews) = (EXPIRED, false);
        (self.intent, self.is_retried, self.grace_ends_at) = (Some(intent), Some(false), None);
    }

    /// Buys a product of the group again after the end.
    pub fn buy_again(&mut self, product: &str, now: Timestamp) {
        let now = whole(now);
        self.pay(product, now, false);
        (self.renews, self.began_at) = (true, now);
    }

    /// Returns the money of a transaction. A refund of the current one ends access.
    ///
    /// # Panics
    /// When the purchase has no such transaction.
    pub fn refund(&mut self, transaction_id: &str, now: Timestamp) {
        self.give_back(transaction_id, Returned::in_full(whole(now)));
    }

    /// Like [`Self::refund`], with another extent.
    ///
    /// # Panics
    /// When the purchase has no such transaction.
    pub fn give_back(&mut self, transaction_id: &str, returned: Returned) {
        let mut all = self.transactions.iter_mut();
        let refunded = all.find(|one| one.id == transaction_id);
        refunded.expect("a transaction").returned = Some(returned);
        if self.group.is_some() && self.current().id == transaction_id {
            (self.status, self.renews) = (EXPIRED, false);
            (self.intent, self.is_retried) = (Some(BY_CUSTOMER), Some(false));
        }
    }

    /// Takes the refund of a transaction back. A current one that has not ended runs again, without a renewal.
    ///
    /// # Panics
    /// When the purchase has no such transaction.
    pub fn reverse_refund(&mut self, transaction_id: &str, now: Timestamp) {
        let mut all = self.transactions.iter_mut();
        let refunded = all.find(|one| one.id == transaction_id);
        refunded.expect("a transaction").returned = None;
        let is_current = self.current().id == transaction_id;
        if self.group.is_some() && is_current && self.expires_at() > now {
            (self.status, self.is_retried) = (ACTIVE, None);
        }
    }

    /// Takes away the access of a member of the buyer's family.
    pub fn withdraw(&mut self, now: Timestamp) {
        self.current_mut().returned = Some(Returned::of_family(whole(now)));
        (self.status, self.renews) = (REVOKED, false);
        (self.intent, self.is_retried) = (None, None);
    }
}
