//! Incomplete changes: changes that no notification named and that a snapshot shows only in part.

use super::{MAX_EARLY_REPORT, REASON_WAIT, RECHECKED_FOR, SWITCHES, is_recent};
use crate::decide::{Assessment, Evidence};
use crate::notification::NotificationKind;
use crate::purchase::{Life, Stage, Unconfirmed};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, SAME, Snapshot};

/// Whether a snapshot shows no reason for the end, or shows that the store does not know it yet.
const fn lacks_reason(snapshot: &Snapshot) -> bool {
    matches!(snapshot.end_reason, None | Some(EndReason::Pending))
}

impl Evidence<'_> {
    /// Keeps the known stage for up to two hours while the snapshot shows only a part of a change that no notification
    /// named. Each field of a snapshot can lag separately.
    pub(super) fn keep_known_while_incomplete(&self, assessment: &mut Assessment, shown: &Stage) {
        let Some((last, snapshot)) = self.before.snapshot.as_ref().zip(self.snapshot) else {
            return;
        };
        let known = &self.before.stage;
        if !known.runs() {
            return self.ignore_stale_switch(assessment, shown);
        }
        let unconfirmed = assessment.unconfirmed;
        let is_new_end = snapshot.ends_at.is_some_and(|end| {
            !self.is_known_end(last, end) || self.before.incomplete_since().is_some()
        });
        let shows_off = snapshot.auto_renewing == Some(false) && snapshot.ends_at.is_none();
        let is_off_incomplete = !known.is_off && shows_off && self.is_switch_new(last);
        let is_dateless = self.after.period_end().is_none()
            && (last.renews_at.is_some()
                || last.ends_at.is_some()
                || self.before.incomplete_since().is_some());
        let is_end_incomplete = shown.life == Life::Expired
            && (is_off_incomplete
                || is_dateless
                || (is_new_end && lacks_reason(snapshot) && !self.is_end_reported()));
        let stage = &mut assessment.stage;
        let mut is_incomplete = false;
        if is_end_incomplete && !unconfirmed.payment && !unconfirmed.switch {
            is_incomplete = true;
            let is_off = self.newest(&SWITCHES).map_or(known.is_off, |(_, kind)| {
                kind != NotificationKind::AutoRenewalOn
            });
            *stage = Stage {
                is_off,
                ..known.clone()
            };
        }
        if shown.runs() && is_off_incomplete && !unconfirmed.switch && !self.is_off_since_paid() {
            is_incomplete = true;
            stage.is_off = false;
        }
        if shown.runs() && !unconfirmed.payment {
            if known.in_grace
                && !shown.in_grace
                && !self.has_new_term(shown)
                && !self.is_repair_reported()
            {
                is_incomplete = true;
                stage.in_grace = true;
                stage.in_trial = known.in_trial;
            }
            if self.is_change_incomplete(shown, last) {
                is_incomplete = true;
                stage.sku = known.sku.clone();
                stage.pending = known.pending.clone();
                stage.terms = known.terms;
                stage.in_grace = known.in_grace;
                stage.in_trial = known.in_trial;
            }
        }
        if !is_incomplete {
            return;
        }
        let since = self.before.incomplete_since().unwrap_or(self.at);
        assessment.incomplete_since = Some(since);
        if !assessment.record_contradiction(since, self.at) {
            assessment.stage = shown.clone();
        } else if is_end_incomplete {
            // This answer shows an end, so it confirms neither that auto-renewal is on nor that every term was paid.
            assessment.unconfirmed = Unconfirmed {
                switch: true,
                payment: true,
            };
        }
    }

    /// Whether the snapshot shows more terms than were known. If terms cannot be counted: whether the shown period ends
    /// in the future.
    fn has_new_term(&self, shown: &Stage) -> bool {
        match (self.before.stage.terms, shown.terms) {
            (Some(known), Some(shown)) => shown > known,
            _ => self.after.period_end().is_some_and(|end| end > self.at),
        }
    }

    /// Whether a notification reports a payment after the grace period began.
    fn is_repair_reported(&self) -> bool {
        let failed = self.before.announced.covered(TransitionKind::GraceBegan);
        self.newest_payment()
            .is_some_and(|(time, kind)| kind.is_payment() && Some(time) > failed)
    }

    /// Whether `end` is a date that earlier snapshots showed: an end, a renewal or the end of the grace period.
    fn is_known_end(&self, last: &Snapshot, end: Timestamp) -> bool {
        let dates = [last.ends_at, last.renews_at, self.after.last_grace_end()];
        dates
            .into_iter()
            .flatten()
            .any(|date| date.distance(end) <= SAME)
    }

    /// Whether a notification reports that auto-renewal was switched off after the newest payment.
    fn is_off_since_paid(&self) -> bool {
        self.is_switched_off(self.newest_payment().map(|(time, _)| time))
    }

    /// Keeps auto-renewal on after a payment that followed an end, while the snapshot still shows that it was off
    /// before.
    fn ignore_stale_switch(&self, assessment: &mut Assessment, shown: &Stage) {
        let Some((time, _)) = self.newest_payment() else {
            return;
        };
        let is_stale =
            self.before.stage.is_over() && shown.runs() && shown.is_off && assessment.stage.is_off;
        if is_stale
            && !self.is_switched_off(Some(time))
            && assessment.record_contradiction(time, self.at)
        {
            assessment.stage.is_off = false;
            assessment.incomplete_since = Some(self.at);
        }
    }

    /// Whether auto-renewal, shown as off, may have been switched off since the snapshot `last`. After a recent
    /// payment, the snapshot may also still show the state before that payment.
    fn is_switch_new(&self, last: &Snapshot) -> bool {
        let is_paid_again = self
            .newest_payment()
            .is_some_and(|(time, _)| is_recent(time, self.at));
        last.auto_renewing != Some(false)
            || is_paid_again
            || self.before.incomplete_since().is_some()
    }

    /// Whether a notification reported the end that the snapshot shows.
    fn is_end_reported(&self) -> bool {
        self.newest_end()
            .is_some_and(|(time, _)| self.shows_end_of(time))
    }

    /// Whether the snapshot shows the end that was reported at `time`, and that end is at least ten minutes old. The
    /// reason may be missing. A refund and an immediate change of plan look alike until the reason or the new purchase
    /// is known, so the end waits ten minutes for them.
    pub(super) fn shows_end_of(&self, time: Timestamp) -> bool {
        self.snapshot.is_some_and(|snapshot| {
            let is_shown = snapshot.auto_renewing != Some(true) && snapshot.renews_at.is_none();
            let is_same = |end: Timestamp| end.since(time) <= MAX_EARLY_REPORT;
            let is_past = |end: Timestamp| self.at.since(end) >= REASON_WAIT;
            is_shown
                && snapshot
                    .ends_at
                    .is_some_and(|end| is_same(end) && is_past(end))
        })
    }

    /// Whether a change of plan is shown only in part: the new SKU without a payment, or the payment of a scheduled
    /// change with the old SKU or with a wrong number of terms.
    fn is_change_incomplete(&self, shown: &Stage, last: &Snapshot) -> bool {
        let known = &self.before.stage;
        let is_paid = self.has_new_term(shown);
        let is_postponed = |(end, last): (Timestamp, Timestamp)| end.since(last) > SAME;
        let is_later = self
            .after
            .period_end()
            .zip(last.renews_at)
            .is_some_and(is_postponed)
            || self.before.incomplete_since().is_some();
        let is_new_sku = known.sku.is_some() && shown.sku.is_some() && shown.sku != known.sku;
        let is_new = |date: Timestamp| is_recent(date, self.at);
        let has_changed = self
            .before
            .last_plan_change()
            .is_some_and(|(_, at)| is_new(at));
        let skips_term = match (known.terms, shown.terms) {
            (Some(known), Some(shown)) => shown > known.saturating_add(u64::from(!has_changed)),
            _ => false,
        };
        // A scheduled change whose payment failed takes effect when that payment recovers.
        let is_near = |at: Timestamp| at <= self.at && (is_new(at) || known.in_grace);
        let is_due = known.pending.is_some() && self.before.change_at().is_some_and(is_near);
        let shows_old = (is_paid || is_later || shown.pending.is_none()) && is_due && !is_new_sku;
        (is_paid && skips_term && self.is_changing(shown))
            || shows_old
            || (is_new_sku && !is_paid && !self.was_paid())
    }

    /// Whether a payment was announced or reported in the last two days.
    fn was_paid(&self) -> bool {
        let announced = self
            .before
            .announced
            .last_covered(&TransitionKind::PAYMENTS);
        let reported = self
            .newest_payment()
            .filter(|(_, kind)| kind.is_payment())
            .map(|(time, _)| time);
        announced
            .max(reported)
            .is_some_and(|paid| self.at.since(paid) < RECHECKED_FOR)
    }
}
