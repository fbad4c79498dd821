//! Transitions that no report named. They follow from the difference between the stage after the walk and the
//! purchase's current stage.

use super::walk::Walk;
use crate::notification::NotificationKind;
use crate::purchase::{Life, Stage};
use crate::time::Timestamp;
use crate::transition::TransitionKind;

/// Maximum number of renewals that one settling announces; of more than that, it announces the newest.
const MAX_RENEWALS: u64 = 36;

#[derive(Debug, Clone, Copy)]
pub enum PaidAt {
    /// The time of the report that names the payment.
    Reported(Timestamp),
    /// The time by the calendar or by a late report, if known. No walked report names the payment.
    Inferred(Option<Timestamp>),
}

impl Walk<'_> {
    /// Sets the purchase to running after an end, since the store shows it running. If more terms are paid than before
    /// the end, `reach` then announces a payment; otherwise, the subscription is announced as resumed.
    pub fn leave_end(&mut self, goal: &Stage) {
        let is_over = matches!(self.stage.life, Life::Cut | Life::Expired);
        if !is_over || !goal.runs() || goal.in_grace {
            return;
        }
        self.run_again();
        self.stage.is_off = goal.is_off;
        self.announced.unannounced.remove(&TransitionKind::Expired);
        let is_paid = self.stage.terms.is_some() && goal.terms > self.stage.terms;
        if !is_paid {
            let time = self.late_report_at(&[NotificationKind::AutoRenewalOn]);
            self.announce_unreported(TransitionKind::Resumed, time);
        }
    }

    /// Moves the stage to `goal`, the purchase's current stage, and announces the transitions that lead there.
    pub fn reach(&mut self, goal: &Stage) {
        let mut goal = goal.clone();
        if self.has_paid() && goal.in_trial && !self.stage.in_trial {
            goal.in_trial = false;
        }
        match (self.stage.life, goal.life) {
            (Life::Unknown, _) => self.see_first(&goal),
            (Life::Running, Life::Running) => self.continue_to(&goal),
            (Life::Running, Life::Cut | Life::Expired) => self.expire(&goal, None),
            (Life::Expired, Life::Running)
                if goal.terms > self.stage.terms && self.stage.terms.is_some() =>
            {
                self.announced.is_expired = false;
                self.stage = Stage {
                    life: Life::Running,
                    in_grace: false,
                    is_off: goal.is_off,
                    ..self.stage.clone()
                };
                self.continue_to(&goal);
            }
            (Life::Cut | Life::Expired, Life::Running) if goal.in_grace => {
                self.begin_reported_grace()
            }
            // No event announces a revocation, a replacement, or a subscription that runs again without a payment.
            _ => {}
        }
        if self.stage.life == Life::Replaced {
            goal.life = Life::Replaced;
        }
        if self.stage.is_over() && goal.runs() {
            self.announced.unannounced.clear();
        }
        if !goal.in_trial {
            goal.terms = goal.terms.max(self.stage.terms);
        }
        goal.sku = goal.sku.or_else(|| self.stage.sku.take());
        self.stage = goal;
    }

    /// Announces a grace period that the store shows now and that was reported after an end. That end was believed
    /// because the store did not answer.
    fn begin_reported_grace(&mut self) {
        let newest = self.known.newest(&[NotificationKind::GraceBegan]);
        let is_after_end = newest > self.known.newest(&NotificationKind::ENDS);
        let time = newest
            .map(|(time, _)| time)
            .filter(|time| !self.is_covered(TransitionKind::GraceBegan, *time));
        if let Some(time) = time.filter(|_| is_after_end) {
            self.run_again();
            self.announce(TransitionKind::GraceBegan, time);
        }
    }

    /// Sets the stage of a purchase that is first seen without a report about it. Announces nothing.
    fn see_first(&mut self, goal: &Stage) {
        let unannounced = [
            (goal.runs() && goal.is_off, TransitionKind::Cancelled),
            (goal.in_grace, TransitionKind::GraceBegan),
            (goal.life == Life::Expired, TransitionKind::Expired),
            (self.is_silent_sight(goal), TransitionKind::Purchased),
        ];
        self.announced.unannounced = unannounced
            .into_iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, transition)| transition)
            .collect();
        self.stage = goal.clone();
    }

    fn continue_to(&mut self, goal: &Stage) {
        if self.stage.is_off && !goal.is_off {
            let is_unannounced = self
                .announced
                .unannounced
                .remove(&TransitionKind::Cancelled);
            self.stage.is_off = false;
            if !is_unannounced {
                self.announce_unreported(
                    TransitionKind::Resumed,
                    self.late_report_at(&[NotificationKind::AutoRenewalOn]),
                );
            }
        }
        self.catch_up(goal);
        if !self.stage.in_grace && goal.in_grace {
            self.announce_unreported(
                TransitionKind::GraceBegan,
                self.late_report_at(&[NotificationKind::GraceBegan]),
            );
        } else if !goal.in_grace {
            self.announced
                .unannounced
                .remove(&TransitionKind::GraceBegan);
        }
        if !self.stage.is_off && goal.is_off {
            self.announce_unreported(
                TransitionKind::Cancelled,
                self.late_report_at(&[
                    NotificationKind::AutoRenewalOff,
                    NotificationKind::ScheduledToEnd,
                ]),
            );
        }
        let is_scheduled = goal.pending.is_some() && goal.pending != self.stage.pending;
        if is_scheduled && self.stage.pending.as_deref() != Some("") {
            self.announce_unreported(
                TransitionKind::PlanChangeScheduled,
                self.late_report_at(&[NotificationKind::PlanChangeScheduled]),
            );
        }
    }

    /// Announces what happened between the stage and `goal`: the start of a trial, or the payments and then a change of
    /// plan.
    fn catch_up(&mut self, goal: &Stage) {
        if goal.in_trial {
            let has_begun = self
                .announced
                .last_covered(&TransitionKind::BEGINNINGS)
                .is_some();
            if !self.stage.in_trial && has_begun {
                self.stage.in_trial = true;
                self.stage.terms = goal.terms;
                self.announce_unreported(TransitionKind::TrialStarted, None);
            }
            return;
        }
        let is_due = match (self.stage.terms, goal.terms) {
            (Some(announced), Some(shown)) => shown > announced,
            _ => self.stage.in_trial,
        };
        if is_due {
            let number = goal.terms.or(Some(1));
            self.pay(number, None);
        } else if self.stage.in_grace && !goal.in_grace && goal.runs() && goal.terms.is_none() {
            let is_unannounced = self
                .announced
                .unannounced
                .remove(&TransitionKind::GraceBegan);
            let next = self.stage.terms.map(|terms| terms.saturating_add(1));
            if !is_unannounced {
                self.pay(next, None);
            }
        }
        self.change_plan(goal.sku.as_deref());
    }

    /// Announces a change of plan if the SKU that the store shows differs from the announced one.
    pub fn change_plan(&mut self, shown: Option<&str>) {
        let (Some(announced), Some(shown)) = (self.stage.sku.as_deref(), shown) else {
            return;
        };
        if announced != shown {
            self.stage.sku = Some(shown.to_owned());
            self.stage.pending = None;
            // If the payment for the new plan failed at first, the change takes effect with its recovery.
            let payment = self
                .transitions
                .last()
                .filter(|last| TransitionKind::PAYMENTS.contains(&last.kind));
            let at = payment.map_or_else(|| self.term_began(), |payment| payment.at);
            self.announce_unreported(TransitionKind::PlanChanged, at);
        }
    }

    /// Announces the end, preceded by the unannounced payments and by a trial that did not convert. An end without a
    /// reported time has the date that the store shows, but not one before the transitions that it follows.
    pub fn expire(&mut self, goal: &Stage, reported_at: Option<Timestamp>) {
        let reported_at = reported_at.or_else(|| {
            self.late_report_at(&[
                NotificationKind::Expired,
                NotificationKind::SubscriptionCancelled,
            ])
        });
        if self.stage.runs() && !self.stage.in_grace {
            self.catch_up(goal);
        }
        let over = Stage {
            terms: self.stage.terms.max(goal.terms),
            ..goal.clone()
        };
        let last = self
            .transitions
            .iter()
            .filter_map(|last| last.at)
            .max()
            .max(self.known.last_announced_report());
        let shown_at = self
            .known
            .expires_at_in(&over)
            .filter(|_| self.truth.is_some());
        let at = reported_at.or_else(|| shown_at.max(last.filter(|_| shown_at.is_some())));
        if self.stage.in_trial {
            self.announce_unreported(TransitionKind::TrialDidNotConvert, at);
        }
        self.announce_unreported(TransitionKind::Expired, at);
        self.announced.unannounced.clear();
        self.stage = over;
    }

    /// Announces the payments up to term `number`. The last one has the time of its report, if one is given.
    pub fn pay(&mut self, number: Option<u64>, reported_at: Option<Timestamp>) {
        let (Some(from), Some(to)) = (self.stage.terms, number) else {
            let late =
                || self.late_report_at(&[NotificationKind::Renewed, NotificationKind::OutOfGrace]);
            return self
                .renew(reported_at.map_or_else(|| PaidAt::Inferred(late()), PaidAt::Reported));
        };
        let left = MAX_RENEWALS.saturating_sub(self.renewals);
        let first = from.max(to.saturating_sub(left)).saturating_add(1);
        self.stage.terms = Some(to.max(from));
        for term in first..=to {
            self.stage.terms = Some(term);
            self.renewals = self.renewals.saturating_add(1);
            let reported_at = reported_at.filter(|_| term == to);
            self.renew(
                reported_at.map_or_else(|| PaidAt::Inferred(self.term_began()), PaidAt::Reported),
            );
        }
    }

    /// Announces one payment: in a grace period a recovery, otherwise a renewal. A running trial is announced as
    /// converted first.
    pub fn renew(&mut self, paid_at: PaidAt) {
        let transition = if self.stage.in_grace {
            TransitionKind::Recovered
        } else {
            TransitionKind::Renewed
        };
        let conversion = self
            .stage
            .in_trial
            .then_some(TransitionKind::TrialConverted);
        self.stage.in_trial = false;
        self.stage.in_grace = false;
        for transition in conversion.into_iter().chain([transition]) {
            match paid_at {
                PaidAt::Reported(time) => self.announce(transition, time),
                PaidAt::Inferred(at) => self.announce_unreported(transition, at),
            }
        }
    }

    /// Returns when the current term began by the calendar. In a grace period `None`, since the payment is recovered at
    /// an unknown later time.
    fn term_began(&self) -> Option<Timestamp> {
        let number = self.stage.terms?.checked_sub(1)?;
        let end = self.known.rules().calendar_end(self.known, number);
        end.filter(|_| !self.stage.in_grace)
    }

    /// Returns the time of the newest report of these kinds that came too late to be walked.
    fn late_report_at(&self, kinds: &[NotificationKind]) -> Option<Timestamp> {
        let reports = self.late.iter().rev();
        reports
            .filter(|(_, kind)| kinds.contains(kind))
            .map(|(time, _)| *time)
            .next()
    }

    fn has_paid(&self) -> bool {
        self.announced
            .last_covered(&TransitionKind::PAYMENTS)
            .is_some()
    }
}
