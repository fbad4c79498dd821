//! The way from the stage that was last announced, report by report, to the present.
//!
//! A report announces the transition that it names, unless that was announced before: each transition is covered up to
//! the time of the report that announced it or of the snapshot that showed it, and a renewal belongs to a term.

use super::Reports;
use crate::notification::NotificationKind;
use crate::purchase::{Announced, Life, Moment, Purchase, Stage, Terms};
use crate::time::Timestamp;
use crate::transition::{Transition, TransitionKind};

/// One walk.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    /// What is known, with the reports and the snapshot of this settling.
    pub known: &'a Purchase,
    /// Where it stands, by the store.
    pub truth: Option<Stage>,
    pub calendar: Option<Terms>,
    /// The reports that are walked, and those that came too late for it.
    reports: Vec<Moment>,
    pub late: Vec<Moment>,
    /// The time up to which a transition is covered that no report named.
    pub clock: Timestamp,
    pub stage: Stage,
    pub announced: Announced,
    pub transitions: Vec<Transition>,
    /// The number of renewals so far, since a settling announces only so many.
    pub renewals: u64,
}

impl<'a> Walk<'a> {
    pub fn new(known: &'a Purchase, reports: &Reports, truth: Option<Stage>) -> Self {
        let newest = reports.fresh.last().map(|(time, _)| *time);
        let clock = if truth.is_some() { known.answered_at() } else { newest };
        Self {
            known,
            calendar: known.calendar(),
            reports: reports.fresh.clone(),
            late: reports.late.clone(),
            clock: clock.or_else(|| known.announced.newest.map(|(time, _)| time)).unwrap_or_default(),
            stage: known.stage.clone(),
            announced: known.announced.clone(),
            truth,
            transitions: Vec::new(),
            renewals: 0,
        }
    }

    /// A walk of the reports since the store answered last.
    pub fn again(known: &'a Purchase) -> Self {
        let verified = known.verified.clone().unwrap_or_default();
        let fresh = known.reports_after(verified.announced.newest);
        let walk = Self::new(known, &Reports { fresh, late: Vec::new() }, None);
        Self { stage: verified.stage, announced: verified.announced, ..walk }
    }

    /// Walks all reports.
    pub fn follow(&mut self) {
        let reports = std::mem::take(&mut self.reports);
        let now = self.clock;
        let mut rest = reports.as_slice();
        while let Some(((time, kind), ahead)) = rest.split_first() {
            self.clock = *time;
            self.keep_pace(*time, rest);
            self.apply(*time, *kind, ahead);
            rest = ahead;
        }
        self.clock = now;
    }

    fn apply(&mut self, time: Timestamp, kind: NotificationKind, ahead: &[Moment]) {
        let is_new = self.stage.is_unknown();
        if !self.concerns(kind) {
            return;
        }
        match kind {
            NotificationKind::SubscriptionPurchased
            | NotificationKind::PlanChanged
            | NotificationKind::ConsumablePurchased
            | NotificationKind::EntitlementPurchased => {
                self.begin(time, kind);
            }
            NotificationKind::ConsumableCancelled | NotificationKind::EntitlementCancelled => self.take_back(),
            NotificationKind::SubscriptionCancelled | NotificationKind::Expired => self.end(time, kind, ahead),
            NotificationKind::Adopted => self.adopt(),
            NotificationKind::Replaced if self.truth.is_none() => self.stage.life = Life::Replaced,
            NotificationKind::ScheduledToEnd if is_new && self.truth.is_none() => {
                self.appear();
                self.stage.is_off = true;
            }
            NotificationKind::Replaced | NotificationKind::Unknown => {}
            _ if is_new => self.begin_unseen(time, kind),
            NotificationKind::TrialConverted | NotificationKind::Renewed | NotificationKind::OutOfGrace => {
                self.apply_payment(time, kind, ahead)
            }
            NotificationKind::PlanChangeScheduled => self.schedule_change(time),
            NotificationKind::AutoRenewalOn => self.switch_on(time),
            NotificationKind::AutoRenewalOff | NotificationKind::ScheduledToEnd => self.switch_off(time, kind, ahead),
            NotificationKind::GraceBegan => self.begin_grace(time, ahead),
        }
    }

    /// Announces the payments before this report that the store shows and no report of this settling names.
    fn keep_pace(&mut self, time: Timestamp, reports: &[Moment]) {
        if !self.stage.runs() || reports.iter().any(|(_, kind)| kind.is_payment()) {
            return;
        }
        let shown = self.truth.as_ref().and_then(|truth| truth.terms);
        let (Some(calendar), Some(shown), Some(announced)) = (self.calendar, shown, self.stage.terms) else { return };
        let number = calendar.begun(time).min(shown);
        if number > announced {
            self.resume_in_time(reports);
            self.pay(Some(number), None);
            self.change_plan_in_time();
        }
    }

    /// Announces a resume before a payment, since what does not renew is not paid, unless the store shows that it still is
    /// off.
    pub fn resume_in_time(&mut self, ahead: &[Moment]) {
        let switch =
            |(_, kind): &&Moment| matches!(kind, NotificationKind::AutoRenewalOn | NotificationKind::AutoRenewalOff);
        let is_on = match ahead.iter().find(switch) {
            Some((_, kind)) => *kind == NotificationKind::AutoRenewalOff,
            None => self.truth.as_ref().is_some_and(|truth| truth.runs() && !truth.is_off),
        };
        if self.truth.is_some() && self.stage.is_off && is_on {
            self.stage.is_off = false;
            if !self.announced.unannounced.remove(&TransitionKind::Cancelled) {
                self.infer(TransitionKind::Resumed, None);
            }
        }
    }

    /// Changes the plan with the first payment of the term that the store shows.
    pub fn change_plan_in_time(&mut self) {
        let shown = self.truth.as_ref().filter(|truth| truth.terms <= self.stage.terms);
        let sku = shown.and_then(|truth| truth.sku.clone());
        self.change_plan(sku.as_deref());
    }

    /// Whether a report of this kind fits the product.
    fn concerns(&self, kind: NotificationKind) -> bool {
        match kind {
            NotificationKind::Adopted | NotificationKind::Replaced => true,
            NotificationKind::ConsumablePurchased
            | NotificationKind::EntitlementPurchased
            | NotificationKind::ConsumableCancelled
            | NotificationKind::EntitlementCancelled => self.known.is_one_time(),
            _ => !self.known.is_one_time(),
        }
    }

    pub fn is_over_in_truth(&self) -> bool {
        self.truth.as_ref().is_some_and(Stage::is_over)
    }

    fn runs_in_truth(&self) -> bool {
        self.truth.as_ref().is_some_and(Stage::runs)
    }

    /// Begins a receipt: by its first report, or again after its end.
    fn begin(&mut self, time: Timestamp, kind: NotificationKind) {
        let was_over = matches!(self.stage.life, Life::Cut | Life::Expired | Life::Revoked);
        let is_back = was_over && !self.is_over_in_truth() && !self.is_covered(TransitionKind::Purchased, time);
        let is_change = kind == NotificationKind::PlanChanged;
        if is_change && !self.stage.is_unknown() {
            if self.announced.covered(TransitionKind::PlanChanged).is_none() && self.stage.life != Life::Replaced {
                if is_back {
                    self.revive();
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
        // The receipt of a plan change is announced as that, also when the store reports a purchase besides.
        let is_known_change =
            kind == NotificationKind::SubscriptionPurchased && self.known.was_reported(NotificationKind::PlanChanged);
        if !is_back && (is_known_change || !self.stage.is_unknown()) {
            return;
        }
        let had_trial = self.stage.is_unknown() && self.known.trial_end().is_some();
        let next = self.stage.terms.filter(|_| is_back && self.truth.is_none()).map(|terms| terms.saturating_add(1));
        self.appear();
        if self.known.is_one_time() {
            // A one-time purchase is announced once, whatever comes late.
            if self.announced.covered(TransitionKind::Purchased).is_none() {
                self.announce(TransitionKind::Purchased, time);
            }
            return;
        }
        self.stage.in_grace = false;
        self.announced.unannounced.remove(&TransitionKind::GraceBegan);
        self.stage.pending = None;
        self.stage.in_trial = had_trial || self.truth.as_ref().is_some_and(|truth| truth.in_trial);
        let shown = self.stage.terms.filter(|_| is_back);
        self.stage.terms = shown.or(next).or(Some(u64::from(!self.stage.in_trial)));
        if self.stage.in_trial {
            self.announce(TransitionKind::TrialStarted, time);
        }
        self.announce(if is_change { TransitionKind::PlanChanged } else { TransitionKind::Purchased }, time);
    }

    /// Lets it run again after its end.
    pub fn revive(&mut self) {
        self.stage = Stage { life: Life::Running, in_grace: false, is_off: false, ..self.stage.clone() };
        self.announced.is_expired = false;
    }

    /// Lets it run from now on, as the store shows it; what no report named of that stays unannounced.
    fn appear(&mut self) {
        self.stage = match &self.truth {
            Some(truth) if truth.runs() => truth.clone(),
            Some(truth) => Stage { life: Life::Running, is_off: false, ..truth.clone() },
            None => Stage { life: Life::Running, sku: self.stage.sku.take(), ..Stage::default() },
        };
        self.announced.unannounced.clear();
        self.announced.unannounced.extend(self.stage.is_off.then_some(TransitionKind::Cancelled));
        self.announced.unannounced.extend(self.stage.in_grace.then_some(TransitionKind::GraceBegan));
    }

    /// Takes over what the store shows of an imported purchase, and announces nothing of it.
    fn adopt(&mut self) {
        if let Some(truth) = self.truth.clone().filter(|_| self.stage.is_unknown()) {
            self.stage = truth;
        }
    }

    /// Begins a receipt by a first report that is no beginning: it announces what it names, and nothing else is announced.
    fn begin_unseen(&mut self, time: Timestamp, kind: NotificationKind) {
        if kind == NotificationKind::OutOfGrace && self.is_over_in_truth() {
            return;
        }
        self.appear();
        match kind {
            NotificationKind::Renewed => {
                self.past_trial();
                self.announce(TransitionKind::Renewed, time);
            }
            NotificationKind::TrialConverted => {
                self.past_trial();
                self.stage.terms = self.stage.terms.max(Some(1));
                self.announce(TransitionKind::TrialConverted, time);
                self.announce(TransitionKind::Renewed, time);
            }
            NotificationKind::AutoRenewalOn => {
                self.stage.is_off = false;
                self.announced.unannounced.remove(&TransitionKind::Cancelled);
                self.announce(TransitionKind::Resumed, time);
            }
            NotificationKind::AutoRenewalOff => {
                self.stage.is_off = true;
                self.announce(TransitionKind::Cancelled, time);
            }
            NotificationKind::GraceBegan => {
                if !self.stage.in_grace && self.truth.as_ref().is_some_and(Stage::runs) {
                    // It was repaired since: the term that the store shows is the one that the repair began.
                    self.stage.terms = self.stage.terms.map(|terms| terms.saturating_sub(1));
                }
                self.stage.in_grace = true;
                self.announce(TransitionKind::GraceBegan, time);
            }
            NotificationKind::OutOfGrace => {
                self.past_trial();
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
        let is_news = match &shown {
            Some(pending) => pending.is_some() && *pending != self.stage.pending,
            None => true,
        };
        let is_announced = self.stage.pending.as_deref() == Some("") && shown.is_some();
        if self.stage.runs() && is_news && !is_announced && !self.is_covered(TransitionKind::PlanChangeScheduled, time)
        {
            self.announce(TransitionKind::PlanChangeScheduled, time);
            self.stage.pending = shown.flatten().or_else(|| Some(String::new()));
        }
    }

    fn switch_on(&mut self, time: Timestamp) {
        let is_back =
            self.stage.life == Life::Expired && self.runs_in_truth() && !self.is_covered(TransitionKind::Resumed, time);
        if self.stage.life == Life::Cut || is_back {
            self.revive();
            self.stage.is_off = true;
        }
        if !self.stage.runs() || self.is_covered(TransitionKind::Resumed, time) {
            return;
        }
        if !self.stage.is_off {
            if self.is_echo(TransitionKind::Resumed, time) {
                return;
            }
            self.infer(TransitionKind::Cancelled, None);
        }
        self.stage.is_off = false;
        self.announced.unannounced.remove(&TransitionKind::Cancelled);
        self.announce(TransitionKind::Resumed, time);
    }

    fn switch_off(&mut self, time: Timestamp, kind: NotificationKind, ahead: &[Moment]) {
        let is_reminder = kind == NotificationKind::ScheduledToEnd;
        let is_outdated = is_reminder && !self.was_off(ahead);
        if !self.stage.runs() || is_outdated || self.is_covered(TransitionKind::Cancelled, time) {
            return;
        }
        if self.stage.is_off {
            let is_unannounced = self.announced.unannounced.contains(&TransitionKind::Cancelled);
            let has_begun = self.announced.last_covered(&TransitionKind::BEGINNINGS).is_some();
            let is_named = is_unannounced && has_begun;
            if (is_reminder && !is_named) || (!is_unannounced && self.is_echo(TransitionKind::Cancelled, time)) {
                return;
            }
            if !is_unannounced && kind == NotificationKind::SubscriptionCancelled {
                return;
            }
            if !is_unannounced {
                self.infer(TransitionKind::Resumed, None);
            }
        }
        self.stage.is_off = true;
        self.announced.unannounced.remove(&TransitionKind::Cancelled);
        self.announce(TransitionKind::Cancelled, time);
    }

    /// Whether the store shows that it will not renew, or a later report shows that this was changed.
    fn was_off(&self, ahead: &[Moment]) -> bool {
        let is_shown = self.truth.as_ref().is_none_or(|truth| truth.is_over() || truth.is_off);
        is_shown || ahead.iter().any(|(_, kind)| *kind == NotificationKind::AutoRenewalOn)
    }

    /// Announces a grace, if the store shows it, or that it went on from there.
    fn begin_grace(&mut self, time: Timestamp, ahead: &[Moment]) {
        let is_unannounced = self.announced.unannounced.contains(&TransitionKind::GraceBegan);
        let is_graced = self.truth.as_ref().is_some_and(|truth| truth.runs() && truth.in_grace);
        if is_graced && self.stage.life == Life::Expired && !self.is_covered(TransitionKind::GraceBegan, time) {
            self.revive();
        }
        if !self.stage.runs()
            || self.is_covered(TransitionKind::GraceBegan, time)
            || (self.stage.in_grace && !is_unannounced)
        {
            return;
        }
        let is_repair = |(_, kind): &Moment| kind.is_payment();
        let is_shown = self.truth.as_ref().is_none_or(|truth| {
            truth.in_grace || truth.is_over() || truth.terms > self.stage.terms || ahead.iter().any(is_repair)
        });
        if is_shown {
            self.resume_in_time(ahead);
            self.announced.unannounced.remove(&TransitionKind::GraceBegan);
            self.stage.in_grace = true;
            self.announce(TransitionKind::GraceBegan, time);
        }
    }

    fn take_back(&mut self) {
        if self.truth.as_ref().is_none_or(|truth| truth.life == Life::Revoked) && self.stage.life != Life::Replaced {
            self.stage.life = Life::Revoked;
        }
    }

    /// Announces the end, if the store shows it too. A cancellation of what still runs switches auto-renewal off.
    fn end(&mut self, time: Timestamp, kind: NotificationKind, ahead: &[Moment]) {
        let Some(truth) = self.truth.clone() else { return self.end_unverified(time, kind) };
        if truth.runs() && kind == NotificationKind::SubscriptionCancelled && self.was_off(ahead) {
            if self.stage.is_unknown() {
                self.appear();
                self.announced.unannounced.insert(TransitionKind::Cancelled);
            }
            return self.switch_off(time, kind, ahead);
        }
        if truth.life != Life::Expired {
            return;
        }
        if self.stage.is_unknown() {
            self.announce(TransitionKind::Expired, time);
            self.announced.unannounced.clear();
            self.stage = truth;
        } else if self.stage.runs() || self.announced.unannounced.contains(&TransitionKind::Expired) {
            self.expire(&truth, Some(time));
        }
    }

    /// Announces an end that cannot be verified: it is the replacement if another receipt is known to have taken its place.
    fn end_unverified(&mut self, time: Timestamp, kind: NotificationKind) {
        let is_cancelled = kind == NotificationKind::SubscriptionCancelled;
        match self.stage.life {
            _ if self.known.is_replaced() || self.known.was_reported(NotificationKind::Replaced) => {
                self.stage.life = Life::Replaced
            }
            Life::Cut if !is_cancelled => self.stage.life = Life::Expired,
            Life::Unknown | Life::Running => {
                let life = if is_cancelled { Life::Cut } else { Life::Expired };
                let goal = Stage { life, in_grace: false, is_off: true, ..self.stage.clone() };
                self.expire(&goal, Some(time));
            }
            _ => {}
        }
    }
}
