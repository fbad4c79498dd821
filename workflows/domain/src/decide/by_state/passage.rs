//! The passage of a purchase from the stage that was announced last to the one that an answer shows, with a transition
//! for each change.

use super::replay::NewPeriods;
use super::unannounced_payments;
use crate::decide::{PaidAt, Reports, Walk};
use crate::notification::NotificationKind;
use crate::period::Period;
use crate::purchase::{Halt, Life, Moment, Purchase, Stage};
use crate::store_state::StoreState;
use crate::time::{DAY, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::SAME;
use std::collections::BTreeSet;
use std::time::Duration;

/// How old a beginning may be that is announced after the first sight.
const ANNOUNCED_FOR: Duration = DAY.saturating_mul(7);
/// How long before it begins a period may be reported.
pub(super) const REPORTED_EARLY: Duration = DAY;
/// Kinds which report a payment.
pub(super) const PAYMENTS: [NotificationKind; 3] = NotificationKind::PAYMENTS;
/// Kinds which report that auto-renewal was switched.
const SWITCHES: [NotificationKind; 2] = [
    NotificationKind::AutoRenewalOff,
    NotificationKind::AutoRenewalOn,
];

pub(super) struct Passage<'a> {
    pub(super) walk: Walk<'a>,
    pub(super) goal: Stage,
    pub(super) state: Option<&'a StoreState>,
    /// The new reports, by the store's clock.
    pub(super) reports: Vec<Moment>,
    /// The number of shown payments that are not announced yet.
    pub(super) left: u64,
    /// Whether it has other parts than before.
    pub(super) has_new_parts: bool,
    /// Whether another change is planned than before.
    has_new_plan: bool,
    /// Whether its beginning is announced in this passage: then only what reports name is announced besides.
    begins: bool,
    /// The new periods, if the store shows why each exists.
    pub(super) new: NewPeriods<'a>,
}

/// What a report names that is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReportStep {
    Payment,
    Grace,
    On,
    Off,
}

impl<'a> Passage<'a> {
    /// `after` is the purchase with the reports and the answer of this settling; `goal` is the stage that it shows.
    pub fn new(
        before: &Purchase,
        after: &'a Purchase,
        reports: &Reports,
        goal: Stage,
        now: Timestamp,
    ) -> Self {
        let state = after.store_state();
        let last = before.store_state();
        let parts = |state: &StoreState| state.skus.clone();
        let is_other = |now: &BTreeSet<String>, before: &BTreeSet<String>| {
            !now.is_empty() && !before.is_empty() && now != before
        };
        let has_new_parts = state
            .map(parts)
            .zip(last.map(parts))
            .is_some_and(|(now, before)| is_other(&now, &before));
        let planned = state.and_then(|state| state.planned.as_ref());
        let has_new_plan =
            planned.is_some() && planned != last.and_then(|last| last.planned.as_ref());
        let mut moments = [reports.late.clone(), reports.fresh.clone()].concat();
        moments.sort_unstable();
        Self {
            walk: Walk::new(after, reports, Some(goal.clone()), now),
            goal,
            state,
            reports: moments,
            left: unannounced_payments(before, after),
            has_new_parts,
            has_new_plan,
            begins: false,
            new: NewPeriods::between(before, after),
        }
    }

    /// Announces each change, and sets the stage to the shown one.
    pub fn pass(mut self) -> Walk<'a> {
        let is_replaced =
            self.goal.life == Life::Replaced || self.walk.stage.life == Life::Replaced;
        if is_replaced {
            // The purchase that took its place announces the change.
        } else if self.goal.halt == Some(Halt::Pending) {
            self.unannounced(TransitionKind::Purchased, true);
        } else if self.has_begun() {
            self.take_up_beginning();
            self.go_on();
        } else {
            self.begin();
        }
        self.walk.stage = self.goal;
        self.walk
    }

    fn unannounced(&mut self, transition: TransitionKind, holds: bool) {
        if holds {
            self.walk.announced.unannounced.insert(transition);
        } else {
            self.walk.announced.unannounced.remove(&transition);
        }
    }

    /// Whether it has begun before: not if its first payment was pending, and if it was first seen when it was over.
    fn has_begun(&self) -> bool {
        let stage = &self.walk.stage;
        let is_unannounced = self
            .walk
            .announced
            .unannounced
            .contains(&TransitionKind::Purchased);
        let is_first_seen_over = stage.is_over() && is_unannounced;
        !stage.is_unknown() && stage.halt != Some(Halt::Pending) && !is_first_seen_over
    }

    /// The time of a new report of the beginning.
    fn reported_beginning(&self) -> Option<Timestamp> {
        let begins = |kind: NotificationKind| {
            NotificationKind::BEGINNINGS.contains(&kind) || NotificationKind::BOUGHT.contains(&kind)
        };
        let found = self.reports.iter().find(|(_, kind)| begins(*kind));
        found.map(|(time, _)| *time)
    }

    /// The beginning of a new purchase of which a report names a switch of auto-renewal, before any payment behind the
    /// first: its own report is late or lost. Another system has announced the beginning of an imported purchase.
    fn implied_beginning(&self) -> Option<Timestamp> {
        let is_switch = |(_, kind): &Moment| SWITCHES.contains(kind);
        let shown = self.state.and_then(|state| state.cycle);
        let is_first = shown.is_none_or(|number| number <= 1);
        let is_imported = self.walk.known.was_reported(NotificationKind::Adopted);
        let is_implied = is_first && !is_imported && self.reports.iter().any(is_switch);
        self.new_since().filter(|_| is_implied)
    }

    /// When the purchase began, if it is new.
    fn new_since(&self) -> Option<Timestamp> {
        let began_at = self.walk.known.not_before();
        began_at.filter(|began_at| self.walk.now.since(*began_at) < ANNOUNCED_FOR)
    }

    /// Announces the beginning, and what was reported since. If nothing shows that it is new, only what other reports
    /// name.
    fn begin(&mut self) {
        if self.state.is_some_and(|state| state.has_fallen_through) {
            self.walk.announced.is_expired = true;
            self.unannounced(TransitionKind::Purchased, true);
            return;
        }
        let was_pending = self.walk.stage.halt == Some(Halt::Pending);
        let is_new = |time: &Timestamp| {
            self.walk.stage.is_unknown() || self.walk.now.since(*time) < ANNOUNCED_FOR
        };
        let reported = self.reported_beginning().filter(is_new);
        let is_implied = was_pending || self.implied_beginning().is_some();
        if reported.is_none() && !is_implied {
            return self.see_first();
        }
        if self.walk.known.rules().can_begin_again() && !self.walk.known.is_one_time() {
            self.begins = true;
            return self.replay_beginning(reported);
        }
        let shown = self.state.map_or(0, |state| state.cycle.unwrap_or(0));
        let reports = u64::try_from(self.payment_reports().count());
        self.left = shown.saturating_sub(1).min(reports.unwrap_or(u64::MAX));
        self.begins = true;
        self.walk.announced.unannounced.clear();
        self.walk.announced.is_expired = false;
        self.walk.stage = Stage {
            life: Life::Running,
            in_trial: self.goal.in_trial,
            is_off: self.is_prepaid(),
            terms: self
                .goal
                .terms
                .map(|terms| terms.saturating_sub(self.left).max(1)),
            sku: self.goal.sku.clone(),
            ..Stage::default()
        };
        self.announce_beginning(reported);
        self.go_on();
    }

    /// Announces the beginning of a series of payments, at the time of its report if there is one.
    fn announce_beginning(&mut self, reported_at: Option<Timestamp>) {
        let began_at = self.walk.known.not_before();
        let time = reported_at.map(|time| began_at.map_or(time, |began| time.max(began)));
        let is_trial = self.walk.stage.in_trial;
        let kinds = is_trial.then_some(TransitionKind::TrialStarted).into_iter();
        for kind in kinds.chain([TransitionKind::Purchased]) {
            match time {
                Some(time) => self.walk.announce(kind, time),
                None => self.walk.announce_unreported(kind, began_at),
            }
        }
    }

    /// Announces the beginning that is reported or implied after the first sight, if nothing was paid since.
    fn take_up_beginning(&mut self) {
        let is_unannounced = self
            .walk
            .announced
            .unannounced
            .contains(&TransitionKind::Purchased);
        let is_new = |time: &Timestamp| self.walk.now.since(*time) < ANNOUNCED_FOR;
        let reported = self.reported_beginning().filter(is_new);
        let reported = reported.or_else(|| self.implied_beginning());
        let is_paid = self.walk.announced.last_covered(&TransitionKind::PAYMENTS);
        let Some(time) = reported.filter(|_| is_unannounced && is_paid.is_none()) else {
            return;
        };
        self.unannounced(TransitionKind::Purchased, false);
        if self.walk.stage.in_trial {
            self.walk.announce(TransitionKind::TrialStarted, time);
        }
        self.walk.announce(TransitionKind::Purchased, time);
    }

    /// Announces what reports name of a purchase that is first seen, if the answer shows it too.
    fn see_first(&mut self) {
        let goal = self.goal.clone();
        let is_subscription = !self.walk.known.is_one_time();
        let is_off = goal.runs() && goal.is_off && !self.is_prepaid();
        let is_off_in_hold = self.is_renewal_held() && goal.is_off;
        let is_paid = goal.runs() && !goal.in_trial && !goal.in_grace && goal.terms > Some(1);
        self.walk.stage.terms = goal.terms;
        let mut seen = BTreeSet::new();
        for (time, kind) in self.reports.clone() {
            let (transition, is_shown) = match kind {
                NotificationKind::Renewed
                | NotificationKind::TrialConverted
                | NotificationKind::OutOfGrace => (TransitionKind::Renewed, is_paid),
                NotificationKind::GraceBegan => (TransitionKind::GraceBegan, goal.in_grace),
                NotificationKind::AutoRenewalOff => (TransitionKind::Cancelled, is_off),
                NotificationKind::AutoRenewalOn => {
                    (TransitionKind::Resumed, goal.runs() && !goal.is_off)
                }
                NotificationKind::Expired | NotificationKind::SubscriptionCancelled => {
                    (TransitionKind::Expired, goal.is_over())
                }
                _ => continue,
            };
            if is_shown && is_subscription && seen.insert(transition) {
                self.walk.announce(transition, time);
            }
        }
        self.unannounced(
            TransitionKind::Cancelled,
            is_off_in_hold || (is_off && !seen.contains(&TransitionKind::Cancelled)),
        );
        self.unannounced(
            TransitionKind::GraceBegan,
            goal.in_grace && !seen.contains(&TransitionKind::GraceBegan),
        );
        let switches = [TransitionKind::Cancelled, TransitionKind::Resumed];
        let is_new = self.new_since().is_some() && seen.iter().all(|one| switches.contains(one));
        self.unannounced(TransitionKind::Purchased, seen.is_empty() || is_new);
        self.walk.announced.is_expired |= goal.is_over();
    }

    fn go_on(&mut self) {
        if self.walk.known.is_one_time() {
            return;
        }
        if self.walk.known.rules().can_begin_again() {
            return self.replay();
        }
        if self.walk.stage.is_over() && !self.leave_end() {
            return;
        }
        self.leave_halt();
        if self.walk.stage.runs() {
            self.follow_reports();
        }
        if self.goal.runs() {
            self.reach_running();
        } else if self.goal.halt.is_some() {
            self.reach_halt();
        } else {
            self.reach_end();
        }
    }

    /// Runs again after an end: paid time is a payment; without any, it is resumed. Returns whether it runs.
    fn leave_end(&mut self) -> bool {
        if !self.goal.runs() {
            return false;
        }
        self.walk.run_again();
        self.walk.stage.is_off = self.goal.is_off;
        if self.left == 0 {
            let reported = self.newest(&[NotificationKind::AutoRenewalOn]);
            self.announce(TransitionKind::Resumed, reported);
        }
        true
    }

    /// Gives access again after a pause or an account hold.
    fn leave_halt(&mut self) {
        let Some(halt) = self.walk.stage.halt else {
            return;
        };
        if !self.goal.runs() && self.left == 0 {
            return;
        }
        self.walk.stage.halt = None;
        self.walk.run_again();
        // A cancellation since then is announced as one.
        self.walk.stage.is_off &= self.goal.is_off;
        let place = self
            .reports
            .iter()
            .position(|(_, kind)| PAYMENTS.contains(kind));
        let reported = place.map(|place| self.reports.remove(place).0);
        if halt == Halt::Paused {
            self.walk.stage.terms = self.next_term();
            self.left = self.left.saturating_sub(1);
            self.announce(TransitionKind::Resumed, reported);
        } else {
            self.pay(reported);
        }
    }

    /// Announces what reports name between the two answers.
    fn follow_reports(&mut self) {
        let mut steps = self.steps();
        let unreported = self.unreported_payments();
        let is_switched_on = self.walk.stage.is_off && self.left > 0 && !self.goal.is_off;
        if is_switched_on && self.goal.goes_on() {
            let place = steps.iter().position(|(_, step)| *step == ReportStep::On);
            let on = place.map(|place| steps.remove(place).0);
            self.switch_on(on);
        }
        (0..unreported).for_each(|_| self.pay(None));
        for (time, step) in steps {
            match step {
                ReportStep::Payment => self.pay(Some(time)),
                ReportStep::Grace => self.begin_grace(Some(time)),
                ReportStep::On => self.switch_on(Some(time)),
                ReportStep::Off => self.switch_off(Some(time)),
            }
        }
    }

    /// Returns the number of payments that are announced although no report names them.
    fn unreported_payments(&self) -> u64 {
        let reported = u64::try_from(self.payment_times().len());
        let named = reported
            .unwrap_or(u64::MAX)
            .saturating_add(self.voided_payments());
        self.left.saturating_sub(named)
    }

    /// Returns the times of the reports that name the shown payments.
    fn payment_times(&self) -> Vec<Timestamp> {
        let named = self.left.saturating_sub(self.voided_payments());
        let named = usize::try_from(named).unwrap_or(usize::MAX);
        let all: Vec<Timestamp> = self.payment_reports().collect();
        let skipped = all.len().saturating_sub(named);
        all.into_iter().skip(skipped).collect()
    }

    /// The number of payments that are not announced, since the store voided them before any report named them.
    fn voided_payments(&self) -> u64 {
        let voided = self.current_period().filter(|period| period.is_voided());
        let voided = voided.filter(|_| self.left > 0 && !self.goal.runs());
        let is_named = |begins_at: Timestamp| {
            let mut reports = self.payment_reports().chain(self.reported_beginning());
            reports.any(|time| time.plus(REPORTED_EARLY) > begins_at)
        };
        u64::from(voided.is_some_and(|period| !is_named(period.begins_at)))
    }

    /// The period of the last payment, if it is known.
    pub(super) fn current_period(&self) -> Option<&'a Period> {
        let id = self.state?.transaction_id.as_ref()?;
        self.walk.known.periods().of(id)
    }

    /// The reports that name something which the answer confirms, in order.
    fn steps(&self) -> Vec<(Timestamp, ReportStep)> {
        let payments = self.payment_times();
        let last = payments.last().copied();
        let covered = |kinds: &[TransitionKind]| self.walk.announced.last_covered(kinds);
        let of_kind = |kind: NotificationKind| {
            let reports = self.reports.iter().filter(move |(_, one)| *one == kind);
            reports.map(|(time, _)| *time)
        };
        let is_confirmed =
            |time: &Timestamp| (self.goal.runs() && self.goal.in_grace) || last > Some(*time);
        let graces = of_kind(NotificationKind::GraceBegan)
            .filter(|time| covered(&[TransitionKind::GraceBegan]) < Some(*time))
            .filter(is_confirmed);
        let since = covered(&[TransitionKind::Cancelled, TransitionKind::Resumed]);
        let switches = of_kind(NotificationKind::AutoRenewalOff)
            .map(|time| (time, ReportStep::Off))
            .chain(of_kind(NotificationKind::AutoRenewalOn).map(|time| (time, ReportStep::On)))
            .filter(|(time, _)| since < Some(*time));
        let mut switches: Vec<_> = switches.collect();
        switches.sort_unstable_by_key(|(time, step)| (*time, *step == ReportStep::On));
        let switches = self.confirmed(switches);
        let mut steps: Vec<_> = payments
            .iter()
            .map(|time| (*time, ReportStep::Payment))
            .chain(graces.map(|time| (time, ReportStep::Grace)))
            .chain(switches)
            .collect();
        steps.sort_by_key(|(time, _)| *time);
        steps
    }

    /// The reported switches of auto-renewal, if the answer shows the last one: an answer contradicts all of them else. The
    /// cancellation that comes with an end is none of its own.
    fn confirmed(&self, switches: Vec<(Timestamp, ReportStep)>) -> Vec<(Timestamp, ReportStep)> {
        if self.is_prepaid() {
            return Vec::new();
        }
        if self.goal.is_over() {
            let end = self.walk.known.expires_at_in(&self.goal);
            let is_before = |time: Timestamp| end.is_some_and(|end| end.since(time) > SAME);
            let is_own =
                |(time, _): &(Timestamp, ReportStep)| !self.walk.stage.in_grace && is_before(*time);
            return switches.into_iter().filter(is_own).collect();
        }
        let last = switches.last().map(|(_, step)| *step == ReportStep::Off);
        if last == Some(self.goal.is_off) {
            switches
        } else {
            Vec::new()
        }
    }

    /// The times of the new reports of payments, without those of payments that were announced before.
    fn payment_reports(&self) -> impl Iterator<Item = Timestamp> {
        let covered = self.walk.announced.last_covered(&TransitionKind::PAYMENTS);
        let reports = self.reports.iter();
        let payments = reports.filter(|(_, kind)| PAYMENTS.contains(kind));
        let times = payments.map(|(time, _)| *time);
        times.filter(move |time| covered < Some(*time))
    }

    /// The time of the newest new report of these kinds.
    pub(super) fn newest(&self, kinds: &[NotificationKind]) -> Option<Timestamp> {
        let mut reports = self.reports.iter().rev();
        let found = reports.find(|(_, kind)| kinds.contains(kind));
        found.map(|(time, _)| *time)
    }

    /// Announces a transition at the time of its report, if there is one.
    pub(super) fn announce(&mut self, transition: TransitionKind, reported_at: Option<Timestamp>) {
        match reported_at {
            Some(time) => self.walk.announce(transition, time),
            None => self.walk.announce_unreported(transition, None),
        }
    }

    /// The number of the term that the next payment begins.
    fn next_term(&self) -> Option<u64> {
        let later = self.left.saturating_sub(1);
        let next = self.goal.terms.map(|last| last.saturating_sub(later));
        next.filter(|_| self.left > 0).or(self.walk.stage.terms)
    }

    /// Announces the next payment.
    pub(super) fn pay(&mut self, reported_at: Option<Timestamp>) {
        self.walk.stage.terms = self.next_term();
        self.left = self.left.saturating_sub(1);
        let began_at = || {
            let begins_at = self.current_period().map(|period| period.begins_at);
            begins_at.filter(|_| self.left == 0 && !self.walk.stage.in_grace)
        };
        let paid_at = reported_at.map_or_else(|| PaidAt::Inferred(began_at()), PaidAt::Reported);
        self.walk.renew(paid_at);
    }

    pub(super) fn switch_on(&mut self, reported_at: Option<Timestamp>) {
        if !std::mem::take(&mut self.walk.stage.is_off) {
            return;
        }
        let unannounced = &mut self.walk.announced.unannounced;
        if !unannounced.remove(&TransitionKind::Cancelled) {
            self.announce(TransitionKind::Resumed, reported_at);
        }
    }

    pub(super) fn switch_off(&mut self, at: Option<Timestamp>) {
        let unannounced = &mut self.walk.announced.unannounced;
        let is_named_late = unannounced.remove(&TransitionKind::Cancelled);
        if self.walk.stage.is_off && !is_named_late {
            return;
        }
        self.walk.stage.is_off = true;
        self.announce(TransitionKind::Cancelled, at);
    }

    pub(super) fn begin_grace(&mut self, reported_at: Option<Timestamp>) {
        let unannounced = &mut self.walk.announced.unannounced;
        let is_named_late = unannounced.remove(&TransitionKind::GraceBegan);
        if self.walk.stage.in_grace && !is_named_late {
            return;
        }
        self.walk.stage.in_grace = true;
        self.announce(TransitionKind::GraceBegan, reported_at);
    }

    /// Announces the rest of the difference to a purchase that runs.
    pub(super) fn reach_running(&mut self) {
        if self.walk.stage.is_off && !self.goal.is_off {
            self.switch_on(None);
        }
        while self.left > 0 {
            self.pay(None);
        }
        let is_unnamed = |passage: &mut Self| {
            let unannounced = &mut passage.walk.announced.unannounced;
            !unannounced.remove(&TransitionKind::GraceBegan)
        };
        let is_repaired = self.walk.stage.in_grace && !self.goal.in_grace;
        let is_converted = self.walk.stage.in_trial && !self.goal.in_trial && !self.goal.in_grace;
        if is_converted || (is_repaired && is_unnamed(self)) {
            self.pay(None);
        }
        if self.has_new_parts {
            let payment = self.walk.transitions.last();
            let payment = payment.filter(|last| TransitionKind::PAYMENTS.contains(&last.kind));
            let at = payment.and_then(|payment| payment.at);
            self.walk
                .announce_unreported(TransitionKind::PlanChanged, at);
        }
        if self.goal.in_grace && !self.walk.stage.in_grace {
            if self.begins {
                self.unannounced(TransitionKind::GraceBegan, true);
            } else {
                self.begin_grace(None);
            }
        }
        if self.goal.is_off && !self.walk.stage.is_off {
            if self.begins {
                self.unannounced(TransitionKind::Cancelled, true);
            } else {
                self.cancel();
            }
        }
        if self.has_new_plan && !self.begins {
            let reported = self.newest(&[NotificationKind::PlanChangeScheduled]);
            self.announce(TransitionKind::PlanChangeScheduled, reported);
        }
    }

    /// Announces that renewal was switched off, which no report names.
    pub(super) fn cancel(&mut self) {
        self.walk.stage.is_off = true;
        let at = self.state.and_then(|state| state.canceled_at);
        self.walk.announce_unreported(TransitionKind::Cancelled, at);
    }

    /// Announces a pause. An account hold is announced by no event.
    fn reach_halt(&mut self) {
        if self.goal.halt == Some(Halt::Paused) && self.walk.stage.halt != Some(Halt::Paused) {
            let at = self.walk.known.expires_at_in(&self.goal);
            self.walk.announce_unreported(TransitionKind::Paused, at);
        }
    }

    pub(super) fn reach_end(&mut self) {
        let ends = [
            NotificationKind::Expired,
            NotificationKind::SubscriptionCancelled,
        ];
        let shown = self.walk.known.expires_at_in(&self.goal);
        let at = self.newest(&ends).or(shown);
        self.end(at);
    }

    pub(super) fn end(&mut self, at: Option<Timestamp>) {
        if self.walk.stage.in_trial {
            self.walk
                .announce_unreported(TransitionKind::TrialDidNotConvert, at);
        }
        self.walk.announce_unreported(TransitionKind::Expired, at);
        self.walk.announced.unannounced.clear();
    }

    fn is_prepaid(&self) -> bool {
        self.state.is_some_and(|state| state.is_prepaid)
    }
}
