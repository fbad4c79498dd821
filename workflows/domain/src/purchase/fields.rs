//! The fields of the record, read from what is known.

use super::{Life, Purchase, Register, ReportTimes, State};
use crate::catalogue::ProductRef;
use crate::environment::Environment;
use crate::notification::NotificationKind;
use crate::time::{HOUR, Timestamp};
use crate::verification::{EndReason, Term};
use std::time::Duration;

/// Kinds by which a subscription runs and its payment is in order.
const PAID: [NotificationKind; 5] = [
    NotificationKind::SubscriptionPurchased,
    NotificationKind::TrialConverted,
    NotificationKind::Renewed,
    NotificationKind::PlanChanged,
    NotificationKind::OutOfGrace,
];
/// Kinds after which earlier reports about auto-renewal no longer hold, unless the store shows otherwise.
const RENEWS: [NotificationKind; 5] = [
    NotificationKind::SubscriptionPurchased,
    NotificationKind::TrialConverted,
    NotificationKind::Renewed,
    NotificationKind::PlanChanged,
    NotificationKind::AutoRenewalOn,
];
/// Kinds by which auto-renewal is on, when the store was queried: a paid term does not show that the next one will be.
const SWITCHED_ON: [NotificationKind; 3] =
    [NotificationKind::SubscriptionPurchased, NotificationKind::PlanChanged, NotificationKind::AutoRenewalOn];
/// Kinds by which auto-renewal is off. `SCHEDULED_TO_END` without an OFF before it means that the OFF was lost.
const SWITCHED_OFF: [NotificationKind; 2] = [NotificationKind::AutoRenewalOff, NotificationKind::ScheduledToEnd];
/// Kinds of a cancellation, by the customer or the store.
const CANCELLED: [NotificationKind; 2] = [NotificationKind::AutoRenewalOff, NotificationKind::SubscriptionCancelled];
/// An end that is later than the recovery by more than this belongs to another failed payment.
const AT_THE_END: Duration = HOUR.saturating_mul(2);

impl Purchase {
    /// The state: what the store showed last, and the unverified reports since then.
    #[must_use]
    pub const fn state(&self) -> State {
        self.stage.state()
    }

    /// When the store last showed this receipt, or answered that it is no longer valid.
    #[must_use]
    pub fn last_verified(&self) -> Option<Timestamp> {
        self.answered_at()
    }

    /// Whether the state stands although the store could not confirm it.
    #[must_use]
    pub fn is_unverified(&self) -> bool {
        let is_behind = self.behind.is_some_and(|behind| !behind.is_decided);
        self.announced.is_unverified || is_behind || self.answered_at().is_none()
    }

    /// The SKU that names the product; `None` while it was never verified. One-time purchases have one SKU.
    #[must_use]
    pub fn sku(&self, by: ProductRef) -> Option<&str> {
        let snapshot = self.snapshot.as_ref()?;
        // A payment of a changed plan can be known before the store shows the new plan's SKU.
        let term = self.stage.sku.as_deref().or(snapshot.term_sku.as_deref()).filter(|_| by == ProductRef::Term);
        term.or(snapshot.product_id.as_deref())
    }

    /// The customer's country.
    #[must_use]
    pub fn country(&self) -> Option<&str> {
        self.snapshot.as_ref()?.country.as_deref()
    }

    /// When it ended, will end or renew; `None` for a one-time purchase, and while it was never verified.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        if self.is_one_time() {
            return None;
        }
        let shown = self.snapshot.as_ref().and_then(|snapshot| {
            let renewed = || self.unverified_end();
            let trial = || self.trial_end().filter(|_| self.stage.in_trial);
            let counted = || self.terms()?.end(self.stage.terms?);
            let is_stale = |end: &Timestamp| self.stage.runs() && *end <= snapshot.at;
            let end = snapshot.ends_at.filter(|end| !is_stale(end));
            let end = end.or_else(|| self.grace_end().filter(|_| !self.is_paid_since()));
            end.or_else(renewed).or(snapshot.renews_at).or_else(trial).or_else(counted)
        });
        match (self.gone_at, shown) {
            (Some(gone), Some(end)) => Some(gone.min(end)),
            (gone, end) => gone.or(end),
        }
    }

    /// Whether it ran at this time, by its dates: which settling was recorded first does not matter.
    pub(crate) fn ran_at(&self, at: Timestamp) -> bool {
        let has_begun = self.stage.life != Life::Unknown && self.not_before().is_some_and(|began| began < at);
        let is_over = self.stage.is_over();
        let will_end =
            self.is_auto_renewable() == Some(false) || (self.stage.in_grace && !self.has_grace_without_end());
        // The store showed it running last: then the notification dates the end.
        let is_unread = is_over && self.verified.as_ref().is_none_or(|verified| !verified.stage.is_over());
        let reported = self.newest(&NotificationKind::ENDS).filter(|_| is_unread).map(|(time, _)| time);
        let ends = [self.expires_at().filter(|_| is_over || will_end), reported, self.reported_end_at];
        let end = ends.into_iter().flatten().min();
        has_begun && end.map_or(!is_over, |end| end > at)
    }

    /// One term, as ISO 8601; `None` for a one-time purchase.
    #[must_use]
    pub fn term_length(&self) -> Option<String> {
        let term = self.snapshot.as_ref()?.term.filter(|_| !self.is_one_time())?;
        Some(Term::iso(term))
    }

    /// Whether an introductory price holds now.
    #[must_use]
    pub fn is_in_intro_offer(&self) -> Option<bool> {
        Some(self.snapshot.as_ref()?.in_intro_offer)
    }

    /// Whether it is announced although the store never knew its receipt.
    #[must_use]
    pub const fn is_believed(&self) -> bool {
        self.is_believed
    }

    /// Whether a subscription was paid at least once: a trial alone is not paid.
    #[must_use]
    pub fn was_paid(&self) -> bool {
        if self.is_one_time() {
            return false;
        }
        match self.answered_at() {
            None => self.newest(&PAID).is_some() && !self.stage.in_trial,
            Some(_) => self.stage.life != Life::Unknown && !self.stage.in_trial,
        }
    }

    /// Whether the catalogue's products are of another kind: a consumable or an entitlement.
    #[must_use]
    pub fn is_one_time_purchase(&self) -> bool {
        self.is_one_time()
    }

    /// The receipt that this one replaced in a change of plan.
    #[must_use]
    pub fn original_receipt_id(&self) -> Option<&str> {
        self.original_receipt_id.as_ref().map(Register::value)
    }

    /// Whether a notification or the store shows that it was bought in the store's test programme.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.is_test || self.snapshot.as_ref().is_some_and(|snapshot| snapshot.is_test)
    }

    /// In which environment it was made, on a platform of this one: a purchase that is not for money belongs to the
    /// sandbox everywhere.
    #[must_use]
    pub fn environment(&self, platform: Environment) -> Environment {
        if self.is_test() { Environment::Sandbox } else { platform }
    }

    /// When it began; `None` when that is not known.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        let shown = self.snapshot.as_ref().and_then(|snapshot| snapshot.purchased_at);
        shown.or_else(|| self.began_at())
    }

    /// The number of terms that were paid or granted, the first one included; a trial is part of the first. `None` for
    /// a one-time purchase, when the length of a term is not known, and by reports alone without the beginning.
    #[must_use]
    pub fn billing_cycles(&self) -> Option<u64> {
        if self.is_one_time() {
            return None;
        }
        if let Some(snapshot) = &self.snapshot {
            snapshot.term?;
            return Some(self.stage.terms?.max(1));
        }
        self.began_at()?;
        Some(self.reports.get(&NotificationKind::Renewed).map_or(0, ReportTimes::count).saturating_add(1))
    }

    /// Whether it will renew, as far as that is known.
    #[must_use]
    pub fn is_auto_renewable(&self) -> Option<bool> {
        if self.is_one_time() || self.stage.is_over() {
            Some(false)
        } else if self.snapshot.is_some() {
            Some(!self.stage.is_off)
        } else {
            self.auto_renewal()
        }
    }

    /// Whether a trial became paid; `None` when it is not known whether there was a trial.
    #[must_use]
    pub fn is_free_trial_conversion(&self) -> Option<bool> {
        if self.is_one_time() {
            Some(false)
        } else if self.was_reported(NotificationKind::TrialConverted) {
            Some(true)
        } else if self.has_shown_trial() {
            Some(!self.stage.in_trial)
        } else {
            self.is_beginning_known().then_some(false)
        }
    }

    /// Whether it is in a trial; `None` when it shows none and the beginning was not seen.
    #[must_use]
    pub fn is_in_trial_period(&self) -> Option<bool> {
        let is_past =
            [NotificationKind::TrialConverted, NotificationKind::Renewed].iter().any(|kind| self.was_reported(*kind));
        if self.is_one_time() {
            Some(false)
        } else if self.stage.in_trial {
            Some(self.stage.runs())
        } else {
            (is_past || self.has_shown_trial() || self.is_beginning_known()).then_some(false)
        }
    }

    /// When the present cancellation began; for a one-time purchase, when it was taken back.
    #[must_use]
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
        if self.stage.runs() && !self.stage.is_off {
            return None;
        }
        let since = self.newest(&SWITCHED_ON).max(self.seen.renewing_at.map(|at| (at, NotificationKind::Unknown)));
        let reminded = self.first_after(since, &[NotificationKind::ScheduledToEnd]);
        let expired = self
            .newest(&[NotificationKind::Expired, NotificationKind::OutOfGrace])
            .filter(|end| self.stage.is_over() && Some(*end) > since);
        let seen = [reminded, expired.map(|(time, _)| time), self.seen.off_at];
        self.first_after(since, &CANCELLED).or_else(|| seen.into_iter().flatten().min())
    }

    /// When the payment failed that was not repaired since. It outlives a grace that ends in expiry.
    #[must_use]
    pub fn payment_issues_began_at(&self) -> Option<Timestamp> {
        if self.answered_at().is_none() {
            return self.first_after(self.newest(&PAID), &[NotificationKind::GraceBegan]);
        }
        if self.stage.runs() && !self.stage.in_grace {
            return None;
        }
        let end = self.period_end().filter(|_| self.stage.is_over());
        let is_recovery = |(time, kind): &(Timestamp, NotificationKind)| {
            *kind != NotificationKind::OutOfGrace || end.is_none_or(|end| end.since(*time) > AT_THE_END)
        };
        let reports = PAID.iter().filter_map(|kind| Some((*kind, self.reports.get(kind)?)));
        let paid =
            reports.flat_map(|(kind, reports)| reports.times().map(move |time| (time, kind))).filter(is_recovery).max();
        let since = paid.max(self.seen.paid_at.map(|at| (at, NotificationKind::Unknown)));
        let seen = self.seen.grace_at.filter(|at| Some((*at, NotificationKind::Unknown)) > since);
        self.first_after(since, &[NotificationKind::GraceBegan]).or(seen)
    }

    /// When it ended, while the store does not show why and can still be queried for that.
    pub(crate) fn awaits_reason(&self) -> Option<Timestamp> {
        let is_known = self.gone_at.or(self.gone_again_at).is_some();
        let snapshot = self.snapshot.as_ref().filter(|_| !is_known)?;
        snapshot.ends_at.filter(|_| snapshot.end_reason == Some(EndReason::Pending))
    }

    /// Whether its beginning was reported, and the store showed it since.
    pub(super) fn is_beginning_known(&self) -> bool {
        self.snapshot.is_some() && NotificationKind::BEGINNINGS.iter().any(|kind| self.was_reported(*kind))
    }

    /// Whether reports since the last snapshot show that the payment was repaired.
    fn is_paid_since(&self) -> bool {
        self.stage.runs() && !self.stage.in_grace
    }

    /// The end of the term that reports since the last snapshot began.
    fn unverified_end(&self) -> Option<Timestamp> {
        let number = self.stage.terms.filter(|_| self.stage.runs() && !self.stage.in_grace)?;
        let shown = self.verified.as_ref()?.shown_terms?;
        self.calendar()?.end(number).filter(|_| number > shown)
    }

    fn auto_renewal(&self) -> Option<bool> {
        let on = self.newest(&RENEWS);
        if self.newest(&SWITCHED_OFF) > on {
            return Some(false);
        }
        matches!(
            on,
            Some((_, NotificationKind::AutoRenewalOn | NotificationKind::Renewed | NotificationKind::TrialConverted))
        )
        .then_some(true)
    }
}
