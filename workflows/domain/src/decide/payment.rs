//! What a notification of a payment announces: a term that began, a recovery, a conversion, each payment once.

use super::difference::PaidAt;
use super::truth::ECHO;
use super::walk::Walk;
use crate::notification::NotificationKind;
use crate::purchase::{Life, Moment};
use crate::time::{DAY, HOUR, Timestamp};
use crate::transition::TransitionKind;
use std::time::Duration;

/// Maximum distance of two reports of one recovery.
const ONE_RECOVERY: Duration = DAY;
/// Maximum distance of two reports of different kinds about one payment. The shortest term that is sold is a week,
/// of which a grace can take six days; in the store's test world terms last minutes.
const ONE_PAYMENT: Duration = HOUR.saturating_mul(12);

impl Walk<'_> {
    /// Ends the trial by a payment, whatever the store still shows.
    pub fn past_trial(&mut self) {
        if std::mem::take(&mut self.stage.in_trial) {
            self.stage.terms = Some(1);
        }
    }

    /// Announces the payment of a term: one that began newly, or after its payment had failed.
    pub fn apply_payment(&mut self, time: Timestamp, kind: NotificationKind, ahead: &[Moment]) {
        let is_over = self.stage.is_over();
        let is_end = self.is_over_in_truth() && (is_over || kind == NotificationKind::OutOfGrace);
        if matches!(self.stage.life, Life::Replaced | Life::Revoked) || is_end {
            return;
        }
        if kind == NotificationKind::TrialConverted && !self.stage.in_trial {
            return self.convert(time, ahead);
        }
        if self.is_paid(time, kind) {
            return;
        }
        if is_over {
            self.revive();
        }
        self.resume_in_time(ahead);
        let is_repair =
            kind == NotificationKind::OutOfGrace || (kind == NotificationKind::Renewed && is_repaired(time, ahead));
        if is_repair && !self.stage.in_grace && !is_over {
            self.infer(TransitionKind::GraceBegan, None);
            self.stage.in_grace = true;
        }
        let next = self.stage.terms.map(|terms| terms.saturating_add(1));
        let shown = self.truth.as_ref().and_then(|truth| truth.terms);
        let is_regular = !self.stage.in_grace && !self.stage.in_trial;
        let dated = self.calendar.filter(|_| is_regular).map(|calendar| calendar.containing(time));
        let number = next.map(|next| dated.unwrap_or(next).clamp(next, shown.unwrap_or(next).max(next)));
        self.pay(number, Some(time));
        self.change_plan_in_time();
        if kind != NotificationKind::OutOfGrace && self.truth.is_none() {
            self.stage.is_off = false;
            self.announced.unannounced.remove(&TransitionKind::Cancelled);
        }
    }

    /// Announces the conversion of an unseen trial. Its payment can have been announced as a renewal, or counted already.
    pub fn convert(&mut self, time: Timestamp, ahead: &[Moment]) {
        if self.announced.covered(TransitionKind::TrialConverted).is_some() {
            return;
        }
        if self.stage.is_over() {
            self.revive();
        }
        self.resume_in_time(ahead);
        if self.is_payment_announced(time) {
            self.announce(TransitionKind::TrialConverted, time);
        } else if let Some(number) = self.uncounted(time) {
            self.stage.terms = number.checked_sub(1);
            self.stage.in_trial = true;
            self.pay(Some(number), Some(time));
            self.change_plan_in_time();
        } else {
            self.stage.in_trial = true;
            self.renew(PaidAt::Reported(time));
        }
        if self.truth.is_none() {
            self.stage.is_off = false;
        }
    }

    /// The number of the term that this payment began, if the terms that were counted do not contain it.
    fn uncounted(&self, time: Timestamp) -> Option<u64> {
        let (calendar, terms) = (self.calendar?, self.stage.terms?);
        let next = terms.saturating_add(1);
        let shown = self.truth.as_ref().and_then(|truth| truth.terms);
        let dated = calendar.containing(time);
        let is_counted = shown.is_some_and(|shown| shown <= terms) || (!self.stage.in_grace && dated <= terms);
        (!is_counted).then(|| dated.clamp(next, shown.unwrap_or(next).max(next)))
    }

    /// Whether the payment of this time was announced as a renewal or a recovery: two of them are a term apart.
    fn is_payment_announced(&self, time: Timestamp) -> bool {
        let term = |time| self.calendar.map(|calendar| calendar.containing(time));
        let is_same = |announced: Timestamp| {
            let apart = time.distance(announced);
            apart <= ONE_PAYMENT || (term(announced).is_some() && term(announced) == term(time))
        };
        let announced = self.announced.last_covered(&[TransitionKind::Renewed, TransitionKind::Recovered]);
        !self.stage.in_grace && announced.is_some_and(is_same)
    }

    /// Whether the payment of this report was announced: by a snapshot, for its term, or by another report of the same act.
    fn is_paid(&self, time: Timestamp, kind: NotificationKind) -> bool {
        if self.announced.last_covered(&TransitionKind::PAYMENTS) >= Some(time) {
            return true;
        }
        if self.stage.in_grace || self.stage.is_over() || kind == NotificationKind::TrialConverted {
            return false;
        }
        if let (Some(calendar), Some(terms)) = (self.calendar, self.stage.terms) {
            return calendar.containing(time) <= terms;
        }
        let others = match kind {
            NotificationKind::Renewed => [TransitionKind::TrialConverted, TransitionKind::Recovered],
            _ => [TransitionKind::Renewed, TransitionKind::Recovered],
        };
        let apart = if self.known.is_of_test_world() { ECHO } else { ONE_PAYMENT };
        self.announced.last_covered(&others).is_some_and(|announced| time.since(announced) <= apart)
    }
}

/// Whether the next report about a payment shows that it had failed.
fn is_repaired(time: Timestamp, ahead: &[Moment]) -> bool {
    let next = ahead.iter().find(|(_, kind)| kind.is_payment() || *kind == NotificationKind::GraceBegan);
    next.is_some_and(|(later, kind)| *kind == NotificationKind::OutOfGrace && later.since(time) <= ONE_RECOVERY)
}
