//! The state of a purchase, in sentences that support staff can repeat to the customer: what was bought and at what
//! price, how long it runs or why it ended, whether it gives access and why not, and what each destination received
//! about it. Pure.

use super::reached::{self, Retries, Unchosen, UnsentRefund};
use super::refunds::{estimate, is_unsent_refund, refund, refunded};
use domain::payment::EntryKind;
use domain::user::CustomerPurchase;
use domain::{CollapseKey, Environment, State, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use storage::{DeliveryView, Destination, PaymentView, PurchaseView, UnchosenPayment};

/// How a subscription's renewal can be switched off, without a full stop.
pub const WHO_CANCELS: &str = "Only the customer can switch renewal off, at the store";

/// State of a purchase in sentences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Standing {
    /// What was bought: the entitlements and the length of a term, or else the SKU.
    pub product: String,
    /// Sentences for its customer.
    pub summary: String,
    /// Whether the latest refund still stands.
    pub is_refunded: bool,
    /// Whether the refund is settle's estimate because the purchase ended early.
    pub is_refund_estimated: bool,
    /// Latest announcement of the purchase to each destination.
    pub destinations: Vec<Reached>,
}

impl Standing {
    /// Returns the label of a refunded purchase; `None` if it is not refunded.
    pub fn refund_for_people(&self) -> Option<&'static str> {
        let badge = if self.is_refund_estimated {
            "refund estimated"
        } else {
            "refunded"
        };
        self.is_refunded.then_some(badge)
    }
}

/// Latest announcement of a purchase to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reached {
    /// Name of the destination.
    pub destination: String,
    /// The event and its delivery; absent where nothing of the purchase was sent.
    #[serde(flatten)]
    pub delivery: Option<DeliveryView>,
    /// Summary of the deliveries of the purchase: by the latest event of each type.
    pub summary: String,
}

/// Fields of a purchase's record that the sentences mention.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) product_ref_id: Option<String>,
    pub(super) entitlements: Vec<Named>,
    current_term_length: Option<String>,
    not_before: Option<Timestamp>,
    purchase_price: Option<String>,
    purchase_currency: Option<String>,
    pub(super) price_source: Option<String>,
    pub(super) offer_type: Option<String>,
    pub(super) is_in_intro_offer_period: Option<bool>,
    pub(super) is_in_trial_period: Option<bool>,
    pub(super) expires_at: Option<Timestamp>,
    canceled_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    payment_issues_began_at: Option<Timestamp>,
    expiration_reason: Option<String>,
    pub(super) pending_sku_ref_id: Option<String>,
    previous_sku_ref_id: Option<String>,
    pub(super) product_type: Option<String>,
    environment: Option<Environment>,
    /// The store's id of the customer who bought the purchase.
    #[serde(skip)]
    app_user_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    name: String,
}

/// Additional data about purchases, besides their records.
pub struct Known<'a> {
    /// The latest delivery of each event type to each destination, oldest first.
    pub deliveries: &'a [DeliveryView],
    pub destinations: &'a [Destination],
    /// Payments and their changes, newest first.
    pub payments: &'a [PaymentView],
    /// Payments that destinations did not receive because they are not subscribed to their event types, newest first.
    pub unchosen: &'a [UnchosenPayment],
    /// Purchases whose product is not in the catalogue.
    pub unlisted: &'a BTreeSet<CollapseKey>,
    pub now: Timestamp,
}

/// Why a refunded purchase may still give access.
const REFUND_ENDS_NOTHING: &str =
    "A refund of money does not end a purchase: access ends when the store ends it";

impl Standing {
    /// Describes the state of a purchase. `is_active` tells whether it gives access, if known.
    pub fn of(view: &PurchaseView, is_active: Option<bool>, known: &Known<'_>) -> Self {
        let (record, state) = (Record::of(view), state(view));
        let is_test = record.is_test();
        let refund = refund(view, known.payments);
        let refunded = refund.map(|(one, usd)| refunded(one, usd, is_test));
        let (is_refunded, is_refund_estimated) = (
            refund.is_some(),
            refund.is_some_and(|(one, _)| estimate(one).is_some()),
        );
        let charged = record.charges_on(state, known.now).filter(|_| is_refunded);
        let runs = charged.or_else(|| record.runs(state, known.now));
        let mut sentences = vec![record.bought(), record.replaced(), refunded, runs];
        sentences.push(
            record
                .last_payment(view, known.payments)
                .filter(|_| state == State::Expired && !is_test),
        );
        sentences.push(Some(
            record.access(is_active, known.unlisted.contains(&view.collapse_key)),
        ));
        let is_for_money = is_refunded && is_active == Some(true) && !is_test;
        sentences.push(is_for_money.then(|| REFUND_ENDS_NOTHING.to_owned()));
        sentences.push(
            view.standing
                .unverified_since
                .map(|at| format!("No response from the store since {at}")),
        );
        sentences.push(is_test.then(|| "Test purchase, no money".to_owned()));
        let sentences: Vec<String> = sentences.into_iter().flatten().collect();
        let own: Vec<&DeliveryView> = known
            .deliveries
            .iter()
            .filter(|one| one.collapse_key == view.collapse_key)
            .collect();
        let reached = known.destinations.iter().filter_map(|destination| {
            let got: Vec<&DeliveryView> = own
                .iter()
                .copied()
                .filter(|one| one.destination_id == destination.id)
                .collect();
            let is_its = |one: &&UnchosenPayment| {
                one.destination_id == destination.id && one.collapse_key == view.collapse_key
            };
            let lacks_refund = |one: &PaymentView| {
                one.collapse_key == view.collapse_key && is_unsent_refund(one, destination, &got)
            };
            let unchosen = Unchosen {
                payments: known.unchosen.iter().filter(is_its).collect(),
                refund: known
                    .payments
                    .iter()
                    .any(lacks_refund)
                    .then(|| UnsentRefund::of(&got, &view.data)),
            };
            let delivery = got.last().map(|one| (*one).clone());
            (delivery.is_some() || !unchosen.payments.is_empty()).then(|| Reached {
                destination: destination.common.name.clone(),
                delivery,
                summary: reached::summary(&got, &unchosen, Retries::of(destination, known.now)),
            })
        });
        Self {
            product: record.product(),
            summary: format!("{}.", sentences.join(". ")),
            is_refunded,
            is_refund_estimated: is_refunded && is_refund_estimated,
            destinations: reached.collect(),
        }
    }
}

/// Returns sentences about active production subscriptions that give the same entitlement and all renew, so that the
/// customer is charged for each. `counted` has all of the customer's purchases.
pub fn renewing_together(views: &[PurchaseView], counted: &[CustomerPurchase]) -> Vec<String> {
    let renewing = renewing(views, counted, &[State::Trial, State::Active, State::Grace]);
    let entitlements: BTreeSet<&str> = renewing
        .iter()
        .flat_map(|record| record.entitlements.iter().map(|one| one.name.as_str()))
        .collect();
    let sentences: BTreeSet<String> = entitlements
        .into_iter()
        .filter_map(|name| together(&renewing, name))
        .collect();
    sentences.into_iter().collect()
}

/// Returns the active production subscriptions in one of these states, by their next renewal.
pub(super) fn renewing(
    views: &[PurchaseView],
    counted: &[CustomerPurchase],
    states: &[State],
) -> Vec<Record> {
    let is_counted = |view: &&PurchaseView| {
        let found = counted
            .iter()
            .find(|one| one.collapse_key == view.collapse_key);
        found.is_some_and(|one| {
            one.is_active == Some(true) && one.environment == Environment::Production
        })
    };
    let views = views
        .iter()
        .filter(is_counted)
        .filter(|view| states.contains(&state(view)));
    let mut renewing: Vec<Record> = views
        .map(Record::of)
        .filter(Record::is_subscription)
        .collect();
    renewing.sort_by_key(|record| record.expires_at);
    renewing
}

/// Returns a sentence about the subscriptions that give an entitlement; `None` if fewer than two do.
fn together(renewing: &[Record], entitlement: &str) -> Option<String> {
    let gives = |record: &&Record| {
        record
            .entitlements
            .iter()
            .any(|one| one.name == entitlement)
    };
    let text = |record: &Record| match record.expires_at {
        Some(at) => format!("{} on {at}", record.product()),
        None => record.product(),
    };
    let mut all: Vec<String> = renewing.iter().filter(gives).map(text).collect();
    let last = all.pop().filter(|_| !all.is_empty())?;
    let accounts: BTreeSet<&str> = renewing
        .iter()
        .filter(gives)
        .filter_map(|record| record.app_user_id.as_deref())
        .collect();
    let by = |number: &str| {
        format!(
            "They were bought by {number} different store accounts. {WHO_CANCELS}, with the account that bought it."
        )
    };
    let who = match accounts.len() {
        0 | 1 => format!("{WHO_CANCELS}."),
        2 => by("two"),
        number => by(&number.to_string()),
    };
    let begin = match all.len() {
        1 => "Two subscriptions are active at the same time, and both will renew".to_owned(),
        others => format!(
            "{} subscriptions are active at the same time, and all will renew",
            others + 1
        ),
    };
    Some(format!("{begin}: {} and {last}. {who}", all.join(", ")))
}

/// Returns the sentence on when the customer's access in an environment ended. `None` if no purchase with an
/// entitlement ended, or if another purchase may give access. `counted` has all of the customer's purchases.
pub fn last_end(
    views: &[PurchaseView],
    counted: &[CustomerPurchase],
    environment: Environment,
) -> Option<String> {
    let own = counted.iter().filter(|one| one.environment == environment);
    let records = own.map(|one| {
        let view = views
            .iter()
            .find(|view| view.collapse_key == one.collapse_key);
        let known = view.map_or_else(|| named(one.state.as_deref().unwrap_or_default()), state);
        // A replaced purchase gives no access, whatever its state.
        let is_replaced = one.is_active == Some(false) && known.is_active() != Some(false);
        (
            view.map(Record::of).unwrap_or_default(),
            if is_replaced { State::Replaced } else { known },
        )
    });
    latest_end(&records.collect::<Vec<_>>())
}

/// Returns the sentence about the latest end; `None` if ended purchases do not explain why there is no access.
fn latest_end(records: &[(Record, State)]) -> Option<String> {
    let is_reason = records.iter().all(|(record, state)| record.is_over(*state));
    let ends = records
        .iter()
        .filter_map(|(record, state)| record.end(*state));
    ends.max()
        .map(|(_, sentence)| sentence)
        .filter(|_| is_reason)
}

/// Returns a name for what was bought: the entitlements and the length of a term; if not known, the SKU.
pub fn product(view: &PurchaseView) -> String {
    Record::of(view).product()
}

/// Returns whether a purchase is a one-time purchase, which neither renews nor expires.
pub fn is_bought_once(view: &PurchaseView) -> bool {
    let record = Record::of(view);
    record.product_type.is_some() && !record.is_subscription()
}

/// Returns the parsed state of a purchase.
fn state(view: &PurchaseView) -> State {
    named(&view.state)
}

/// Returns the state with this name; `Unknown` if there is none.
fn named(name: &str) -> State {
    State::ALL
        .iter()
        .find(|state| state.as_str() == name)
        .copied()
        .unwrap_or(State::Unknown)
}

impl Record {
    /// Returns the fields of a purchase's latest record; empty before the first record.
    pub(super) fn of(view: &PurchaseView) -> Self {
        let record = view
            .data
            .get("data")
            .and_then(|data| Self::deserialize(data).ok())
            .unwrap_or_default();
        Self {
            app_user_id: view.app_user_id.clone(),
            ..record
        }
    }

    pub(super) fn is_subscription(&self) -> bool {
        self.product_type.as_deref() == Some("subscription") || self.expires_at.is_some()
    }

    /// Returns whether the purchase was made in the store's test environment, where nothing is charged.
    pub(super) fn is_test(&self) -> bool {
        self.environment == Some(Environment::Sandbox)
    }

    /// Returns when access ended, with a sentence about it; `None` if it has not ended or never gave access.
    fn end(&self, state: State) -> Option<(Timestamp, String)> {
        let (what, at) = match state {
            State::Expired => ("ended", self.expires_at?),
            State::Revoked => ("was revoked", self.revoked_at?),
            _ => return None,
        };
        (!self.entitlements.is_empty()).then(|| (at, format!("{} {what} {at}.", self.product())))
    }

    /// Returns whether the purchase certainly gives no access: it ended at a known time, was replaced, or has ended and
    /// grants no entitlement.
    fn is_over(&self, state: State) -> bool {
        match state {
            State::Replaced => true,
            State::Expired | State::Revoked => {
                self.entitlements.is_empty() || self.end(state).is_some()
            }
            State::Unknown => false,
            _ => self.entitlements.is_empty() && self.product_type.as_deref() == Some("consumable"),
        }
    }

    /// Returns a phrase about a purchase's latest payment, with its amount if known.
    fn last_payment(&self, view: &PurchaseView, payments: &[PaymentView]) -> Option<String> {
        let own = || {
            payments
                .iter()
                .filter(|one| one.collapse_key == view.collapse_key)
        };
        let last = own().find(|one| one.kind.is_payment())?;
        let is_corrected =
            own().any(|one| one.kind == EntryKind::Correction && one.number == last.number);
        let paid = last
            .price
            .as_ref()
            .zip(last.currency.as_ref())
            .map(|(price, currency)| format!("{price} {currency}"));
        // After a correction, the record has the corrected price.
        let paid = if is_corrected {
            self.price()
        } else {
            paid.or_else(|| self.price())
        };
        let paid = paid.map_or_else(String::new, |paid| format!("{paid} on "));
        Some(format!("Last payment: {paid}{}", last.occurred_at))
    }

    pub(super) fn product(&self) -> String {
        let names: Vec<&str> = self
            .entitlements
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        let term = match self.current_term_length.as_deref() {
            Some("P1W") => Some("weekly"),
            Some("P1M") => Some("monthly"),
            Some("P3M") => Some("quarterly"),
            Some("P6M") => Some("half-yearly"),
            Some("P1Y") => Some("yearly"),
            _ => None,
        };
        match (names.join(" and "), term) {
            (names, _) if names.is_empty() => self
                .product_ref_id
                .clone()
                .unwrap_or_else(|| "Product not known".to_owned()),
            (names, Some(term)) => format!("{names} {term}"),
            (names, None) => names,
        }
    }

    fn bought(&self) -> Option<String> {
        let price = self
            .price()
            .filter(|_| !self.is_test())
            .map_or_else(String::new, |price| format!(" for {price}"));
        Some(format!("Bought {}{price}", self.not_before?))
    }

    /// Returns the sentence on which plan this one replaced. A purchase alongside another one replaces none, even if it
    /// is announced as a change of plan.
    fn replaced(&self) -> Option<String> {
        Some(format!(
            "Replaced `{}` with `{}`",
            self.previous_sku_ref_id.as_ref()?,
            self.product_ref_id.as_ref()?
        ))
    }

    pub(super) fn price(&self) -> Option<String> {
        Some(format!(
            "{} {}",
            self.purchase_price.as_deref()?,
            self.purchase_currency.as_deref()?
        ))
    }

    /// Returns until when the purchase runs, or when and why it ended.
    pub(super) fn runs(&self, state: State, now: Timestamp) -> Option<String> {
        let at = |known: Option<Timestamp>| known.map_or_else(String::new, |at| format!(" {at}"));
        let on =
            |known: Option<Timestamp>| known.map_or_else(String::new, |at| format!(" on {at}"));
        let until = self
            .expires_at
            .map_or_else(String::new, |at| format!(" until {at}"));
        let off_since = self
            .canceled_at
            .map_or_else(String::new, |at| format!(" since {at}"));
        let end = at(self.expires_at);
        Some(match state {
            State::Unknown => return None,
            State::Trial if self.is_due(now) => self.charge(now),
            State::Trial => format!("In a free trial{until}, then it is paid for"),
            State::TrialOff => format!(
                "Renewal off{off_since}: no charge. The free trial runs{until}, then it ends"
            ),
            State::Active if self.is_subscription() => self.charge(now),
            State::Active => "It does not expire".to_owned(),
            State::Off => {
                format!("Renewal off{off_since}: no further charge. Paid{until}, then it ends")
            }
            State::Grace => {
                let since = on(self.payment_issues_began_at);
                format!(
                    "The payment failed{since}: the store is retrying, and access continues{until}"
                )
            }
            State::Pending => "The first payment is pending: no access yet".to_owned(),
            State::AccountHold => {
                let since = on(self.payment_issues_began_at);
                format!("The payment failed{since}: no access until it is repaired")
            }
            State::Paused => "Paused by the customer: no access until it is resumed".to_owned(),
            State::Expired => format!("Ended{end}{}", self.because()),
            State::Revoked => format!("Revoked{}: the store took it back", on(self.revoked_at)),
            State::Replaced => "Replaced by another purchase of this customer".to_owned(),
        })
    }

    /// Returns a phrase on why the purchase ended.
    fn because(&self) -> String {
        let on = self
            .canceled_at
            .map_or_else(String::new, |at| format!(" on {at}"));
        match self.expiration_reason.as_deref() {
            Some("customer") => format!(", because the customer switched renewal off{on}"),
            Some("store") => {
                ", because it was not paid or the store's customer service ended it".to_owned()
            }
            Some("replaced") => ", because another plan replaced it".to_owned(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
