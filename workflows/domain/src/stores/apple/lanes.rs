//! The facts that count: of each transaction, and of the renewal apart from them, what was signed last. What is
//! recorded counts like a fact.

use super::answer::{PurchaseFacts, Renewal, RenewalFact, TransactionFact};
use super::mapping::{self, Ownership, SubscriptionStatus, TransactionCause};
use super::rules::RETRIED_FOR;
use crate::environment::Environment;
use crate::period::{OfferPhase, Period, PeriodCause, PeriodRefund, RefundExtent};
use crate::purchase::Purchase;
use crate::store_state::{SharedAccess, StoreState, StoreStatus};
use crate::time::{DAY, Timestamp};
use crate::verification::{EndReason, Offer, Product, SAME, Snapshot};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long before the end of a period Apple renews it at the earliest.
const RENEWED_EARLY: Duration = DAY;

pub(super) struct Lanes<'a> {
    pub known: Option<&'a Purchase>,
    /// The newest fact of each transaction, the oldest transaction first.
    pub transactions: Vec<&'a TransactionFact>,
    /// All facts, also those that a newer one of the same transaction replaces.
    pub all: &'a [TransactionFact],
    pub renewals: &'a [RenewalFact],
    /// The newest renewal information, and when it was signed.
    pub renewal: Option<(Timestamp, &'a Renewal)>,
    pub status: Option<(Timestamp, SubscriptionStatus)>,
    pub current: Current,
}

/// The transaction of the running or last period.
pub(super) struct Current {
    pub transaction_id: String,
    pub product: String,
    pub kind: Product,
    pub begins_at: Timestamp,
    pub ends_at: Option<Timestamp>,
    pub phase: OfferPhase,
    pub offer: Option<Offer>,
    pub country: Option<String>,
    pub environment: Environment,
    pub is_bought: bool,
    /// How its holder has it if another customer paid.
    pub shared: Option<SharedAccess>,
    began_at: Option<Timestamp>,
    committed_until: Option<Timestamp>,
    /// Why it was revoked, if it was.
    pub revoked: Option<EndReason>,
    pub as_of: Timestamp,
    /// Whether the record does not have it.
    pub is_new: bool,
}

impl TransactionFact {
    /// Returns the place of the transaction among all of its purchase.
    fn place(&self) -> (Timestamp, Option<Timestamp>, &str) {
        (
            self.bought_at,
            self.expires_at,
            self.transaction_id.as_str(),
        )
    }

    /// Returns the order of facts about one transaction. Of those that were signed together, a revocation counts, then
    /// the end by an upgrade.
    fn order(&self) -> impl Ord {
        let revocation = self
            .revocation
            .map(|one| (one.ends_access, one.at, one.extent));
        (self.signed_at, revocation, self.is_upgraded)
    }

    /// Whether it can be the current period.
    pub fn is_period(&self) -> bool {
        self.cause != TransactionCause::SeatAddition
    }

    /// Returns the phase. A free renewal is of a customer who pays already, or did: it is no trial.
    fn phase(&self) -> OfferPhase {
        let is_trial = self.is_free && self.cause == TransactionCause::Purchase;
        match mapping::phase(self.offer, is_trial) {
            OfferPhase::Base if self.is_free && !is_trial => OfferPhase::Other,
            phase => phase,
        }
    }

    /// Returns the price. What another customer paid, and a trial, costs nothing. Whether the holder of a purchase that
    /// is held in an unknown way paid for it is not known.
    fn paid_price(&self) -> Option<Decimal> {
        let shown = self.price.filter(|_| self.ownership == Ownership::Buyer);
        let is_free = self.is_free || self.ownership.shared().is_some();
        shown.or(is_free.then_some(Decimal::ZERO))
    }
}

impl RenewalFact {
    fn renewal_at(&self) -> Option<(Timestamp, &Renewal)> {
        Some((self.signed_at, self.renewal.as_ref()?))
    }
}

impl Renewal {
    /// Returns the state that it shows by itself, as of its signing time.
    fn store_status(&self, at: Timestamp) -> StoreStatus {
        if self.is_retried && self.grace_ends_at > Some(at) {
            StoreStatus::Grace
        } else if self.is_retried {
            StoreStatus::AccountHold
        } else if self.intent.is_some() {
            StoreStatus::Over
        } else {
            StoreStatus::Active
        }
    }
}

impl Current {
    /// Returns the running or last period: the latest one that no upgrade left.
    fn of(
        transactions: &[&TransactionFact],
        known: Option<&Purchase>,
        renewal: Option<(Timestamp, &Renewal)>,
    ) -> Option<Self> {
        let periods = transactions.iter().filter(|fact| fact.is_period());
        // A renewal that was paid early, before an upgrade, is not marked yet in what was signed before.
        let is_left = |product: &str, begins_at: Timestamp, as_of: Timestamp| {
            renewal.is_some_and(|(at, renewal)| {
                renewal.product != product && begins_at > at && at >= as_of
            })
        };
        let mut unmarked = periods.clone().rev().filter(|fact| !fact.is_upgraded);
        let shown = unmarked.find(|fact| !is_left(&fact.product, fact.bought_at, fact.signed_at));
        let recorded = known.and_then(Self::of_record);
        match (shown, recorded) {
            (Some(fact), Some(recorded))
                if recorded.is_after(fact)
                    && !is_left(&recorded.product, recorded.begins_at, recorded.as_of) =>
            {
                Some(recorded)
            }
            (Some(fact), _) => Some(Self::of_fact(fact, known)),
            (None, Some(recorded)) => Some(recorded),
            (None, None) => Some(Self::of_fact(periods.clone().next_back()?, known)),
        }
    }

    fn of_fact(fact: &TransactionFact, known: Option<&Purchase>) -> Self {
        let revocation = fact.revocation.filter(|revocation| revocation.ends_access);
        Self {
            transaction_id: fact.transaction_id.clone(),
            product: fact.product.clone(),
            kind: mapping::product(fact.kind),
            begins_at: fact.bought_at,
            ends_at: fact.expires_at,
            phase: fact.phase(),
            offer: fact.offer.map(mapping::offer),
            country: fact
                .storefront
                .as_deref()
                .and_then(mapping::country)
                .map(str::to_owned),
            environment: fact.environment,
            is_bought: fact.cause == TransactionCause::Purchase,
            began_at: fact.began_at,
            committed_until: fact.committed_until,
            shared: fact.ownership.shared(),
            revoked: revocation.map(|_| mapping::revoked_reason(fact.ownership)),
            as_of: fact.signed_at,
            is_new: is_new(known, fact),
        }
    }

    fn of_record(known: &Purchase) -> Option<Self> {
        let shown = known.snapshot.as_ref()?;
        let state = shown.state.as_deref()?;
        let period = known.paid_period()?;
        Some(Self {
            transaction_id: period.transaction_id.clone(),
            product: period.product.clone(),
            kind: shown.product,
            begins_at: period.begins_at,
            ends_at: period.ends_at,
            phase: period.phase,
            offer: shown.offer,
            country: shown.country.clone(),
            environment: shown.environment,
            is_bought: state.is_bought,
            began_at: shown.purchased_at,
            committed_until: shown.ends_at.filter(|_| state.ends_after_commitment),
            shared: state.shared,
            revoked: shown.end_reason.filter(|_| period.is_voided()),
            as_of: period.as_of,
            is_new: false,
        })
    }

    /// Whether it is another transaction, and a later one.
    fn is_after(&self, fact: &TransactionFact) -> bool {
        let place = (self.begins_at, self.ends_at, self.transaction_id.as_str());
        self.transaction_id != fact.transaction_id && place > fact.place()
    }
}

impl<'a> Lanes<'a> {
    /// Returns the facts that count; `None` if neither they nor the record show a transaction.
    pub fn of(facts: &'a PurchaseFacts, known: Option<&'a Purchase>) -> Option<Self> {
        let known = known.filter(|known| known.store_state().is_some());
        let transactions = newest_of_each(&facts.transactions, known);
        let as_of = known.and_then(Purchase::store_state);
        let as_of = as_of.and_then(|state| state.renewal_as_of);
        let newer = facts.renewals.iter();
        let newer = newer.filter(|fact| Some(fact.signed_at) >= as_of);
        // Of facts that were signed together, the same one counts in any order.
        let renewal = newer.clone().filter_map(RenewalFact::renewal_at).max();
        let status = newer.filter_map(|fact| Some((fact.signed_at, fact.status?)));
        Some(Self {
            known,
            all: &facts.transactions,
            renewals: &facts.renewals,
            renewal,
            status: status.max(),
            current: Current::of(&transactions, known, renewal)?,
            transactions,
        })
    }

    /// Returns the last snapshot of the record.
    pub fn last(&self) -> Option<&'a Snapshot> {
        self.known?.snapshot.as_ref()
    }

    pub fn last_state(&self) -> Option<&'a StoreState> {
        self.known?.store_state()
    }

    /// Returns the renewal information.
    fn renewal(&self) -> Option<&'a Renewal> {
        self.renewal.map(|(_, renewal)| renewal)
    }

    /// Whether the renewal information was signed with the current transaction or after it.
    fn has_current_renewal(&self) -> bool {
        let signed = self.renewal.map(|(at, _)| at.plus(SAME));
        signed >= Some(self.first_signed()) || (self.renewal.is_some() && !self.current.is_new)
    }

    /// Returns when the current transaction was signed first. A history signs all of them again.
    fn first_signed(&self) -> Timestamp {
        let of_current = self.all.iter();
        let of_current =
            of_current.filter(|fact| fact.transaction_id == self.current.transaction_id);
        let first = of_current.map(|fact| fact.signed_at).min();
        first.map_or(self.current.as_of, |first| first.min(self.current.as_of))
    }

    /// Returns the state: the shown one, else that of the renewal information, else the recorded one. A payment that
    /// was signed after it leaves what came before.
    pub fn status(&self) -> StoreStatus {
        if self.current.kind != Product::Subscription {
            return StoreStatus::Active;
        }
        let derived = self.renewal;
        let derived = derived.map(|(at, renewal)| (at, renewal.store_status(at)));
        let is_newest = |at: Timestamp| derived.is_none_or(|(derived_at, _)| at >= derived_at);
        let shown = self.status.filter(|(at, _)| is_newest(*at));
        let shown = shown.map(|(at, status)| (at, status.store_status()));
        let recorded = self.last_state();
        let recorded =
            recorded.map(|state| (state.renewal_as_of.unwrap_or_default(), state.status));
        let (as_of, status) = shown
            .or(derived)
            .or(recorded)
            .unwrap_or((Timestamp::default(), StoreStatus::Active));
        let current = &self.current;
        let is_running = current.ends_at > Some(current.as_of);
        if current.is_new && self.first_signed() > as_of && is_running {
            StoreStatus::Active
        } else {
            status
        }
    }

    /// Returns whether renewal is on; `None` if nothing shows it.
    pub fn is_on(&self) -> Option<bool> {
        if self.current.is_new && self.current.is_bought && !self.has_current_renewal() {
            // What a customer buys renews at first.
            return Some(true);
        }
        let recorded = || self.last()?.auto_renewing;
        let shown = self.renewal().map(|renewal| renewal.is_on);
        shown.or_else(recorded)
    }

    /// Returns the product from the next renewal on, if it is another one.
    pub fn planned(&self) -> Option<String> {
        let planned = match self.renewal() {
            _ if self.current.is_new && !self.has_current_renewal() => None,
            Some(renewal) => renewal.next_product.clone(),
            None => self.last()?.deferred_sku.clone(),
        };
        planned.filter(|product| *product != self.current.product)
    }

    /// Returns the next renewal, else the end of access.
    pub fn renews_at(&self, status: StoreStatus, at: Timestamp) -> Option<Timestamp> {
        let ends_at = self.current.ends_at;
        let Some(renewal) = self.renewal() else {
            let recorded = self.last().filter(|_| !self.current.is_new);
            return recorded.and_then(|last| last.renews_at).or(ends_at);
        };
        let shown = match status {
            StoreStatus::AccountHold => renewal.grace_ends_at.filter(|end| *end <= at),
            StoreStatus::Active if renewal.is_on && self.has_current_renewal() => renewal.renews_at,
            _ => None,
        };
        ends_at.max(shown)
    }

    /// Returns the end of the grace period.
    pub fn grace_ends_at(&self) -> Option<Timestamp> {
        match self.renewal() {
            Some(renewal) => renewal.grace_ends_at,
            None => self.last()?.grace_ends_at,
        }
    }

    /// Returns the end of the payments to which the customer is committed.
    pub fn committed_until(&self) -> Option<Timestamp> {
        let renewal = self.renewal();
        let shown = renewal.and_then(|renewal| renewal.committed_until);
        shown.or(self.current.committed_until)
    }

    /// Returns why the current transaction was revoked, if it was.
    pub fn revoked(&self) -> Option<EndReason> {
        let mut shown = self.transactions.iter();
        let is_other = shown.any(|fact| self.runs_without(fact));
        self.current.revoked.filter(|_| !is_other)
    }

    /// Returns why it ended or will end without a renewal.
    pub fn end_reason(&self) -> Option<EndReason> {
        match self.renewal() {
            Some(renewal) => renewal.intent.map(mapping::end_reason),
            None => self.last().and_then(|last| last.end_reason),
        }
    }

    /// Returns when the newest renewal information or state was signed.
    pub fn renewal_as_of(&self) -> Option<Timestamp> {
        let recorded = self.last_state().and_then(|state| state.renewal_as_of);
        let renewal = self.renewal.map(|(at, _)| at);
        let status = self.status.map(|(at, _)| at);
        recorded.max(renewal).max(status)
    }

    /// Returns when renewal was switched off, by the first fact that shows it off.
    pub fn canceled_at(&self, facts: &PurchaseFacts) -> Option<Timestamp> {
        let as_of = self.last_state().and_then(|state| state.renewal_as_of);
        let newer = facts.renewals.iter();
        let newer = newer.filter(|fact| Some(fact.signed_at) >= as_of);
        let shown = newer.filter_map(RenewalFact::renewal_at);
        let shown: Vec<_> = shown.map(|(at, renewal)| (at, renewal.is_on)).collect();
        let on = shown.iter().filter(|(_, is_on)| *is_on);
        let on = on.map(|(at, _)| *at).max();
        let recorded = || {
            let last = self.last().filter(|last| last.auto_renewing == Some(false));
            last?.state.as_ref()?.canceled_at
        };
        let recorded = if on.is_none() { recorded() } else { None };
        let off = shown.iter().filter(|(_, is_on)| !is_on);
        let off = off.map(|(at, _)| *at).filter(|at| Some(*at) > on);
        recorded.or_else(|| off.min())
    }

    /// Returns the beginning of the running row of periods. It moves on only with a new transaction.
    pub fn began_at(&self) -> Option<Timestamp> {
        let current = &self.current;
        let row = self.renewal().and_then(|renewal| renewal.began_at);
        let Some(known) = self.known else {
            let first = current.began_at.filter(|_| !current.is_bought);
            return row.or(first).or(Some(current.begins_at));
        };
        let recorded = self.last().and_then(|last| last.purchased_at);
        let begins_at = known.paid_period().map(|period| period.begins_at);
        let is_later = |row: Timestamp, known: Option<Timestamp>| {
            known.is_none_or(|known| row.since(known) > SAME)
        };
        let is_new_row = match row {
            Some(row) => is_later(row, recorded) && is_later(row, begins_at),
            None => current.is_bought && known.stage.is_over(),
        };
        // The recorded period was not known to begin it.
        let period = known.paid_period();
        let period = period.filter(|period| period.cause == Some(PeriodCause::Bought));
        let has_begun = row.is_some_and(|row| {
            is_later(row, recorded) && period.is_some_and(|one| one.begins_at.distance(row) <= SAME)
        });
        if has_begun || (is_new_row && current.is_new) {
            row.or(Some(current.begins_at))
        } else {
            recorded.or(row)
        }
    }

    /// Returns the number of periods in the row that began at this time; `None` if its beginning is not known.
    pub fn cycle(&self, counted: Option<u64>, began_at: Option<Timestamp>) -> Option<u64> {
        let began_at = began_at?;
        let counted_until = self.last_state().and_then(|state| state.counted_until);
        let is_of_row = |fact: &&&TransactionFact| {
            fact.is_period()
                && fact.bought_at.plus(SAME) >= began_at
                && Some(fact.bought_at) > counted_until
                && is_new(self.known, fact)
        };
        let new = self.transactions.iter().filter(is_of_row);
        let new: Vec<Timestamp> = new.map(|fact| fact.bought_at).collect();
        let known = self.known.into_iter();
        let known = known.flat_map(|known| known.periods().iter());
        let known = known.filter(|one| one.is_own() && one.begins_at.plus(SAME) >= began_at);
        let known: Vec<Timestamp> = known.map(|one| one.begins_at).collect();
        let mut all = new.iter().chain(&known);
        let has_first = all.any(|begins_at| begins_at.distance(began_at) <= SAME);
        let count = |some: usize| u64::try_from(some).unwrap_or(u64::MAX);
        let (new, all) = (
            count(new.len()),
            count(new.len().saturating_add(known.len())),
        );
        let last = self.last();
        let last = last.filter(|last| last.purchased_at == Some(began_at));
        let recorded = last.and_then(|last| last.state.as_ref()?.cycle);
        match recorded {
            Some(recorded) => Some(recorded.saturating_add(new)),
            None => counted.or(has_first.then_some(all)),
        }
    }

    /// Returns the shown periods, each as its last signed fact shows it.
    pub fn periods(&self) -> Vec<Period> {
        let shown = self.transactions.iter().map(|fact| self.period(fact));
        shown.chain(self.left_by_upgrade()).collect()
    }

    fn period(&self, fact: &TransactionFact) -> Period {
        let price = fact.paid_price();
        let is_free = price.is_some_and(|price| price.is_zero());
        let revocation = fact.revocation;
        let revocation = revocation.filter(|one| one.ends_access && !self.runs_without(fact));
        let currency = fact.currency.as_deref().and_then(mapping::currency);
        let country = fact.storefront.as_deref().and_then(mapping::country);
        let period = Period {
            transaction_id: fact.transaction_id.clone(),
            as_of: fact.signed_at,
            product: fact.product.clone(),
            plan: None,
            begins_at: fact.bought_at,
            ends_at: fact.expires_at,
            phase: fact.phase(),
            price,
            currency: currency.map(str::to_owned),
            tax: None,
            country: country.map(str::to_owned),
            quantity: fact.quantity,
            refund: None,
            refunded_tax: None,
            voided_at: revocation.map(|revocation| revocation.at),
            cause: Some(mapping::period_cause(fact.cause)),
        };
        let refund = match fact.revocation {
            Some(revocation) => Some(PeriodRefund {
                at: revocation.at,
                extent: revocation.extent,
            }),
            None if self.was_revoked(fact) => Some(PeriodRefund {
                at: fact.signed_at,
                extent: RefundExtent::Reversed,
            }),
            None if !is_free && self.is_left(&period, fact.is_upgraded) => {
                Some(part_returned(&period))
            }
            None => None,
        };
        Period { refund, ..period }
    }

    /// Whether the subscription runs although this transaction is the newest known one and was revoked: then what runs is
    /// another transaction, which is not known.
    fn runs_without(&self, fact: &TransactionFact) -> bool {
        let is_current = fact.transaction_id == self.current.transaction_id;
        let runs = |status| matches!(status, StoreStatus::Active | StoreStatus::Grace);
        let is_past = fact.expires_at <= Some(fact.signed_at);
        let is_shown = self.status.is_some_and(|(at, status)| {
            is_past && at >= fact.signed_at && runs(status.store_status())
        });
        let is_other = self
            .renewal
            .is_some_and(|(at, renewal)| at >= fact.signed_at && renewal.product != fact.product);
        is_current && runs(self.status()) && (is_shown || is_other)
    }

    /// Whether a transaction that is not revoked was revoked before.
    fn was_revoked(&self, fact: &TransactionFact) -> bool {
        let is_refund = |refund: PeriodRefund| {
            !matches!(
                refund.extent,
                RefundExtent::Reversed | RefundExtent::Unknown
            )
        };
        let recorded = self.known;
        let recorded = recorded.and_then(|known| known.periods().of(&fact.transaction_id));
        let is_recorded = recorded
            .is_some_and(|period| period.is_voided() || period.refund.is_some_and(is_refund));
        let mut earlier = self.all.iter();
        let is_shown = earlier
            .any(|other| other.transaction_id == fact.transaction_id && other.revocation.is_some());
        is_recorded || is_shown
    }

    /// Returns the recorded periods that an upgrade left before their end, each with its price returned in part. What a
    /// fact shows of a period is in that fact's own.
    fn left_by_upgrade(&self) -> impl Iterator<Item = Period> {
        let recorded = self.known.into_iter();
        let recorded = recorded.flat_map(|known| known.periods().iter());
        recorded.filter_map(move |left| {
            let mut shown = self.transactions.iter();
            let is_shown = shown.any(|fact| fact.transaction_id == left.transaction_id);
            let is_free = left.price.is_some_and(|price| price.is_zero());
            let is_unreturned = left.refund.is_none() && !is_free && !is_shown;
            (is_unreturned && self.is_left(left, false)).then(|| Period {
                refund: Some(part_returned(left)),
                ..left.clone()
            })
        })
    }

    /// Whether an upgrade left this period before its end. `is_marked` is whether Apple marks it as upgraded: without a
    /// known upgrade, and not out of an account hold, it was left before its end.
    fn is_left(&self, left: &Period, is_marked: bool) -> bool {
        let upgraded_at = self.upgraded_at(left).zip(left.ends_at);
        match upgraded_at {
            Some((at, end)) if end.since(at) > SAME => true,
            Some((at, end)) => is_marked && at.since(end) > RETRIED_FOR,
            None => is_marked,
        }
    }

    /// Returns when another product was first bought after the beginning of this period, in the same row.
    fn upgraded_at(&self, left: &Period) -> Option<Timestamp> {
        let recorded = self.known.into_iter();
        let recorded = recorded.flat_map(|known| known.periods().iter());
        let recorded = recorded.filter(|period| period.cause == Some(PeriodCause::Bought));
        let recorded = recorded.map(|period| (period.product.as_str(), period.begins_at));
        let facts = self.transactions.iter();
        let facts = facts.filter(|fact| fact.cause == TransactionCause::Purchase);
        let facts = facts.map(|fact| (fact.product.as_str(), fact.bought_at));
        let began_at = self.renewal().and_then(|renewal| renewal.began_at);
        let begins_row =
            |at: Timestamp| began_at.is_some_and(|began_at| began_at.distance(at) <= SAME);
        let early = if left.cause == Some(PeriodCause::Bought) {
            Duration::ZERO
        } else {
            RENEWED_EARLY
        };
        let from = left.begins_at.minus(early);
        let others = recorded.chain(facts);
        let others = others.filter(|(product, _)| *product != left.product);
        let others = others.map(|(_, at)| at);
        others.filter(|at| *at > from && !begins_row(*at)).min()
    }
}

/// Returns the newest fact of each transaction, unless the record is newer, the oldest transaction first.
fn newest_of_each<'a>(
    facts: &'a [TransactionFact],
    known: Option<&Purchase>,
) -> Vec<&'a TransactionFact> {
    let mut newest: BTreeMap<&'a str, &'a TransactionFact> = BTreeMap::new();
    for fact in facts {
        let place = newest.entry(fact.transaction_id.as_str()).or_insert(fact);
        if fact.order() > place.order() {
            *place = fact;
        }
    }
    let is_newer = |fact: &&'a TransactionFact| {
        let period = known.and_then(|known| known.periods().of(&fact.transaction_id));
        period.is_none_or(|period| fact.signed_at >= period.as_of)
    };
    let mut all: Vec<_> = newest.into_values().filter(is_newer).collect();
    all.sort_by(|one, other| one.place().cmp(&other.place()));
    all
}

/// Returns the refund of a period that an upgrade left. Apple shows nowhere how much it returned, nor when: what it signs
/// of a refund is newer.
const fn part_returned(left: &Period) -> PeriodRefund {
    PeriodRefund {
        at: left.begins_at,
        extent: RefundExtent::Unknown,
    }
}

/// Whether a record does not have a transaction. It has only the newest ones, so an older one counts as known.
fn is_new(known: Option<&Purchase>, fact: &TransactionFact) -> bool {
    let Some(known) = known else { return true };
    let mut periods = known.periods().iter();
    let oldest = periods.next().map(|period| period.begins_at);
    let is_recorded = known.periods().of(&fact.transaction_id).is_some();
    !is_recorded && Some(fact.bought_at) > oldest
}
