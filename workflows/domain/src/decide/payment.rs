//! What a report of a payment announces: a renewal, a recovery from a failed payment, or the conversion of a trial.
//! Each payment is announced once, although several reports and snapshots can show it.

use super::walk::Walk;
use crate::notification::NotificationKind;
use crate::purchase::{Life, Moment};
use crate::time::Timestamp;
use crate::transition::TransitionKind;

impl Walk<'_> {
    /// Ends the trial because a payment was reported, even if the snapshot still shows the trial.
    pub fn end_trial(&mut self) {
        if std::mem::take(&mut self.stage.in_trial) {
            self.stage.terms = Some(1);
        }
    }

    /// Announces the payment that a report names: a renewal, or a recovery if the payment had failed before.
    /// `later_reports` are the reports after this one.
    pub fn apply_payment(
        &mut self,
        time: Timestamp,
        kind: NotificationKind,
        later_reports: &[Moment],
    ) {
        let is_over = self.stage.is_over();
        let reports_end =
            self.store_shows_end() && (is_over || kind == NotificationKind::OutOfGrace);
        if matches!(self.stage.life, Life::Replaced | Life::Revoked) || reports_end {
            return;
        }
        let rules = self.known.rules();
        let is_unseen_trial = kind == NotificationKind::TrialConverted && !self.stage.in_trial;
        if is_unseen_trial && rules.convert_unseen_trial(self, time, later_reports) {
            return;
        }
        if self.is_payment_announced(time, kind) {
            return;
        }
        if is_over {
            self.run_again();
        }
        self.resume_before_payment(later_reports);
        let is_recovery = kind == NotificationKind::OutOfGrace
            || (kind == NotificationKind::Renewed && rules.was_recovery(time, later_reports));
        if is_recovery && !self.stage.in_grace && !is_over {
            self.announce_unreported(TransitionKind::GraceBegan, None);
            self.stage.in_grace = true;
        }
        let next = self.stage.terms.map(|terms| terms.saturating_add(1));
        let shown = self.truth.as_ref().and_then(|truth| truth.terms);
        let is_regular = !self.stage.in_grace && !self.stage.in_trial;
        let by_date = is_regular.then(|| rules.paid_term(self.known, time));
        // The term by the date of the report, but at least the next one and at most the last one that the store shows.
        let number = next.map(|next| {
            by_date
                .flatten()
                .unwrap_or(next)
                .clamp(next, shown.unwrap_or(next).max(next))
        });
        self.pay(number, Some(time));
        self.change_plan_with_payment();
        if kind != NotificationKind::OutOfGrace && self.truth.is_none() {
            self.stage.is_off = false;
            self.announced
                .unannounced
                .remove(&TransitionKind::Cancelled);
        }
    }

    /// Whether the payment of this report was already announced: a payment is covered up to that time, or the store's
    /// rules count it among the announced ones.
    fn is_payment_announced(&self, time: Timestamp, kind: NotificationKind) -> bool {
        self.announced.last_covered(&TransitionKind::PAYMENTS) >= Some(time)
            || self.known.rules().is_payment_counted(self, time, kind)
    }
}
