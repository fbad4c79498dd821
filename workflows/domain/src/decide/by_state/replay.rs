//! The passage of a purchase that can begin again, whose store shows why each period exists: the new periods and the
//! reports are taken up one by one, by their times.

use super::passage::{PAYMENTS, Passage, REPORTED_EARLY};
use crate::decide::PaidAt;
use crate::notification::NotificationKind;
use crate::period::{OfferPhase, Period, PeriodCause};
use crate::purchase::{Halt, Life, Purchase, Stage};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::SAME;
use std::collections::BTreeSet;
use std::time::Duration;

/// The periods that an answer shows behind the last known one.
pub(super) struct NewPeriods<'a> {
    /// The oldest first, without additions to others.
    periods: Vec<&'a Period>,
    /// The number of periods that are shown behind later ones.
    late: usize,
    /// The period before the next one.
    last: Option<Period>,
    /// When access ended, or would end, with the last known period.
    last_end: Option<Timestamp>,
    /// The beginning of the series of payments, if it is another one than before.
    row: Option<Timestamp>,
    /// The last one, if it was returned before any report named it.
    returned: Option<&'a Period>,
    /// Whether the customer was committed to further payments.
    was_committed: bool,
    /// The time up to which the record shows the state.
    as_of: Option<Timestamp>,
}

/// What is taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replayed<'a> {
    Period(&'a Period, Option<Timestamp>),
    Grace,
    Off,
    On,
}

type ReplayStep<'a> = (Timestamp, Replayed<'a>);

impl<'a> NewPeriods<'a> {
    pub fn between(before: &Purchase, after: &'a Purchase) -> Self {
        let recorded = before.paid_period();
        let id = |purchase: &'a Purchase| purchase.store_state()?.transaction_id.as_deref();
        let current = id(after);
        let is_unknown = |period: &&Period| {
            period.is_own() && before.periods().of(&period.transaction_id).is_none()
        };
        let is_later = |period: &&Period| {
            recorded.is_none_or(|last| period.begins_at > last.begins_at)
                || current == Some(period.transaction_id.as_str())
        };
        let unknown = after.periods().iter().filter(is_unknown);
        let (periods, late): (Vec<_>, Vec<_>) = unknown.partition(is_later);
        let beginning = |purchase: &Purchase| purchase.snapshot.as_ref()?.purchased_at;
        let last = recorded.map(|last| after.periods().of(&last.transaction_id).unwrap_or(last));
        let is_bought = |period: &&Period| period.cause == Some(PeriodCause::Bought);
        let rows = beginning(before).zip(beginning(after));
        let row = rows.filter(|(last, now)| now.since(*last) > SAME);
        Self {
            periods,
            late: late.len(),
            last: last.cloned(),
            last_end: before.expires_at(),
            row: row.map(|(_, now)| now),
            returned: None,
            was_committed: before
                .store_state()
                .is_some_and(|state| state.ends_after_commitment && before.stage.runs()),
            // What a customer buys renews at first.
            as_of: before
                .store_state()
                .and_then(|state| state.renewal_as_of)
                .max(recorded.filter(is_bought).map(|last| last.begins_at)),
        }
    }

    /// Whether this period is the first one of another series of payments.
    fn begins_row(&self, period: &Period) -> bool {
        let is_before = |row: Timestamp| {
            let last = self.last.as_ref();
            last.is_none_or(|last| row.since(last.begins_at) > SAME)
        };
        let is_in = |row: Timestamp| period.begins_at.plus(SAME) >= row && is_before(row);
        self.row.is_some_and(is_in)
    }
}

impl<'a> Passage<'a> {
    /// Announces the beginning with the first period, and what follows it.
    pub(super) fn replay_beginning(&mut self, reported: Option<Timestamp>) {
        let first = (!self.new.periods.is_empty()).then(|| self.new.periods.remove(0));
        let shown = self.current_period();
        let first = first.or(shown);
        self.walk.announced.unannounced.clear();
        self.walk.announced.is_expired = false;
        self.walk.stage = Stage {
            life: Life::Running,
            in_trial: first.is_some_and(|period| period.phase == OfferPhase::Trial),
            terms: first.and_then(|first| self.term_of(first, self.new.periods.len())),
            sku: first.map(|period| period.product.clone()),
            ..Stage::default()
        };
        self.new.last = first.cloned();
        self.new.last_end = first.and_then(|period| period.ends_at);
        self.announce_begun(first.map(|period| period.begins_at), reported);
        self.replay();
    }

    /// Announces what happened between the two answers, in order.
    pub(super) fn replay(&mut self) {
        let has_periods = !self.new.periods.is_empty();
        self.resume_reversed();
        self.pay_dropped();
        let steps = self.replayed();
        let mut rest = steps.as_slice();
        while let Some(((time, step), later)) = rest.split_first() {
            rest = later;
            let goes_on = self.walk.stage.goes_on();
            if matches!(step, Replayed::Off | Replayed::On) && self.is_unpaid_at(*time) {
                self.walk.stage.life = Life::Expired;
                self.walk.stage.halt = Some(Halt::AccountHold);
            }
            match step {
                Replayed::Period(period, reported) => self.take_up(period, *reported, later),
                Replayed::Grace if self.walk.stage.runs() => self.begin_grace(Some(*time)),
                Replayed::Off | Replayed::On if self.walk.stage.halt.is_some() => {
                    self.switch_in_hold(*step == Replayed::Off);
                }
                Replayed::Off if goes_on => self.switch_off(Some(*time)),
                Replayed::On if goes_on => self.switch_on(Some(*time)),
                Replayed::Grace | Replayed::Off | Replayed::On => {}
            }
        }
        self.left = 0;
        self.has_new_parts &= !has_periods;
        self.arrive();
    }

    /// Whether no payment is known for this time of a running purchase, so that an account hold lies between.
    fn is_unpaid_at(&self, time: Timestamp) -> bool {
        let stage = &self.walk.stage;
        let in_grace = stage.in_grace || self.goal.in_grace;
        let in_order = stage.runs() && !in_grace && !self.new.was_committed;
        let end = self.new.last_end.filter(|_| in_order);
        end.is_some_and(|end| time.since(end) > SAME)
    }

    /// Announces that a refund was reversed, if the next period follows in what was refunded.
    fn resume_reversed(&mut self) {
        let was_revoked = self.walk.stage.life == Life::Revoked;
        let last = self.new.last.as_ref();
        let last = last.filter(|last| was_revoked && !last.is_voided());
        let Some((last, next)) = last.zip(self.new.periods.first()) else {
            return;
        };
        let is_within = last.ends_at.map(|end| end.plus(SAME)) >= Some(next.begins_at);
        let reversed_at = last.refund.map(|refund| refund.at);
        let is_before = reversed_at <= Some(next.begins_at);
        // A history does not show when it was reversed.
        let is_bought = next.cause == Some(PeriodCause::Bought);
        let known = self.walk.known;
        let is_upgrade =
            is_bought && next.product != last.product && !known.has_begun_at(next, last);
        if is_within && (is_before || is_upgrade) {
            self.walk.run_again();
            self.announce(TransitionKind::Resumed, None);
        }
    }

    /// Announces the payments whose periods the purchase does not have. What arrives behind a later period is not
    /// announced.
    fn pay_dropped(&mut self) {
        let shown = self.new.periods.len().saturating_add(self.new.late);
        let shown = u64::try_from(shown).unwrap_or(u64::MAX);
        let is_row = self.new.row.is_none() && shown > 0;
        if is_row && self.walk.stage.runs() {
            while self.left > shown {
                self.pay(None);
            }
        }
    }

    /// The new periods and the reports of what came and went, by their times.
    fn replayed(&mut self) -> Vec<ReplayStep<'a>> {
        let mut steps: Vec<ReplayStep<'a>> = Vec::new();
        let mut used = BTreeSet::new();
        let begins = |place: usize| self.new.periods.get(place).map(|one| one.begins_at);
        for (place, period) in self.new.periods.iter().enumerate() {
            let end = begins(place.saturating_add(1)).or(period.ends_at);
            let is_bought = period.cause == Some(PeriodCause::Bought);
            let kinds: &[NotificationKind] = if is_bought {
                &NotificationKind::BEGINNINGS
            } else {
                &PAYMENTS
            };
            let mut reports = self.reports.iter().filter(|(_, kind)| kinds.contains(kind));
            let reported = reports.find(|report| {
                let time = report.0;
                let is_within = time.plus(REPORTED_EARLY) > period.begins_at
                    && end.is_none_or(|end| time < end);
                is_within && !used.contains(*report)
            });
            used.extend(reported.copied());
            let reported = reported.map(|(time, _)| *time);
            let time = reported.unwrap_or(period.begins_at);
            steps.push((time, Replayed::Period(period, reported)));
        }
        // A payment that was returned before any report named it is not announced.
        let is_returned = |(_, step): &mut ReplayStep<'_>| matches!(step, Replayed::Period(period, None) if period.is_voided());
        let returned = steps.pop_if(|step| !self.goal.runs() && is_returned(step));
        self.new.returned = match returned {
            Some((_, Replayed::Period(period, _))) => Some(period),
            _ => None,
        };
        steps.extend(self.replayed_reports());
        steps.sort_by_key(|(time, step)| (*time, *step == Replayed::On));
        steps
    }

    /// The reports of failed payments and of switches, if the record is not newer.
    fn replayed_reports(&self) -> impl Iterator<Item = ReplayStep<'a>> {
        let end = self.walk.known.expires_at_in(&self.goal);
        let end = end.filter(|_| self.goal.is_over() || self.is_renewal_held());
        // The cancellation that comes with an end is none of its own, and a hold announces none.
        let is_before_end = move |time: Timestamp| end.is_none_or(|end| end.since(time) > SAME);
        let reports = self.reports.iter().filter_map(move |(time, kind)| {
            let (step, covered): (_, &[TransitionKind]) = match kind {
                NotificationKind::GraceBegan => (Replayed::Grace, &[TransitionKind::GraceBegan]),
                NotificationKind::AutoRenewalOff if is_before_end(*time) => (
                    Replayed::Off,
                    &[TransitionKind::Cancelled, TransitionKind::Resumed],
                ),
                NotificationKind::AutoRenewalOn if is_before_end(*time) => (
                    Replayed::On,
                    &[TransitionKind::Cancelled, TransitionKind::Resumed],
                ),
                _ => return None,
            };
            let covered = self.walk.announced.last_covered(covered);
            let is_new = covered < Some(*time) && self.new.as_of <= Some(*time);
            is_new.then_some((*time, step))
        });
        reports.collect::<Vec<_>>().into_iter()
    }

    /// The number of this period in its series, of which `later` periods follow.
    fn term_of(&self, period: &Period, later: usize) -> Option<u64> {
        let row = self.walk.known.snapshot.as_ref()?.purchased_at;
        let is_of_row = row.is_none_or(|row| period.begins_at.plus(SAME) >= row);
        let later = u64::try_from(later).unwrap_or(u64::MAX);
        let last = self.walk.stage.terms;
        let by_row = self
            .goal
            .terms
            .map(|terms| terms.saturating_sub(later).max(1));
        if is_of_row {
            by_row
        } else {
            last.map(|last| last.saturating_add(1))
        }
    }

    fn take_up(
        &mut self,
        period: &'a Period,
        reported: Option<Timestamp>,
        later: &[ReplayStep<'a>],
    ) {
        let last = self.new.last.clone();
        let begins_row = self.new.begins_row(period);
        self.lapse(last.as_ref(), period, reported);
        let was_over = self.walk.stage.is_over() || self.is_over_in_hold();
        let is_period = |(_, step): &&ReplayStep<'_>| matches!(step, Replayed::Period(..));
        self.walk.stage.terms = self.term_of(period, later.iter().filter(is_period).count());
        let is_bought = period.cause == Some(PeriodCause::Bought);
        self.new.was_committed &= !is_bought;
        if was_over {
            self.walk.stage.halt = None;
            self.walk.run_again();
            // A trial that ended was announced as not converted.
            self.walk.stage.in_trial = false;
        } else {
            self.leave_hold();
            let is_switched_off = later.iter().any(|(_, step)| *step == Replayed::Off);
            let ends_committed = self.state.is_some_and(|state| state.ends_after_commitment);
            let is_committed = ends_committed || (self.new.was_committed && !is_bought);
            let goes_on = !self.goal.is_off && self.goal.goes_on();
            if self.walk.stage.is_off && !is_committed && (goes_on || is_switched_off) {
                self.switch_on(None);
            }
        }
        if was_over && (is_bought || begins_row) {
            self.walk.stage.in_trial = period.phase == OfferPhase::Trial;
            self.announce_begun(Some(period.begins_at), reported);
        } else if is_bought {
            self.walk.stage.in_grace = false;
            self.walk.stage.in_trial &= period.phase == OfferPhase::Trial;
            let at = Some(period.begins_at);
            self.walk
                .announce_unreported(TransitionKind::PlanChanged, at);
        } else {
            self.renew(period, reported);
            if last.is_some_and(|last| last.product != period.product) {
                let paid = self.walk.transitions.last().and_then(|last| last.at);
                self.walk
                    .announce_unreported(TransitionKind::PlanChanged, paid);
            }
        }
        self.walk.stage.sku = Some(period.product.clone());
        self.new.last = Some(period.clone());
        self.new.last_end = period.ends_at;
    }

    /// Whether it is in an account hold behind an end that was announced, so that nothing announced its resumption.
    const fn is_over_in_hold(&self) -> bool {
        self.walk.stage.halt.is_some() && self.walk.announced.is_expired
    }

    /// Announces the end between two periods, if there was one.
    fn lapse(&mut self, last: Option<&Period>, period: &Period, reported: Option<Timestamp>) {
        let goes_on = self.walk.stage.goes_on() && !self.is_over_in_hold();
        let Some(last) = last.filter(|_| goes_on) else {
            return;
        };
        let is_bought = period.cause == Some(PeriodCause::Bought);
        let early = if is_bought {
            Duration::ZERO
        } else {
            REPORTED_EARLY
        };
        // What was refunded behind the next payment ended nothing.
        let paid_at = reported.filter(|time| *time <= period.begins_at);
        let paid_at = paid_at.unwrap_or_else(|| period.begins_at.minus(early));
        let voided_at = last.revoked_at().filter(|at| *at <= paid_at);
        let begins_row = self.new.begins_row(period);
        let known = self.walk.known;
        let is_again = known.is_bought_again(period, last, &self.walk.stage);
        if voided_at.is_some() || begins_row || is_again {
            self.end(voided_at.or(self.new.last_end).or(last.ends_at));
            self.walk.stage = Stage {
                life: Life::Expired,
                halt: None,
                in_trial: false,
                in_grace: false,
                ..self.walk.stage.clone()
            };
        }
    }

    /// Announces a beginning at the time of its report, else of its period.
    fn announce_begun(&mut self, begins_at: Option<Timestamp>, reported: Option<Timestamp>) {
        let time = reported.map(|time| begins_at.map_or(time, |begins_at| time.max(begins_at)));
        let is_trial = self.walk.stage.in_trial;
        let kinds = is_trial.then_some(TransitionKind::TrialStarted).into_iter();
        for kind in kinds.chain([TransitionKind::Purchased]) {
            match time {
                Some(time) => self.walk.announce(kind, time),
                None => self.walk.announce_unreported(kind, begins_at),
            }
        }
    }

    fn renew(&mut self, period: &Period, reported: Option<Timestamp>) {
        let grace_end = self.walk.known.last_grace_end();
        let is_behind = grace_end.is_some_and(|end| period.begins_at.since(end) > SAME);
        // A hold lay between.
        self.walk.stage.in_grace &= !is_behind;
        let begins_at = Some(period.begins_at).filter(|_| !self.walk.stage.in_grace);
        let paid_at = reported.map_or(PaidAt::Inferred(begins_at), PaidAt::Reported);
        self.walk.renew(paid_at);
    }

    /// Gives access again after an account hold. What was switched in it is switched from here on.
    fn leave_hold(&mut self) {
        if self.walk.stage.halt.take().is_some() {
            let unannounced = &mut self.walk.announced.unannounced;
            let is_cancelled = unannounced.remove(&TransitionKind::Cancelled);
            let is_resumed = unannounced.remove(&TransitionKind::Resumed);
            let is_off = is_resumed || (self.walk.stage.is_off && !is_cancelled);
            self.walk.run_again();
            self.walk.stage.is_off = is_off;
        }
    }

    /// Announces the rest of the difference to what is shown.
    fn arrive(&mut self) {
        if self.goal.runs() {
            if self.walk.stage.is_over() {
                self.walk.run_again();
                self.walk.stage.is_off = self.goal.is_off;
                let reported = self.newest(&[NotificationKind::AutoRenewalOn]);
                self.announce(TransitionKind::Resumed, reported);
            } else if self.walk.stage.halt.is_some() {
                // No event announced the hold. That of its payment follows.
                self.leave_hold();
            }
            // Without a period, nothing was paid.
            self.walk.stage.in_trial &= self.goal.in_trial || self.goal.in_grace;
            self.walk.stage.in_grace &= self.goal.in_grace;
            self.reach_running();
        } else if self.goal.halt.is_some() {
            self.switch_in_hold(self.goal.is_off);
        } else if !self.walk.stage.is_over() && !self.is_over_in_hold() {
            let returned = self.new.returned;
            // Also what was returned ended the trial.
            let is_trial = |period: &Period| period.phase == OfferPhase::Trial;
            self.walk.stage.in_trial &= returned.is_none_or(is_trial);
            self.reach_end();
        }
    }

    /// Whether an account hold is shown, in which the customer can still switch renewal.
    pub(super) fn is_renewal_held(&self) -> bool {
        let can_begin_again = self.walk.known.rules().can_begin_again();
        can_begin_again && self.goal.halt == Some(Halt::AccountHold)
    }

    /// Takes up how the customer switched renewal in an account hold, which no event announces.
    fn switch_in_hold(&mut self, is_off: bool) {
        if self.walk.stage.is_off == is_off {
            return;
        }
        let (own, other) = if is_off {
            (TransitionKind::Cancelled, TransitionKind::Resumed)
        } else {
            (TransitionKind::Resumed, TransitionKind::Cancelled)
        };
        let unannounced = &mut self.walk.announced.unannounced;
        if !unannounced.remove(&other) {
            unannounced.insert(own);
        }
        self.walk.stage.is_off = is_off;
    }
}
