//! What has to be requested from Apple, because the signed facts do not suffice.

use super::answer::{Doubt, PurchaseFacts, RenewalFact, TransactionFact};
use super::lanes::Lanes;
use super::mapping::TransactionCause;
use super::rules::RETRIED_FOR;
use crate::purchase::{Purchase, Stage};
use crate::store_state::StoreStatus;
use crate::verification::{Product, SAME, Snapshot};
use std::time::Duration;

/// How far apart the parts of one message may be signed.
const SIGNED_TOGETHER: Duration = Duration::from_secs(5);

impl Lanes<'_> {
    /// Returns what has to be requested because these facts do not suffice.
    pub fn doubt(&self, facts: &PurchaseFacts) -> Option<Doubt> {
        let is_wake = facts.transactions.is_empty() && facts.renewals.is_empty();
        if is_wake || self.is_state_doubtful() {
            return Some(Doubt::Statuses);
        }
        let is_subscription = self.current.kind == Product::Subscription;
        let is_uncounted = || {
            let cycle = self.cycle(facts.counted, self.began_at());
            facts.counted.is_none() && (cycle.is_none() || self.has_gap())
        };
        (is_subscription && is_uncounted()).then_some(Doubt::History)
    }

    /// Whether the state is not shown as of the newest fact, another transaction was refunded since, or two facts
    /// contradict each other.
    fn is_state_doubtful(&self) -> bool {
        if self.current.kind != Product::Subscription {
            return false;
        }
        let current = &self.current;
        let recorded = self.last_state().and_then(|state| state.renewal_as_of);
        let shown = recorded.max(self.renewal.map(|(at, _)| at));
        let newest = self.all.iter().map(|fact| fact.signed_at).max();
        let is_shown =
            shown.map(|at| at.plus(SIGNED_TOGETHER)) >= newest.max(shown) && shown.is_some();
        let is_refunded = |fact: &&&TransactionFact| {
            fact.revocation.is_some() && fact.signed_at > current.as_of.plus(SIGNED_TOGETHER)
        };
        let mut transactions = self.transactions.iter().filter(is_refunded);
        let is_other_refunded =
            transactions.any(|fact| fact.transaction_id != current.transaction_id);
        let renewal = self.renewal;
        let is_contradicted = renewal
            .is_some_and(|(at, renewal)| at >= current.as_of && renewal.product != current.product);
        let is_live = matches!(self.status(), StoreStatus::Active | StoreStatus::Grace);
        let is_revoked = current.revoked.is_some() && is_live;
        let is_contradicted = is_contradicted || is_revoked || self.is_cut();
        let is_contradicted = is_contradicted || self.has_recovered();
        !is_shown || is_other_refunded || is_contradicted || self.has_tie()
    }

    /// Whether it is over long before the end of the last period, which nothing shows as revoked.
    fn is_cut(&self) -> bool {
        let as_of = self.status.map(|(at, _)| at);
        let end = self.current.ends_at.zip(as_of);
        let is_over = self.status() == StoreStatus::Over && self.current.revoked.is_none();
        is_over && end.is_some_and(|(end, as_of)| end.since(as_of) > SAME)
    }

    /// Whether it runs again behind an account hold or an end, with a payment that is not known.
    fn has_recovered(&self) -> bool {
        let stage = self.known.map(|known| &known.stage);
        let was_held = stage.is_some_and(|stage| stage.halt.is_some());
        let is_past = self.current.ends_at <= self.renewal_as_of();
        let was_over = is_past && stage.is_some_and(Stage::is_over);
        let is_unknown = !self.current.is_new && self.status() == StoreStatus::Active;
        (was_held || was_over) && is_unknown
    }

    /// Whether the newest renewal information contradicts another one that was signed at the same time.
    fn has_tie(&self) -> bool {
        let Some((at, renewal)) = self.renewal else {
            return false;
        };
        let status = self.status.filter(|(status_at, _)| *status_at == at);
        let is_other = |fact: &RenewalFact| {
            let status = status.map(|(_, status)| status);
            let shown = fact.renewal.as_ref();
            shown.is_some_and(|shown| shown != renewal) || fact.status != status
        };
        let together = |fact: &&RenewalFact| fact.signed_at == at;
        let is_contradicted = self.renewals.iter().filter(together).any(is_other);
        let last = self.last();
        let last =
            last.filter(|_| self.last_state().and_then(|state| state.renewal_as_of) == Some(at));
        let is_changed = |last: &Snapshot| {
            let shown = self.status();
            let state = last.state.as_ref();
            last.auto_renewing != Some(renewal.is_on)
                || state.is_some_and(|state| state.status != shown)
        };
        is_contradicted || last.is_some_and(is_changed)
    }

    /// Whether a period does not follow the one before it, so that one between them is not known. A payment that was
    /// collected late begins later, too.
    fn has_gap(&self) -> bool {
        let stage = self.known.map(|known| &known.stage);
        let goes_on = stage.is_some_and(Stage::goes_on);
        let mut is_late = stage.is_some_and(|stage| !stage.runs() || stage.in_grace);
        let recorded = self.known.and_then(Purchase::paid_period);
        let is_revoked =
            |fact: &TransactionFact| fact.revocation.is_some_and(|one| one.ends_access);
        let mut last = recorded.map(|period| {
            let mut shown = self.transactions.iter();
            let shown = shown.find(|fact| fact.transaction_id == period.transaction_id);
            let is_voided = shown.map_or_else(|| period.is_voided(), |fact| is_revoked(fact));
            (period.product.as_str(), period.ends_at, is_voided)
        });
        let is_later = |fact: &&&TransactionFact| {
            fact.is_period() && recorded.is_none_or(|period| fact.bought_at > period.begins_at)
        };
        let mut has_gap = false;
        for fact in self.transactions.iter().filter(is_later) {
            if let Some((product, Some(end), was_revoked)) = last {
                let is_within = end.since(fact.bought_at) > SAME;
                let apart = fact.bought_at.since(end);
                let is_behind = !is_late && apart > SAME;
                let is_same = product == fact.product;
                has_gap |= match fact.cause {
                    // Out of an account hold, the same product is paid.
                    TransactionCause::Renewal if is_late => {
                        is_within || !is_same || apart > RETRIED_FOR
                    }
                    TransactionCause::Renewal => is_within || is_behind,
                    // Within a period, another product is bought, unless it was revoked, and that not reversed.
                    _ if is_late && goes_on => is_same,
                    _ => is_behind || (is_within && was_revoked != is_same),
                };
            }
            last = Some((fact.product.as_str(), fact.expires_at, is_revoked(fact)));
            is_late = false;
        }
        has_gap
    }
}
