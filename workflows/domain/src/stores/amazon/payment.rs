//! Distinguishes payments by the calendar and by the time between two reports.

use super::shown::SAME_PAYMENT;
use crate::decide::{PaidAt, Walk};
use crate::notification::NotificationKind;
use crate::purchase::Moment;
use crate::time::{DAY, HOUR, Timestamp};
use crate::transition::TransitionKind;
use std::time::Duration;

/// Maximum time between two reports of the same recovery.
const ONE_RECOVERY: Duration = DAY;
/// Maximum time between two reports of different kinds about the same payment. Two payments are at least a day apart:
/// the shortest term is a week, and a failed payment recovers at most six days into it. In the store's sandbox,
/// [`SAME_PAYMENT`] applies instead.
const ONE_PAYMENT: Duration = HOUR.saturating_mul(12);

impl Walk<'_> {
    /// Announces the conversion of a trial that no snapshot showed. Its payment may already have been announced as a
    /// renewal or counted among the terms.
    pub(super) fn convert(&mut self, time: Timestamp, later_reports: &[Moment]) {
        if self
            .announced
            .covered(TransitionKind::TrialConverted)
            .is_some()
        {
            return;
        }
        if self.stage.is_over() {
            self.run_again();
        }
        self.resume_before_payment(later_reports);
        if self.is_announced_as_renewal(time) {
            self.announce(TransitionKind::TrialConverted, time);
        } else if let Some(number) = self.uncounted_term(time) {
            self.stage.terms = number.checked_sub(1);
            self.stage.in_trial = true;
            self.pay(Some(number), Some(time));
            self.change_plan_with_payment();
        } else {
            self.stage.in_trial = true;
            self.renew(PaidAt::Reported(time));
        }
        if self.truth.is_none() {
            self.stage.is_off = false;
        }
    }

    /// Returns the number of the term that a payment at `time` began; `None` if that term is already counted.
    fn uncounted_term(&self, time: Timestamp) -> Option<u64> {
        let (calendar, terms) = (self.known.calendar()?, self.stage.terms?);
        let next = terms.saturating_add(1);
        let shown = self.truth.as_ref().and_then(|truth| truth.terms);
        let by_date = calendar.containing(time);
        let is_counted =
            shown.is_some_and(|shown| shown <= terms) || (!self.stage.in_grace && by_date <= terms);
        (!is_counted).then(|| by_date.clamp(next, shown.unwrap_or(next).max(next)))
    }

    /// Whether the payment of a conversion at `time` was announced as a renewal or a recovery: the last of these is at
    /// most half a day away or in the same term.
    fn is_announced_as_renewal(&self, time: Timestamp) -> bool {
        let calendar = self.known.calendar();
        let term = |time| calendar.map(|calendar| calendar.containing(time));
        let is_same = |announced: Timestamp| {
            time.distance(announced) <= ONE_PAYMENT
                || (term(announced).is_some() && term(announced) == term(time))
        };
        let announced = self
            .announced
            .last_covered(&[TransitionKind::Renewed, TransitionKind::Recovered]);
        !self.stage.in_grace && announced.is_some_and(is_same)
    }

    /// Whether the payment of this report was announced already: its term is counted, or a report of another kind
    /// announced it a short time before.
    pub(super) fn is_term_announced(&self, time: Timestamp, kind: NotificationKind) -> bool {
        // The trial is over, and nothing was paid before this report, regardless of what the calendar counts.
        let ends_trial = self.stage.in_trial
            && self
                .truth
                .as_ref()
                .is_some_and(|truth| truth.runs() && !truth.in_trial);
        if self.stage.in_grace
            || self.stage.is_over()
            || ends_trial
            || kind == NotificationKind::TrialConverted
        {
            return false;
        }
        if let (Some(calendar), Some(terms)) = (self.known.calendar(), self.stage.terms) {
            return calendar.containing(time) <= terms;
        }
        let others = match kind {
            NotificationKind::Renewed => {
                [TransitionKind::TrialConverted, TransitionKind::Recovered]
            }
            _ => [TransitionKind::Renewed, TransitionKind::Recovered],
        };
        let limit = if self.known.is_sandbox() {
            SAME_PAYMENT
        } else {
            ONE_PAYMENT
        };
        self.announced
            .last_covered(&others)
            .is_some_and(|announced| time.since(announced) <= limit)
    }
}

/// Whether a reported renewal was a recovery: the next report about a payment is an `OutOfGrace` within a day.
pub(super) fn was_recovery(time: Timestamp, later_reports: &[Moment]) -> bool {
    let next = later_reports
        .iter()
        .find(|(_, kind)| kind.is_payment() || *kind == NotificationKind::GraceBegan);
    next.is_some_and(|(later, kind)| {
        *kind == NotificationKind::OutOfGrace && later.since(time) <= ONE_RECOVERY
    })
}
