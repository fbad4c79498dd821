//! Incomplete changes: a snapshot shows a change in part that no notification named.

use super::{Evidence, REASON, SWITCHES, WATCHED, Weighed, is_recent};
use crate::notification::NotificationKind;
use crate::purchase::{Life, Stage};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{SAME, Snapshot};

impl Evidence<'_> {
    /// Keeps what was known while the snapshot shows an incomplete change that no notification named: each field can lag
    /// by itself.
    pub(super) fn hold_incomplete(&self, weighed: &mut Weighed, shown: &Stage) {
        let Some((last, snapshot)) = self.before.snapshot.as_ref().zip(self.snapshot) else { return };
        let known = &self.before.stage;
        if !known.runs() {
            return self.hold_stale_switch(weighed, shown);
        }
        let unconfirmed = weighed.unconfirmed;
        let is_new_end = snapshot
            .ends_at
            .is_some_and(|end| !self.is_known_end(last, end) || self.before.incomplete_since().is_some());
        let shows_off = snapshot.auto_renewing == Some(false) && snapshot.ends_at.is_none();
        let is_off_incomplete = !known.is_off && shows_off && self.is_switch_news(last);
        let is_dateless = self.after.period_end().is_none()
            && (last.renews_at.is_some() || last.ends_at.is_some() || self.before.incomplete_since().is_some());
        let is_end_incomplete = shown.life == Life::Expired
            && (is_off_incomplete
                || is_dateless
                || (is_new_end && snapshot.end_reason.is_none() && !self.is_end_agreed()));
        let stage = &mut weighed.stage;
        let mut is_incomplete = false;
        if is_end_incomplete && !unconfirmed.payment && !unconfirmed.switch {
            is_incomplete = true;
            let is_off =
                self.newest(&SWITCHES).map_or(known.is_off, |(_, kind)| kind != NotificationKind::AutoRenewalOn);
            *stage = Stage { is_off, ..known.clone() };
        }
        if shown.runs() && is_off_incomplete && !unconfirmed.switch && !self.is_off_since_paid() {
            is_incomplete = true;
            stage.is_off = false;
        }
        if shown.runs() && !unconfirmed.payment {
            if known.in_grace && !shown.in_grace && !self.is_moved(shown) {
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
        weighed.incomplete_since = Some(since);
        if !weighed.contradict(since, self.at) {
            weighed.stage = shown.clone();
        }
    }

    /// Whether a term began since the last snapshot.
    fn is_moved(&self, shown: &Stage) -> bool {
        match (self.before.stage.terms, shown.terms) {
            (Some(known), Some(shown)) => shown > known,
            _ => self.after.period_end().is_some_and(|end| end > self.at),
        }
    }

    /// Whether this end is a date that was shown before.
    fn is_known_end(&self, last: &Snapshot, end: Timestamp) -> bool {
        let dates = [last.ends_at, last.renews_at, self.after.last_grace_end()];
        dates.into_iter().flatten().any(|date| date.distance(end) <= SAME)
    }

    /// Whether it was switched off after the newest payment, which cannot have been made while it was off.
    fn is_off_since_paid(&self) -> bool {
        self.is_switched_off(self.newest_payment().map(|(time, _)| time))
    }

    /// Keeps auto-renewal on after a payment that follows an end, although the snapshot still shows the earlier switch.
    fn hold_stale_switch(&self, weighed: &mut Weighed, shown: &Stage) {
        let Some((time, _)) = self.newest_payment() else { return };
        let is_stale = self.before.stage.is_over() && shown.runs() && shown.is_off && weighed.stage.is_off;
        if is_stale && !self.is_switched_off(Some(time)) && weighed.contradict(time, self.at) {
            weighed.stage.is_off = false;
            weighed.incomplete_since = Some(self.at);
        }
    }

    /// Whether an auto-renewal that is shown as off may be a change since the last snapshot. What was paid again after its
    /// end can still show that it was off until then.
    fn is_switch_news(&self, last: &Snapshot) -> bool {
        let is_paid_again = self.newest_payment().is_some_and(|(time, _)| is_recent(time, self.at));
        last.auto_renewing != Some(false) || is_paid_again || self.before.incomplete_since().is_some()
    }

    /// Whether a notification reported the end that the snapshot shows.
    fn is_end_agreed(&self) -> bool {
        self.newest_end().is_some_and(|(time, _)| self.shows_end_of(time))
    }

    /// Whether the end that was reported at this time is shown with all but its reason, ten minutes ago or more. A refund
    /// and an immediate change of plan can look the same: only the new receipt or the reason distinguishes them.
    pub(super) fn shows_end_of(&self, time: Timestamp) -> bool {
        self.snapshot.is_some_and(|snapshot| {
            let is_shown = snapshot.auto_renewing != Some(true) && snapshot.renews_at.is_none();
            let is_same = |end: Timestamp| end.since(time) <= REASON;
            let is_past = |end: Timestamp| self.at.since(end) >= REASON;
            is_shown && snapshot.ends_at.is_some_and(|end| is_same(end) && is_past(end))
        })
    }

    /// Whether the plan changed without a payment, or a payment that changes it shows the old plan or the old term.
    fn is_change_incomplete(&self, shown: &Stage, last: &Snapshot) -> bool {
        let known = &self.before.stage;
        let is_paid = self.is_moved(shown);
        let is_moved_on = |(end, last): (Timestamp, Timestamp)| end.since(last) > SAME;
        let is_later = self.after.period_end().zip(last.renews_at).is_some_and(is_moved_on)
            || self.before.incomplete_since().is_some();
        let is_new_sku = known.sku.is_some() && shown.sku.is_some() && shown.sku != known.sku;
        let is_new = |date: Timestamp| is_recent(date, self.at);
        let has_left = self.before.left_sku().is_some_and(|(_, at)| is_new(at));
        let is_leap = match (known.terms, shown.terms) {
            (Some(known), Some(shown)) => shown > known.saturating_add(u64::from(!has_left)),
            _ => false,
        };
        // A payment that had failed changes the plan when it is repaired.
        let is_near = |at: Timestamp| at <= self.at && (is_new(at) || known.in_grace);
        let is_due = known.pending.is_some() && self.before.change_at().is_some_and(is_near);
        let shows_old = (is_paid || is_later || shown.pending.is_none()) && is_due && !is_new_sku;
        (is_paid && is_leap && self.is_changing(shown)) || shows_old || (is_new_sku && !is_paid && !self.was_paid())
    }

    /// Whether a payment was announced or reported within two days.
    fn was_paid(&self) -> bool {
        let announced = self.before.announced.last_covered(&TransitionKind::PAYMENTS);
        let reported = self.newest_payment().filter(|(_, kind)| kind.is_payment()).map(|(time, _)| time);
        announced.max(reported).is_some_and(|paid| self.at.since(paid) < WATCHED)
    }
}
