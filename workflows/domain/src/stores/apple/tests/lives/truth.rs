//! The simulated App Store: what Apple knows of a subscription, and what it signs of it.

use super::super::report;
use crate::environment::Environment;
use crate::event::tests::day;
use crate::notification::{Notification, NotificationKind};
use crate::period::RefundExtent;
use crate::purchase::State;
use crate::stores::apple::{
    Intent, OfferKind, Ownership, ProductKind, PurchaseFacts, Renewal, RenewalFact, Revocation,
    SubscriptionStatus, TransactionCause, TransactionFact,
};
use crate::time::{DAY, Timestamp};
use crate::verification::SAME;
use rust_decimal::Decimal;

/// The products of the group, each with its price and its days.
pub const PRODUCTS: [(&str, &str, u32); 4] = [
    ("gold", "4.99", 30),
    ("silver", "7.99", 30),
    ("bronze", "2.99", 30),
    ("yearly", "39.99", 365),
];

/// What Apple knows of a subscription, and what settle has to show of it.
#[derive(Debug, Clone)]
pub struct Truth {
    pub at: Timestamp,
    pub status: SubscriptionStatus,
    pub renewal: Renewal,
    /// All transactions, in the order of their purchase.
    pub transactions: Vec<TransactionFact>,
    /// The id of the running or last period.
    pub current: String,
    pub state: State,
    pub in_trial: bool,
    /// The end of access.
    pub access_until: Timestamp,
    /// The number of periods in the running row.
    pub cycle: u64,
    pub ownership: Ownership,
}

/// A notification with what Apple signed in it.
#[derive(Debug, Clone)]
pub struct Message {
    pub kind: NotificationKind,
    pub signed_at: Timestamp,
    pub facts: PurchaseFacts,
}

/// How a transaction is bought.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    pub product: &'a str,
    pub cause: TransactionCause,
    pub offer: Option<OfferKind>,
    pub is_free: bool,
}

impl Truth {
    /// A subscription without a transaction.
    pub fn new(at: Timestamp, ownership: Ownership, committed_until: Option<Timestamp>) -> Self {
        Self {
            at,
            status: SubscriptionStatus::Active,
            renewal: Renewal {
                product: String::new(),
                next_product: None,
                is_on: true,
                renews_at: None,
                intent: None,
                is_retried: false,
                grace_ends_at: None,
                began_at: Some(at),
                committed_until,
            },
            transactions: Vec::new(),
            current: String::new(),
            state: State::Unknown,
            in_trial: false,
            access_until: at,
            cycle: 0,
            ownership,
        }
    }

    /// Adds a transaction for a period from this time on, which becomes the current one. Returns its end.
    pub fn buy(&mut self, offered: Offered<'_>, from: Timestamp) -> Timestamp {
        let (_, price, days) = listed(offered.product);
        let until = from.plus(DAY * days);
        let id = self.add(offered, price, (from, until));
        self.current = id;
        self.renewal.product = offered.product.to_owned();
        self.renewal.next_product = Some(offered.product.to_owned());
        self.renewal.renews_at = Some(until);
        self.access_until = until;
        self.cycle += 1;
        until
    }

    /// Adds seats to the current period. Returns the id of the transaction.
    pub fn add_seats(&mut self) -> String {
        let (product, until) = (self.renewal.product.clone(), self.period_end());
        let offered = Offered {
            product: &product,
            cause: TransactionCause::SeatAddition,
            offer: None,
            is_free: false,
        };
        self.add(offered, "9.50", (self.at, until))
    }

    fn add(&mut self, offered: Offered<'_>, price: &str, period: (Timestamp, Timestamp)) -> String {
        let first = self.transactions.first();
        let began_at = first.map_or(period.0, |first| first.bought_at);
        let id = (2_000_001 + self.transactions.len()).to_string();
        self.transactions.push(TransactionFact {
            signed_at: self.at,
            transaction_id: id.clone(),
            product: offered.product.to_owned(),
            kind: ProductKind::AutoRenewable,
            bought_at: period.0,
            began_at: Some(began_at),
            expires_at: Some(period.1),
            offer: offered.offer,
            is_free: offered.is_free,
            cause: offered.cause,
            ownership: self.ownership,
            price: (!offered.is_free).then(|| price.parse().expect("a price")),
            currency: Some("EUR".to_owned()),
            storefront: Some("DEU".to_owned()),
            quantity: 5,
            is_upgraded: false,
            revocation: None,
            committed_until: self.renewal.committed_until,
            environment: Environment::Production,
        });
        id
    }

    pub fn of(&self, id: &str) -> &TransactionFact {
        let mut all = self.transactions.iter();
        all.find(|one| one.transaction_id == id)
            .expect("a transaction")
    }

    pub fn change(&mut self, id: &str) -> &mut TransactionFact {
        let mut all = self.transactions.iter_mut();
        all.find(|one| one.transaction_id == id)
            .expect("a transaction")
    }

    pub fn period(&self) -> &TransactionFact {
        self.of(&self.current)
    }

    pub fn period_end(&self) -> Timestamp {
        self.period().expires_at.expect("an end")
    }

    /// The state of what runs.
    pub fn running(&self) -> State {
        match (self.in_trial, self.renewal.is_on) {
            (true, true) => State::Trial,
            (true, false) => State::TrialOff,
            (false, true) => State::Active,
            (false, false) => State::Off,
        }
    }

    pub fn signed(&self, id: &str, at: Timestamp) -> TransactionFact {
        TransactionFact {
            signed_at: at,
            ..self.of(id).clone()
        }
    }

    fn signed_renewal(&self, at: Timestamp) -> RenewalFact {
        RenewalFact {
            signed_at: at,
            status: Some(self.status),
            renewal: Some(self.renewal.clone()),
        }
    }

    /// The notification about a transaction.
    pub fn message(&self, kind: NotificationKind, id: &str, signed_at: Timestamp) -> Message {
        Message {
            kind,
            signed_at,
            facts: PurchaseFacts {
                transactions: vec![self.signed(id, signed_at)],
                renewals: vec![self.signed_renewal(signed_at)],
                ..PurchaseFacts::default()
            },
        }
    }

    /// The answer about the present state.
    pub fn statuses(&self, now: Timestamp) -> PurchaseFacts {
        self.message(NotificationKind::Unknown, &self.current, now)
            .facts
    }

    /// The transactions that were bought since this time.
    pub fn history(&self, since: Option<Timestamp>, now: Timestamp) -> Vec<TransactionFact> {
        let all = self.transactions.iter();
        let later = all.filter(|one| Some(one.bought_at.plus(SAME)) >= since);
        later
            .map(|one| self.signed(&one.transaction_id, now))
            .collect()
    }

    /// What the customer paid for a transaction.
    pub fn price(&self, fact: &TransactionFact) -> Decimal {
        let is_buyer = self.ownership == Ownership::Buyer;
        let price = fact.price.filter(|_| is_buyer && !fact.is_free);
        price.unwrap_or_default()
    }

    /// The known amount that was returned of a transaction.
    pub fn returned(&self, fact: &TransactionFact) -> Decimal {
        let price = self.price(fact);
        match fact.revocation.map(|revocation| revocation.extent) {
            None => Decimal::ZERO,
            Some(RefundExtent::Mille(mille)) => price * Decimal::new(i64::from(mille), 3),
            Some(RefundExtent::Units(units)) => {
                price * Decimal::from(units) / Decimal::from(fact.quantity)
            }
            Some(_) => price,
        }
    }

    /// Whether access ended behind a period.
    pub fn is_halted(&self) -> bool {
        self.is_over() || self.state == State::AccountHold
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Expired | State::Revoked)
    }

    /// Takes the access of the current period away.
    pub fn revoke(&mut self, revocation: Revocation) {
        let current = self.current.clone();
        self.change(&current).revocation = Some(revocation);
        self.state = State::Revoked;
        self.access_until = self.access_until.min(revocation.at);
    }

    /// Ends the subscription for this reason.
    pub fn end(&mut self, intent: Intent) {
        self.status = SubscriptionStatus::Expired;
        self.renewal.intent = Some(intent);
        self.renewal.is_retried = false;
        self.renewal.is_on &= intent == Intent::Billing;
        if self.state != State::Revoked {
            self.state = State::Expired;
        }
    }
}

impl Message {
    pub fn notification(&self) -> Notification {
        report(self.kind, self.signed_at)
    }

    /// Signs the content again, at another time.
    pub fn sign_again(&mut self, at: Timestamp) {
        self.signed_at = at;
        for fact in &mut self.facts.transactions {
            fact.signed_at = at;
        }
        for fact in &mut self.facts.renewals {
            fact.signed_at = at;
        }
    }
}

pub fn listed(product: &str) -> (&'static str, &'static str, u32) {
    let mut all = PRODUCTS.into_iter();
    all.find(|(name, ..)| *name == product).expect("a product")
}

/// The beginning of all lives.
pub fn beginning() -> Timestamp {
    day(1)
}
