//! The documented fields of the record, computed from the known data of the purchase.

use super::{
    Halt, Life, NewestText, Purchase, ReportTimes, Stage, State, TAKEN_BACK, UNPAID_END_MARGIN,
};
use crate::catalogue::ProductRef;
use crate::duty::{self, Acknowledgement};
use crate::environment::Environment;
use crate::notification::NotificationKind;
use crate::period::{Period, Periods};
use crate::store_state::StoreState;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Term};

/// Kinds which report that a subscription is running and paid.
const PAID: [NotificationKind; 5] = [
    NotificationKind::SubscriptionPurchased,
    NotificationKind::TrialConverted,
    NotificationKind::Renewed,
    NotificationKind::PlanChanged,
    NotificationKind::OutOfGrace,
];
/// Kinds that invalidate earlier reports about auto-renewal, unless the store shows otherwise.
const RENEWS: [NotificationKind; 5] = [
    NotificationKind::SubscriptionPurchased,
    NotificationKind::TrialConverted,
    NotificationKind::Renewed,
    NotificationKind::PlanChanged,
    NotificationKind::AutoRenewalOn,
];
/// Kinds which report that auto-renewal is on, for purchases about which the store has answered. A renewal is not among
/// them: a paid term does not show that the next one will be paid.
const SWITCHED_ON: [NotificationKind; 3] = [
    NotificationKind::SubscriptionPurchased,
    NotificationKind::PlanChanged,
    NotificationKind::AutoRenewalOn,
];
/// Kinds which report that auto-renewal is off. A `ScheduledToEnd` counts because the `AutoRenewalOff` before it may be
/// lost.
const SWITCHED_OFF: [NotificationKind; 2] = [
    NotificationKind::AutoRenewalOff,
    NotificationKind::ScheduledToEnd,
];
/// Kinds of a cancellation, by the customer or the store.
const CANCELLED: [NotificationKind; 2] = [
    NotificationKind::AutoRenewalOff,
    NotificationKind::SubscriptionCancelled,
];

impl Purchase {
    /// Returns the state according to the store's last answer and the reports that it does not show.
    pub const fn state(&self) -> State {
        self.stage.state()
    }

    /// Returns when the store last showed this purchase or answered that it is no longer valid.
    pub fn last_verified(&self) -> Option<Timestamp> {
        self.answered_at()
    }

    /// Whether the store has not confirmed the state: it never answered, reports were settled since its last answer, or
    /// that answer does not show the newest notification yet.
    pub fn is_unverified(&self) -> bool {
        let is_behind = self.behind.is_some_and(|behind| !behind.is_decided);
        self.announced.is_unverified || is_behind || self.answered_at().is_none()
    }

    /// Returns when the purchase was revoked: a one-time purchase, or a subscription before the end of the paid time.
    /// `None` while the store does not know the reason.
    pub fn revoked_at(&self) -> Option<Timestamp> {
        let snapshot = self.snapshot.as_ref();
        if self.is_one_time() {
            if self.awaits_reason().is_some() {
                return None;
            }
            // If only reports show the revocation, it stands even if a late report of the purchase follows.
            let taken_back = || {
                self.first_after(None, &TAKEN_BACK)
                    .filter(|_| self.stage.life == Life::Revoked)
            };
            let reported = || {
                self.first_after(self.newest(&NotificationKind::BOUGHT), &TAKEN_BACK)
                    .or_else(taken_back)
            };
            return snapshot
                .and_then(|snapshot| snapshot.ends_at)
                .or_else(reported)
                .or(self.gone_at);
        }
        // The store may still show an end, while a newer payment or switch is believed that it does not show yet.
        if self.stage.runs() || self.stage.halt.is_some() {
            return None;
        }
        self.rules().revoked_at(self)
    }

    /// Whether the purchase was made in the store's sandbox, where periods can have any length.
    pub(crate) fn is_sandbox(&self) -> bool {
        let platform = self
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.environment)
            .unwrap_or_default();
        self.environment(platform) == Environment::Sandbox
    }

    /// Returns the SKU that identifies the product, that of the term or of the parent; `None` before the store first
    /// showed the purchase. A one-time purchase has only one SKU.
    pub fn sku(&self, by: ProductRef) -> Option<&str> {
        let snapshot = self.snapshot.as_ref()?;
        // The stage can have the SKU of a new plan before the snapshot shows it.
        let term = self
            .stage
            .sku
            .as_deref()
            .or(snapshot.term_sku.as_deref())
            .filter(|_| by == ProductRef::Term);
        term.or(snapshot.product_id.as_deref())
    }

    /// Returns the SKUs of each part of the purchase, the most specific one first: that of the plan, then that of its
    /// product. The first part identifies the purchase. Empty before the store first showed the purchase.
    pub fn parts(&self) -> Vec<Vec<&str>> {
        let own = |by| self.sku(by);
        let mut first: Vec<&str> = [ProductRef::Term, ProductRef::Parent]
            .into_iter()
            .filter_map(own)
            .collect();
        first.dedup();
        let Some(main) = first.first().copied() else {
            return Vec::new();
        };
        let shown = self.store_state().into_iter().flat_map(|state| &state.skus);
        let others = shown.map(String::as_str).filter(|sku| *sku != main);
        let part = |sku| {
            let product = self.rules().product_sku(sku);
            std::iter::once(sku).chain(product).collect::<Vec<_>>()
        };
        std::iter::once(first).chain(others.map(part)).collect()
    }

    /// Returns the SKU of each part of the purchase, that of the plan or of its product.
    pub fn skus(&self, by: ProductRef) -> Vec<&str> {
        let further = self.parts().into_iter().skip(1);
        let further = further.filter_map(|part| match by {
            ProductRef::Term => part.first().copied(),
            ProductRef::Parent => part.last().copied(),
        });
        self.sku(by).into_iter().chain(further).collect()
    }

    /// Returns the customer's country according to the store.
    pub fn country(&self) -> Option<&str> {
        self.snapshot.as_ref()?.country.as_deref()
    }

    /// Returns when the purchase ended, will end or will renew; `None` for a one-time purchase, and before the store's
    /// first answer.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at_in(&self.stage)
    }

    /// Returns when the purchase ended, will end or will renew in the stage `stage`. While it runs, a past end is
    /// stale.
    pub(crate) fn expires_at_in(&self, stage: &Stage) -> Option<Timestamp> {
        if self.is_one_time() {
            return None;
        }
        let is_payment_in_order = stage.runs() && !stage.in_grace;
        let shown = self.snapshot.as_ref().and_then(|snapshot| {
            let renewed = || self.unverified_end(stage.terms.filter(|_| is_payment_in_order)?);
            let trial = || self.trial_end().filter(|_| stage.in_trial);
            let counted = || self.rules().counted_end(self, stage.terms?);
            let is_stale = |end: &Timestamp| stage.runs() && *end <= snapshot.at;
            let end = snapshot.ends_at.filter(|end| !is_stale(end));
            // If the snapshot shows a grace period although the payment is in order, a newer report named the recovery.
            let end = end.or_else(|| self.grace_end().filter(|_| !is_payment_in_order));
            end.or_else(renewed)
                .or(snapshot.renews_at)
                .or_else(trial)
                .or_else(counted)
        });
        match (self.gone_at, shown) {
            (Some(gone), Some(end)) => Some(gone.min(end)),
            (gone, end) => gone.or(end),
        }
    }

    /// Whether the purchase ran at `at` according to its dates, so that the order in which two purchases are settled
    /// does not matter.
    pub(crate) fn ran_at(&self, at: Timestamp) -> bool {
        let has_begun =
            self.stage.life != Life::Unknown && self.not_before().is_some_and(|began| began < at);
        let is_over = self.stage.is_over();
        let will_end = self.is_auto_renewable() == Some(false)
            || (self.stage.in_grace && !self.has_grace_without_end());
        // If the last answer showed the purchase running, the notification determines the date of the end.
        let is_end_unshown = is_over
            && self
                .verified
                .as_ref()
                .is_none_or(|verified| !verified.stage.is_over());
        let reported = self
            .newest(&NotificationKind::ENDS)
            .filter(|_| is_end_unshown)
            .map(|(time, _)| time);
        let ends = [
            self.expires_at().filter(|_| is_over || will_end),
            reported,
            self.reported_end_at,
        ];
        let end = ends.into_iter().flatten().min();
        has_begun && end.map_or(!is_over, |end| end > at)
    }

    /// Returns the length of one term in ISO 8601; `None` for a one-time purchase.
    pub fn term_length(&self) -> Option<String> {
        let term = self
            .snapshot
            .as_ref()?
            .term
            .filter(|_| !self.is_one_time())?;
        Some(Term::iso(term))
    }

    /// Whether an introductory price applies now.
    pub fn is_in_intro_offer(&self) -> Option<bool> {
        Some(self.snapshot.as_ref()?.in_intro_offer)
    }

    /// Whether the store never knew the purchase, and the platform's setting believes such purchases.
    pub const fn is_believed(&self) -> bool {
        self.is_believed
    }

    /// Whether a subscription was paid at least once. A trial is not a payment; false for a one-time purchase.
    pub fn was_paid(&self) -> bool {
        if self.is_one_time() {
            return false;
        }
        match self.answered_at() {
            None => self.newest(&PAID).is_some() && !self.stage.in_trial,
            Some(_) => {
                self.stage.life != Life::Unknown && !self.stage.in_trial && !self.was_never_paid()
            }
        }
    }

    /// Whether its first payment is pending, or fell through.
    fn was_never_paid(&self) -> bool {
        let has_fallen_through = self
            .store_state()
            .is_some_and(|state| state.has_fallen_through);
        self.stage.halt == Some(Halt::Pending) || has_fallen_through
    }

    /// The state that the store last showed, if it shows more than dates.
    pub fn store_state(&self) -> Option<&StoreState> {
        self.snapshot.as_ref()?.state.as_deref()
    }

    /// The acknowledgement of the purchase to its store, as the last answer shows it.
    pub fn acknowledgement(&self) -> Option<Acknowledgement> {
        duty::acknowledgement(&self.policy, self.snapshot.as_ref()?)
    }

    /// The period of the last payment, if the store shows payments.
    pub fn paid_period(&self) -> Option<&Period> {
        let id = self.store_state()?.transaction_id.as_deref()?;
        self.periods.of(id)
    }

    /// Returns when the price was paid: with the last payment, if the store shows payments, else at the beginning.
    pub fn priced_at(&self) -> Option<Timestamp> {
        let shown = self.paid_period().filter(|period| period.price.is_some());
        shown
            .map(|period| period.begins_at)
            .or_else(|| self.not_before())
    }

    /// Whether the store shows each payment, so that the ledger has them by their periods.
    pub fn shows_payments(&self) -> bool {
        self.store_state().is_some() || !self.periods.is_empty()
    }

    /// The newest periods with their payments; none of a store that does not show payments.
    pub const fn periods(&self) -> &Periods {
        &self.periods
    }

    /// Whether it is a consumable or an entitlement, and not a subscription.
    pub fn is_one_time_purchase(&self) -> bool {
        self.is_one_time()
    }

    /// Returns the store's id for the purchase that this one replaced in a change of plan.
    pub fn original_receipt_id(&self) -> Option<&str> {
        let reported = self.original_receipt_id.as_ref().map(NewestText::value);
        reported.or_else(|| self.store_state()?.continues.as_deref())
    }

    /// Whether a notification or the store shows that the purchase was made in the store's test programme.
    pub fn is_test(&self) -> bool {
        self.is_test
            || self
                .snapshot
                .as_ref()
                .is_some_and(|snapshot| snapshot.is_test)
    }

    /// Returns the environment of the purchase: the sandbox for a test purchase on any platform, else that of the
    /// platform. A purchase that the store's test environment knows remains a test purchase when the platform switches
    /// to production.
    pub fn environment(&self, platform: Environment) -> Environment {
        let is_test = self.is_test() || self.known_in() == Some(Environment::Sandbox);
        if is_test {
            Environment::Sandbox
        } else {
            platform
        }
    }

    /// Returns the environment of the store that knows the purchase, where it is queried again. `None` before the first
    /// answer.
    pub fn known_in(&self) -> Option<Environment> {
        self.snapshot.as_ref().map(|snapshot| snapshot.environment)
    }

    /// Whether the store has shown the purchase.
    pub const fn is_shown(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Returns the SKU of the purchase's term and its length, as the store showed them last.
    pub fn shown_term(&self) -> Option<(&str, Term)> {
        let snapshot = self.snapshot.as_ref()?;
        Some((snapshot.term_sku.as_deref()?, snapshot.term?))
    }

    /// Returns when the purchase began, according to the store, else to the reports; `None` if neither shows it.
    pub fn not_before(&self) -> Option<Timestamp> {
        let shown = self
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.purchased_at);
        // What was reported of a pending purchase is no beginning.
        shown.or_else(|| self.began_at().filter(|_| !self.was_never_paid()))
    }

    /// Returns the number of terms that were paid or granted, including the first, of which a trial is part. `None` for
    /// a one-time purchase, if the length of a term is not known, and if there are only reports and none of the
    /// beginning.
    pub fn billing_cycles(&self) -> Option<u64> {
        if self.is_one_time() {
            return None;
        }
        if let Some(snapshot) = &self.snapshot {
            return self.rules().billing_cycles(&self.stage, snapshot);
        }
        self.began_at()?;
        Some(
            self.reports
                .get(&NotificationKind::Renewed)
                .map_or(0, ReportTimes::count)
                .saturating_add(1),
        )
    }

    /// Whether it will renew, be it only by payments to which the customer is committed; `None` if that is not known.
    pub fn is_auto_renewable(&self) -> Option<bool> {
        if self.is_one_time() || self.stage.is_over() {
            Some(false)
        } else if self.snapshot.is_some() {
            let state = self.store_state();
            Some(!self.stage.is_off || state.is_some_and(|state| state.renews_by_commitment))
        } else {
            self.reported_auto_renewal()
        }
    }

    /// Whether a trial became paid; `None` if it is not known whether there was a trial.
    pub fn is_free_trial_conversion(&self) -> Option<bool> {
        if self.is_one_time() {
            Some(false)
        } else if self.was_reported(NotificationKind::TrialConverted) {
            Some(true)
        } else if self.has_shown_trial() {
            Some(!self.stage.in_trial)
        } else {
            (self.is_beginning_known() && !self.may_have_been_trial()).then_some(false)
        }
    }

    /// Whether the purchase is in a trial; `None` if no trial was shown and neither the beginning nor a payment was
    /// seen. The grace period of a failed first payment is not part of the trial, although nothing has been paid.
    pub fn is_in_trial_period(&self) -> Option<bool> {
        if self.is_one_time() || self.stage.in_grace {
            Some(false)
        } else if self.stage.in_trial {
            Some(self.stage.runs())
        } else {
            // What reports announce without an answer depends on the windows in which they arrived.
            let is_paid = self.snapshot.is_some()
                && self
                    .announced
                    .last_covered(&TransitionKind::PAYMENTS)
                    .is_some();
            let is_reported = [NotificationKind::TrialConverted, NotificationKind::Renewed];
            let is_past = is_paid || is_reported.iter().any(|kind| self.was_reported(*kind));
            (is_past || self.has_shown_trial() || self.is_beginning_known()).then_some(false)
        }
    }

    /// Returns when auto-renewal was switched off, if it is off now or the subscription ended; for a one-time purchase,
    /// when it was revoked.
    pub fn canceled_at(&self) -> Option<Timestamp> {
        if self.is_one_time() {
            return self.revoked_at();
        }
        if self.answered_at().is_none() {
            let since = self.newest(&RENEWS);
            return self
                .first_after(since, &CANCELLED)
                .or_else(|| self.first_after(since, &[NotificationKind::ScheduledToEnd]));
        }
        if let Some(state) = self.store_state() {
            if state.is_prepaid {
                return None;
            }
            let shown = state
                .canceled_at
                .filter(|_| !self.stage.goes_on() || self.stage.is_off);
            if shown.is_some() {
                return shown;
            }
        }
        if self.stage.goes_on() && !self.stage.is_off {
            return None;
        }
        let since = self.newest(&SWITCHED_ON).max(
            self.seen
                .renewing_at
                .map(|at| (at, NotificationKind::Unknown)),
        );
        let reminded = self.first_after(since, &[NotificationKind::ScheduledToEnd]);
        let expired = self
            .newest(&[NotificationKind::Expired, NotificationKind::OutOfGrace])
            .filter(|end| self.stage.is_over() && Some(*end) > since);
        let seen = [reminded, expired.map(|(time, _)| time), self.seen.off_at];
        self.first_after(since, &CANCELLED)
            .or_else(|| seen.into_iter().flatten().min())
    }

    /// Returns when the payment failed, if it has not recovered since; also after the grace period ended unpaid.
    pub fn payment_issues_began_at(&self) -> Option<Timestamp> {
        if self.answered_at().is_none() {
            return self.first_after(self.newest(&PAID), &[NotificationKind::GraceBegan]);
        }
        if self.stage.runs() && !self.stage.in_grace {
            return None;
        }
        let end = self.period_end().filter(|_| self.stage.is_over());
        let is_recovery = |(time, kind): &(Timestamp, NotificationKind)| {
            *kind != NotificationKind::OutOfGrace
                || end.is_none_or(|end| end.since(*time) > UNPAID_END_MARGIN)
        };
        let reports = PAID
            .iter()
            .filter_map(|kind| Some((*kind, self.reports.get(kind)?)));
        let paid = reports
            .flat_map(|(kind, reports)| reports.times().map(move |time| (time, kind)))
            .filter(is_recovery)
            .max();
        // A store that shows payments may show a purchase as running for a while after its payment failed.
        let seen_paid = self.paid_period().map(|period| period.begins_at);
        let seen_paid = seen_paid.or(self.seen.paid_at);
        let since = paid.max(seen_paid.map(|at| (at, NotificationKind::Unknown)));
        let seen = self
            .seen
            .grace_at
            .filter(|at| Some((*at, NotificationKind::Unknown)) > since);
        self.first_after(since, &[NotificationKind::GraceBegan])
            .or(seen)
    }

    /// Returns the date of the end while the store shows its reason as pending, so that the store is queried again.
    pub(crate) fn awaits_reason(&self) -> Option<Timestamp> {
        let is_known = self.gone_at.or(self.gone_again_at).is_some();
        let snapshot = self.snapshot.as_ref().filter(|_| !is_known)?;
        snapshot
            .ends_at
            .filter(|_| snapshot.end_reason == Some(EndReason::Pending))
    }

    /// Whether the beginning was reported, and the store showed the purchase at least once.
    pub(crate) fn is_beginning_known(&self) -> bool {
        self.snapshot.is_some()
            && NotificationKind::BEGINNINGS
                .iter()
                .any(|kind| self.was_reported(*kind))
    }

    /// Returns the end of term `number`, if only reports since the last answer show that the term began.
    fn unverified_end(&self, number: u64) -> Option<Timestamp> {
        let shown = self.verified.as_ref()?.shown_terms?;
        let end = self.rules().calendar_end(self, number);
        end.filter(|_| number > shown)
    }

    /// Whether auto-renewal is on, according to the reports alone.
    fn reported_auto_renewal(&self) -> Option<bool> {
        let on = self.newest(&RENEWS);
        if self.newest(&SWITCHED_OFF) > on {
            return Some(false);
        }
        matches!(
            on,
            Some((
                _,
                NotificationKind::AutoRenewalOn
                    | NotificationKind::Renewed
                    | NotificationKind::TrialConverted
            ))
        )
        .then_some(true)
    }
}
