//! The walk: applies the new reports one by one to the stage that was announced last, and announces a transition for
//! each.
//!
//! A report announces the transition that it names, unless that was announced before. For each kind of transition the
//! record stores the time up to which it is covered: that of the last report that announced it, or of the snapshot that
//! showed it. A renewal is also announced only once for each term.

use super::Reports;
use crate::notification::NotificationKind;
use crate::purchase::{Announced, Life, Moment, Purchase, Stage};
use crate::time::Timestamp;
use crate::transition::{Transition, TransitionKind};

#[derive(Debug)]
pub(crate) struct Walk<'a> {
    /// The purchase, with the reports and the snapshot of this settling.
    pub known: &'a Purchase,
    /// The stage according to the store's answer and the reports that it may not show yet; `None` if the store did not
    /// answer.
    pub truth: Option<Stage>,
    /// The reports to walk, in the order of the store's clock.
    pub reports: Vec<Moment>,
    /// New reports that are older than one that was settled before. They are not walked.
    pub late: Vec<Moment>,
    /// The time up to which an inferred transition is covered. During the walk, this is the time of the current report;
    /// afterwards, that of the answer, without an answer that of the newest report, else of the last announcement.
    pub clock: Timestamp,
    /// When the notifications are settled.
    pub now: Timestamp,
    /// The stage after the reports walked so far.
    pub stage: Stage,
    /// Announcements, including the transitions of this walk.
    pub announced: Announced,
    /// The transitions of this walk, in order.
    pub transitions: Vec<Transition>,
    /// The number of renewals announced by this walk, which one settling limits.
    pub renewals: u64,
}

impl<'a> Walk<'a> {
    /// Creates a walk that begins at the stage announced last. `truth` is the stage according to the store, if it
    /// answered.
    pub(super) fn new(
        known: &'a Purchase,
        reports: &Reports,
        truth: Option<Stage>,
        now: Timestamp,
    ) -> Self {
        let newest = reports.fresh.last().map(|(time, _)| *time);
        let clock = if truth.is_some() {
            known.answered_at()
        } else {
            newest
        };
        Self {
            known,
            reports: reports.fresh.clone(),
            late: reports.late.clone(),
            clock: clock
                .or_else(|| known.announced.newest.map(|(time, _)| time))
                .unwrap_or_default(),
            now,
            stage: known.stage.clone(),
            announced: known.announced.clone(),
            truth,
            transitions: Vec::new(),
            renewals: 0,
        }
    }

    /// Creates a walk that begins at the stage of the store's last answer and walks all reports since then again.
    pub fn since_last_answer(known: &'a Purchase) -> Self {
        let verified = known.verified.clone().unwrap_or_default();
        let fresh = known.reports_after(verified.announced.newest);
        // The transitions of this walk are not recorded, so the time does not matter.
        let walk = Self::new(
            known,
            &Reports {
                fresh,
                late: Vec::new(),
            },
            None,
            Timestamp::default(),
        );
        Self {
            stage: verified.stage,
            announced: verified.announced,
            ..walk
        }
    }

    pub fn follow(&mut self) {
        let reports = std::mem::take(&mut self.reports);
        let now = self.clock;
        let mut rest = reports.as_slice();
        while let Some(((time, kind), later_reports)) = rest.split_first() {
            self.clock = *time;
            self.announce_unreported_payments(*time, rest);
            self.apply(*time, *kind, later_reports);
            rest = later_reports;
        }
        self.clock = now;
    }

    fn apply(&mut self, time: Timestamp, kind: NotificationKind, later_reports: &[Moment]) {
        let is_first_sight = self.stage.is_unknown();
        if !self.fits_product(kind) {
            return;
        }
        match kind {
            NotificationKind::SubscriptionPurchased
            | NotificationKind::PlanChanged
            | NotificationKind::ConsumablePurchased
            | NotificationKind::EntitlementPurchased => {
                self.begin(time, kind);
            }
            NotificationKind::ConsumableCancelled | NotificationKind::EntitlementCancelled => {
                self.take_back()
            }
            NotificationKind::SubscriptionCancelled | NotificationKind::Expired => {
                self.end(time, kind, later_reports)
            }
            NotificationKind::Adopted => self.adopt(),
            NotificationKind::Replaced if self.truth.is_none() => self.stage.life = Life::Replaced,
            NotificationKind::ScheduledToEnd if is_first_sight && self.truth.is_none() => {
                self.appear();
                self.stage.is_off = true;
            }
            NotificationKind::Claimed | NotificationKind::Replaced | NotificationKind::Unknown => {}
            _ if is_first_sight => self.begin_midway(time, kind),
            NotificationKind::TrialConverted
            | NotificationKind::Renewed
            | NotificationKind::OutOfGrace => self.apply_payment(time, kind, later_reports),
            NotificationKind::PlanChangeScheduled => self.schedule_change(time),
            NotificationKind::AutoRenewalOn => self.switch_on(time),
            NotificationKind::AutoRenewalOff | NotificationKind::ScheduledToEnd => {
                self.switch_off(time, kind, later_reports)
            }
            NotificationKind::GraceBegan => self.begin_grace(time, later_reports),
        }
    }

    /// Announces the payments before this report that the store shows, if neither this report nor a later one names a
    /// payment.
    fn announce_unreported_payments(&mut self, time: Timestamp, reports: &[Moment]) {
        if !self.stage.runs() || reports.iter().any(|(_, kind)| kind.is_payment()) {
            return;
        }
        let shown = self.truth.as_ref().and_then(|truth| truth.terms);
        let (Some(shown), Some(announced)) = (shown, self.stage.terms) else {
            return;
        };
        if shown <= announced {
            return;
        }
        let Some(begun) = self.known.rules().begun_term(self.known, time) else {
            return;
        };
        let number = begun.min(shown);
        if number > announced {
            self.resume_before_payment(reports);
            self.pay(Some(number), None);
            self.change_plan_with_payment();
        }
    }

    /// Announces that auto-renewal was switched on again before a payment, since a subscription with auto-renewal off
    /// is not charged. Announces it only if the store answered and auto-renewal was on: the next report switches it off
    /// or, if no report switches it, the store shows it on.
    pub fn resume_before_payment(&mut self, later_reports: &[Moment]) {
        let switch = |(_, kind): &&Moment| {
            matches!(
                kind,
                NotificationKind::AutoRenewalOn | NotificationKind::AutoRenewalOff
            )
        };
        let is_on = match later_reports.iter().find(switch) {
            Some((_, kind)) => *kind == NotificationKind::AutoRenewalOff,
            None => self
                .truth
                .as_ref()
                .is_some_and(|truth| truth.runs() && !truth.is_off),
        };
        if self.truth.is_some() && self.stage.is_off && is_on {
            self.stage.is_off = false;
            if !self
                .announced
                .unannounced
                .remove(&TransitionKind::Cancelled)
            {
                self.announce_unreported(TransitionKind::Resumed, None);
            }
        }
    }

    /// Announces a change of plan once the payments have reached the term that the store shows.
    pub fn change_plan_with_payment(&mut self) {
        let shown = self
            .truth
            .as_ref()
            .filter(|truth| truth.terms <= self.stage.terms);
        let sku = shown.and_then(|truth| truth.sku.clone());
        self.change_plan(sku.as_deref());
    }

    /// Whether a report of this kind is possible for the product: one-time purchase or subscription.
    pub fn fits_product(&self, kind: NotificationKind) -> bool {
        match kind {
            NotificationKind::Adopted | NotificationKind::Replaced => true,
            NotificationKind::ConsumablePurchased
            | NotificationKind::EntitlementPurchased
            | NotificationKind::ConsumableCancelled
            | NotificationKind::EntitlementCancelled => self.known.is_one_time(),
            _ => !self.known.is_one_time(),
        }
    }

    /// Whether the purchase is over according to the store's answer and the reports that it may not show yet.
    pub fn store_shows_end(&self) -> bool {
        self.truth.as_ref().is_some_and(Stage::is_over)
    }

    fn store_shows_running(&self) -> bool {
        self.truth.as_ref().is_some_and(Stage::runs)
    }

    /// Applies the report of a beginning: the first report of a purchase, a new purchase after its end, or a change of
    /// plan.
    fn begin(&mut self, time: Timestamp, kind: NotificationKind) {
        // Without an answer, such a report of a revoked purchase is taken for a late one, which does not undo the
        // revocation.
        let is_bought_again = self.stage.life == Life::Revoked && self.truth.is_some();
        let was_over = matches!(self.stage.life, Life::Cut | Life::Expired) || is_bought_again;
        let begins_again = was_over
            && !self.store_shows_end()
            && !self.is_covered(TransitionKind::Purchased, time);
        let is_change = kind == NotificationKind::PlanChanged;
        if is_change && !self.stage.is_unknown() {
            if self
                .announced
                .covered(TransitionKind::PlanChanged)
                .is_none()
                && self.stage.life != Life::Replaced
            {
                if begins_again {
                    self.run_again();
                }
                let started = [TransitionKind::TrialStarted, TransitionKind::Purchased];
                let has_begun = self.announced.last_covered(&started).is_some();
                if self.stage.in_trial && !has_begun {
                    self.announce(TransitionKind::TrialStarted, time);
                }
                self.announce(TransitionKind::PlanChanged, time);
            }
            return;
        }
        // A purchase that began with a change of plan is announced as one, even if a new purchase is reported too.
        let is_known_change = kind == NotificationKind::SubscriptionPurchased
            && self.known.was_reported(NotificationKind::PlanChanged);
        if !begins_again && (is_known_change || !self.stage.is_unknown()) {
            return;
        }
        let had_trial = self.stage.is_unknown() && self.known.trial_end().is_some();
        let next = self
            .stage
            .terms
            .filter(|_| begins_again && self.truth.is_none())
            .map(|terms| terms.saturating_add(1));
        self.appear();
        if self.known.is_one_time() {
            // A one-time purchase is announced once, even if a late report of its beginning follows.
            if self.announced.covered(TransitionKind::Purchased).is_none() {
                self.announce(TransitionKind::Purchased, time);
            }
            return;
        }
        self.stage.in_grace = false;
        self.announced
            .unannounced
            .remove(&TransitionKind::GraceBegan);
        self.stage.pending = None;
        self.stage.in_trial = had_trial || self.truth.as_ref().is_some_and(|truth| truth.in_trial);
        let shown = self.stage.terms.filter(|_| begins_again);
        self.stage.terms = shown.or(next).or(Some(u64::from(!self.stage.in_trial)));
        if self.stage.in_trial {
            self.announce(TransitionKind::TrialStarted, time);
        }
        self.announce(
            if is_change {
                TransitionKind::PlanChanged
            } else {
                TransitionKind::Purchased
            },
            time,
        );
    }

    /// Sets the stage to running again after an end.
    pub fn run_again(&mut self) {
        self.stage = Stage {
            life: Life::Running,
            in_grace: false,
            is_off: false,
            ..self.stage.clone()
        };
        self.announced.is_expired = false;
    }

    /// Sets the stage of a purchase that is first seen or begins again: running, with what the store shows. A grace
    /// period and switched-off auto-renewal stay unannounced until a report names them.
    fn appear(&mut self) {
        self.stage = match &self.truth {
            Some(truth) if truth.runs() => truth.clone(),
            Some(truth) => Stage {
                life: Life::Running,
                is_off: false,
                ..truth.clone()
            },
            None => Stage {
                life: Life::Running,
                sku: self.stage.sku.take(),
                ..Stage::default()
            },
        };
        self.announced.unannounced.clear();
        self.announced
            .unannounced
            .extend(self.stage.is_off.then_some(TransitionKind::Cancelled));
        self.announced
            .unannounced
            .extend(self.stage.in_grace.then_some(TransitionKind::GraceBegan));
    }

    /// Sets the stage of an imported purchase to what the store shows, and announces nothing.
    fn adopt(&mut self) {
        if let Some(truth) = self.truth.clone().filter(|_| self.stage.is_unknown()) {
            let is_silent = self.is_silent_sight(&truth);
            self.announced
                .unannounced
                .extend(is_silent.then_some(TransitionKind::Purchased));
            self.stage = truth;
        }
    }

    /// Applies the first report of a purchase if it is not a beginning. Announces only the transitions that the report
    /// names, and the payment that a converted trial implies.
    fn begin_midway(&mut self, time: Timestamp, kind: NotificationKind) {
        if kind == NotificationKind::OutOfGrace && self.store_shows_end() {
            return;
        }
        self.appear();
        match kind {
            NotificationKind::Renewed => {
                self.end_trial();
                self.announce(TransitionKind::Renewed, time);
            }
            NotificationKind::TrialConverted => {
                self.end_trial();
                self.stage.terms = self.stage.terms.max(Some(1));
                self.announce(TransitionKind::TrialConverted, time);
                self.announce(TransitionKind::Renewed, time);
            }
            NotificationKind::AutoRenewalOn => {
                self.stage.is_off = false;
                self.announced
                    .unannounced
                    .remove(&TransitionKind::Cancelled);
                self.announce(TransitionKind::Resumed, time);
            }
            NotificationKind::AutoRenewalOff => {
                self.stage.is_off = true;
                self.announce(TransitionKind::Cancelled, time);
            }
            NotificationKind::GraceBegan => {
                if !self.stage.in_grace && self.truth.as_ref().is_some_and(Stage::runs) {
                    // The payment has recovered since: the term that the store shows began with the recovery.
                    self.stage.terms = self.stage.terms.map(|terms| terms.saturating_sub(1));
                }
                self.stage.in_grace = true;
                self.announce(TransitionKind::GraceBegan, time);
            }
            NotificationKind::OutOfGrace => {
                self.end_trial();
                self.stage.in_grace = false;
                self.announce(TransitionKind::Recovered, time);
            }
            NotificationKind::PlanChangeScheduled => {
                self.stage.pending = self.stage.pending.take().or_else(|| Some(String::new()));
                self.announce(TransitionKind::PlanChangeScheduled, time);
            }
            _ => {}
        }
    }

    fn schedule_change(&mut self, time: Timestamp) {
        let shown = self.truth.as_ref().map(|truth| truth.pending.clone());
        let is_new = match &shown {
            Some(pending) => pending.is_some() && *pending != self.stage.pending,
            None => true,
        };
        // An empty SKU: a report announced the change before the store showed the new SKU.
        let is_announced = self.stage.pending.as_deref() == Some("") && shown.is_some();
        if self.stage.runs()
            && is_new
            && !is_announced
            && !self.is_covered(TransitionKind::PlanChangeScheduled, time)
        {
            self.announce(TransitionKind::PlanChangeScheduled, time);
            self.stage.pending = shown.flatten().or_else(|| Some(String::new()));
        }
    }

    fn switch_on(&mut self, time: Timestamp) {
        let is_on_after_end = self.stage.life == Life::Expired
            && self.store_shows_running()
            && !self.is_covered(TransitionKind::Resumed, time);
        if self.stage.life == Life::Cut || is_on_after_end {
            self.run_again();
            self.stage.is_off = true;
        }
        if !self.stage.runs() || self.is_covered(TransitionKind::Resumed, time) {
            return;
        }
        if !self.stage.is_off {
            if self.is_repeated(TransitionKind::Resumed, time) {
                return;
            }
            self.announce_unreported(TransitionKind::Cancelled, None);
        }
        self.stage.is_off = false;
        self.announced
            .unannounced
            .remove(&TransitionKind::Cancelled);
        self.announce(TransitionKind::Resumed, time);
    }

    fn switch_off(&mut self, time: Timestamp, kind: NotificationKind, later_reports: &[Moment]) {
        let is_reminder = kind == NotificationKind::ScheduledToEnd;
        let is_outdated = is_reminder && !self.was_off(later_reports);
        if !self.stage.runs() || is_outdated || self.is_covered(TransitionKind::Cancelled, time) {
            return;
        }
        if self.stage.is_off {
            let is_unannounced = self
                .announced
                .unannounced
                .contains(&TransitionKind::Cancelled);
            let has_begun = self
                .announced
                .last_covered(&TransitionKind::BEGINNINGS)
                .is_some();
            let is_named = is_unannounced && has_begun;
            if (is_reminder && !is_named)
                || (!is_unannounced && self.is_repeated(TransitionKind::Cancelled, time))
            {
                return;
            }
            if !is_unannounced && kind == NotificationKind::SubscriptionCancelled {
                return;
            }
            if !is_unannounced {
                self.announce_unreported(TransitionKind::Resumed, None);
            }
        }
        self.stage.is_off = true;
        self.announced
            .unannounced
            .remove(&TransitionKind::Cancelled);
        self.announce(TransitionKind::Cancelled, time);
    }

    /// Whether auto-renewal was off at the time of this report: the store shows that it is off or that the purchase is
    /// over, the store did not answer, or a later report switches it on.
    fn was_off(&self, later_reports: &[Moment]) -> bool {
        let is_shown = self
            .truth
            .as_ref()
            .is_none_or(|truth| truth.is_over() || truth.is_off);
        is_shown
            || later_reports
                .iter()
                .any(|(_, kind)| *kind == NotificationKind::AutoRenewalOn)
    }

    /// Announces the grace period that a report names, unless the store answered and shows neither the grace period nor
    /// what can follow it: an end or another term. A later report of a payment confirms it too.
    fn begin_grace(&mut self, time: Timestamp, later_reports: &[Moment]) {
        let is_unannounced = self
            .announced
            .unannounced
            .contains(&TransitionKind::GraceBegan);
        let store_shows_grace = self
            .truth
            .as_ref()
            .is_some_and(|truth| truth.runs() && truth.in_grace);
        if store_shows_grace
            && self.stage.life == Life::Expired
            && !self.is_covered(TransitionKind::GraceBegan, time)
        {
            self.run_again();
        }
        if !self.stage.runs()
            || self.is_covered(TransitionKind::GraceBegan, time)
            || (self.stage.in_grace && !is_unannounced)
        {
            return;
        }
        let is_repair = |(_, kind): &Moment| kind.is_payment();
        let is_shown = self.truth.as_ref().is_none_or(|truth| {
            truth.in_grace
                || truth.is_over()
                || truth.terms > self.stage.terms
                || later_reports.iter().any(is_repair)
        });
        if is_shown {
            self.resume_before_payment(later_reports);
            self.announced
                .unannounced
                .remove(&TransitionKind::GraceBegan);
            self.stage.in_grace = true;
            self.announce(TransitionKind::GraceBegan, time);
        }
    }

    fn take_back(&mut self) {
        if self
            .truth
            .as_ref()
            .is_none_or(|truth| truth.life == Life::Revoked)
            && self.stage.life != Life::Replaced
        {
            self.stage.life = Life::Revoked;
        }
    }

    /// Announces the end that a report names, if the store shows it too. While the store shows that the subscription
    /// runs, a reported cancellation only switches auto-renewal off.
    fn end(&mut self, time: Timestamp, kind: NotificationKind, later_reports: &[Moment]) {
        let Some(truth) = self.truth.clone() else {
            return self.end_unverified(time, kind);
        };
        if truth.runs()
            && kind == NotificationKind::SubscriptionCancelled
            && self.was_off(later_reports)
        {
            if self.stage.is_unknown() {
                self.appear();
                self.announced.unannounced.insert(TransitionKind::Cancelled);
            }
            return self.switch_off(time, kind, later_reports);
        }
        if truth.life != Life::Expired {
            return;
        }
        if self.stage.is_unknown() {
            self.announce(TransitionKind::Expired, time);
            self.announced.unannounced.clear();
            self.stage = truth;
            return;
        }
        // The store may have shown a replacement in the meantime, and a replaced purchase stays replaced.
        let is_unannounced = self.stage.life != Life::Replaced
            && self
                .announced
                .unannounced
                .contains(&TransitionKind::Expired);
        if self.stage.runs() || is_unannounced {
            self.expire(&truth, Some(time));
        }
    }

    /// Announces a reported end while the store does not answer. If another purchase is known to have replaced this
    /// one, the purchase becomes replaced and nothing is announced.
    fn end_unverified(&mut self, time: Timestamp, kind: NotificationKind) {
        let is_cancelled = kind == NotificationKind::SubscriptionCancelled;
        match self.stage.life {
            _ if self.known.is_replaced()
                || self.known.was_reported(NotificationKind::Replaced) =>
            {
                self.stage.life = Life::Replaced
            }
            Life::Cut if !is_cancelled => self.stage.life = Life::Expired,
            Life::Unknown | Life::Running => {
                let life = if is_cancelled {
                    Life::Cut
                } else {
                    Life::Expired
                };
                let goal = Stage {
                    life,
                    in_grace: false,
                    is_off: true,
                    ..self.stage.clone()
                };
                self.expire(&goal, Some(time));
            }
            _ => {}
        }
    }
}
