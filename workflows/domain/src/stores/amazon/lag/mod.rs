//! A store whose snapshots lag behind its own notifications.
//!
//! A snapshot may miss what happened in the two hours before it ([`LAG`]); a notification is exact about its own time.
//! If a snapshot contradicts a notification that is younger than two hours:
//!
//! * a payment, a conversion, a grace period or a switch of auto-renewal is believed although the snapshot does not
//!   show it ([`Evidence::correct`]);
//! * an end, a scheduled change of plan or a grace period after the end waits until a snapshot shows it
//!   ([`Evidence::is_unshown`]).
//!
//! The first snapshot taken at least two hours after the notification decides. Until then, nothing is announced that
//! would undo what the notification reported. A change that no notification named and that a snapshot shows only in
//! part also waits for up to two hours (`incomplete.rs`).

mod incomplete;

use crate::decide::announce::REPEATED_WITHIN;
use crate::decide::{Assessment, Evidence};
use crate::notification::NotificationKind;
use crate::purchase::{Behind, Life, Moment, Origin, Purchase, Stage, Terms};
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::{EndReason, LAG, SAME};
use std::time::Duration;

/// How long after a notification that a snapshot contradicts the purchase is rechecked, even if a snapshot has decided
/// already.
const RECHECKED_FOR: Duration = DAY.saturating_mul(2);
/// Maximum time by which the store's clock may be ahead of the local clock.
const MAX_CLOCK_SKEW: Duration = HOUR;
/// How long an end that a notification reports and a snapshot shows waits for its reason. A change of plan names its
/// new purchase within that time.
const REASON_WAIT: Duration = MINUTE.saturating_mul(10);
/// Maximum time from the report of an end to the end itself.
const MAX_EARLY_REPORT: Duration = MINUTE.saturating_mul(10);

#[cfg(test)]
std::thread_local! {
    /// A fault planted by tests: a grace period that the snapshot shows is believed even if a payment was reported
    /// since.
    static BELIEVES_STALE_GRACE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `run` with the fault active in this thread, and returns its result.
#[cfg(test)]
pub(crate) fn believing_stale_grace<T>(run: impl FnOnce() -> T) -> T {
    BELIEVES_STALE_GRACE.set(true);
    let result = run();
    BELIEVES_STALE_GRACE.set(false);
    result
}

const SWITCHES: [NotificationKind; 3] = [
    NotificationKind::AutoRenewalOn,
    NotificationKind::AutoRenewalOff,
    NotificationKind::ScheduledToEnd,
];
/// Kinds of notifications that switch auto-renewal off.
const SWITCHED_OFF: [NotificationKind; 2] = [
    NotificationKind::AutoRenewalOff,
    NotificationKind::ScheduledToEnd,
];
/// Kinds of notifications that can wait until a snapshot shows what they report.
const CAN_WAIT: [NotificationKind; 6] = [
    NotificationKind::SubscriptionCancelled,
    NotificationKind::Expired,
    NotificationKind::ConsumableCancelled,
    NotificationKind::EntitlementCancelled,
    NotificationKind::PlanChangeScheduled,
    NotificationKind::OutOfGrace,
];

/// Whether a notification is recent and of a kind that can wait; otherwise, [`Evidence::is_unshown`] is false. A grace
/// period can wait only if `before` had ended. `at` is the time of the answer.
pub(super) fn may_wait(before: &Purchase, (time, kind): Moment, at: Timestamp) -> bool {
    let is_after_end = kind == NotificationKind::GraceBegan && before.stage.life == Life::Expired;
    (CAN_WAIT.contains(&kind) || is_after_end) && is_recent(time, at)
}

/// Returns the kinds which report that a subscription runs.
fn running_kinds() -> Vec<NotificationKind> {
    let switched_on = [NotificationKind::AutoRenewalOn];
    [
        NotificationKind::PAYMENTS.as_slice(),
        &NotificationKind::BEGINNINGS,
        &switched_on,
    ]
    .concat()
}

/// Whether an answer taken at `at` may still miss what happened at `time`.
fn is_recent(time: Timestamp, at: Timestamp) -> bool {
    at.since(time) < LAG && time.since(at) <= MAX_CLOCK_SKEW
}

impl Assessment {
    /// Records that the answer contradicts a notification of `time`, and returns whether the notification is still
    /// believed. Of several contradictions, an undecided one takes precedence over a decided one, then the newest.
    fn record_contradiction(&mut self, time: Timestamp, at: Timestamp) -> bool {
        let is_decided = !is_recent(time, at);
        let behind = Behind {
            since: time,
            is_decided,
        };
        let stronger = self
            .behind
            .filter(|known| (!known.is_decided, known.since) >= (!is_decided, time));
        self.behind = stronger.or(Some(behind));
        !is_decided
    }
}

impl Evidence<'_> {
    /// Corrects `shown`, the stage according to the answer alone, by the notifications that the answer may not show
    /// yet.
    pub(super) fn correct(&self, shown: Stage) -> Assessment {
        let mut assessment = Assessment::exact(shown);
        let is_subscription = !self.after.is_one_time();
        if !is_subscription || matches!(assessment.stage.life, Life::Replaced | Life::Revoked) {
            return assessment;
        }
        let shown = assessment.stage.clone();
        self.assess_payment(&mut assessment, &shown);
        self.assess_switch(&mut assessment, &shown);
        self.keep_known_while_incomplete(&mut assessment, &shown);
        self.recheck_missing_end(&mut assessment);
        let decided = || {
            self.cancelled_with_switch()
                .or_else(|| self.decided_contradiction(&assessment.stage))
        };
        assessment.behind = assessment.behind.or_else(decided);
        assessment
    }

    /// Returns a contradiction that an earlier snapshot decided and that is still rechecked, if the stage has not
    /// changed since.
    fn decided_contradiction(&self, stage: &Stage) -> Option<Behind> {
        let known = &self.before.stage;
        let is_same = (stage.life, stage.in_grace, stage.is_off, stage.terms)
            == (known.life, known.in_grace, known.is_off, known.terms);
        let is_rechecked = |behind: &Behind| self.at.since(behind.since) < RECHECKED_FOR;
        self.before
            .behind
            .filter(|behind| behind.is_decided && is_same && is_rechecked(behind))
    }

    /// Whether this report came with this settling.
    fn is_new(&self, moment: Moment) -> bool {
        self.fresh.contains(&moment) || self.late.contains(&moment)
    }

    /// Returns the newest report of these kinds from the last two days.
    fn newest(&self, kinds: &[NotificationKind]) -> Option<Moment> {
        let matters = |time: Timestamp| {
            self.at.since(time) < RECHECKED_FOR && time.since(self.at) <= MAX_CLOCK_SKEW
        };
        self.after.newest(kinds).filter(|(time, _)| matters(*time))
    }

    fn newest_end(&self) -> Option<Moment> {
        self.newest(&NotificationKind::ENDS)
    }

    /// Whether the snapshot shows a paid period that lasts beyond `time`. Also true for a purchase that never showed
    /// the end of a period, since it cannot contradict a payment.
    fn is_paid_beyond(&self, time: Timestamp) -> bool {
        let margin = self
            .after
            .calendar()
            .map_or(SAME, |calendar| calendar.renewal_lead());
        match self.after.period_end() {
            Some(end) => end.since(time) > margin,
            None => self.before.period_end().is_none(),
        }
    }

    /// Returns the newest report of a payment, a beginning or a failed payment. An `OutOfGrace` at the end of the grace
    /// period does not count: it reports the end of the subscription.
    fn newest_payment(&self) -> Option<Moment> {
        let recovered = self
            .newest(&[NotificationKind::OutOfGrace])
            .filter(|(time, _)| !self.after.is_end_of_grace(*time));
        let others = [
            NotificationKind::TrialConverted,
            NotificationKind::Renewed,
            NotificationKind::GraceBegan,
            NotificationKind::SubscriptionPurchased,
            NotificationKind::PlanChanged,
        ];
        self.newest(&others).max(recovered)
    }

    /// Whether this report of a payment, grace period or beginning is new in this settling, or was believed in the last
    /// one.
    fn is_new_or_believed(&self, (time, kind): Moment) -> bool {
        let known = &self.before.stage;
        if self.is_new((time, kind)) {
            return true;
        }
        known.runs() && known.in_grace == (kind == NotificationKind::GraceBegan)
    }

    /// Believes the newest report of a payment, conversion, grace period or beginning if the answer may not show it
    /// yet.
    fn assess_payment(&self, assessment: &mut Assessment, shown: &Stage) {
        let Some(payment) = self
            .newest_payment()
            .filter(|payment| self.is_new_or_believed(*payment))
        else {
            return;
        };
        #[cfg(test)]
        if shown.in_grace && BELIEVES_STALE_GRACE.get() {
            return;
        }
        let (time, kind) = payment;
        let is_paid_after_end = shown.life == Life::Expired
            && self.newest_end() < Some(payment)
            && self.is_older_end(time);
        let is_contradicted = match kind {
            NotificationKind::GraceBegan => {
                (is_paid_after_end && self.before.stage.runs()) || self.lacks_grace(shown, time)
            }
            _ if NotificationKind::BEGINNINGS.contains(&kind) => {
                (is_paid_after_end || self.lacks_return(shown, time)) && self.snapshot.is_some()
            }
            _ => is_paid_after_end || self.lacks_payment(shown, payment),
        };
        if !is_contradicted || !assessment.record_contradiction(time, self.at) {
            return;
        }
        assessment.unconfirmed.payment = true;
        let is_uninterrupted = shown.runs() && !self.before.stage.is_over();
        let is_off = if is_uninterrupted {
            assessment.stage.is_off
        } else {
            self.is_switched_off(Some(time))
        };
        let changed = self.due_sku(kind, shown).or_else(|| self.recent_sku(shown));
        let stage = Stage {
            life: Life::Running,
            is_off,
            in_grace: kind == NotificationKind::GraceBegan,
            in_trial: kind == NotificationKind::GraceBegan
                && (shown.in_trial || self.before.stage.in_trial),
            terms: if kind == NotificationKind::GraceBegan {
                self.before.stage.terms.or(shown.terms)
            } else {
                self.terms(shown, payment)
            },
            pending: if changed.is_some() {
                None
            } else {
                assessment.stage.pending.take()
            },
            sku: changed.or_else(|| shown.sku.clone()),
            halt: None,
        };
        assessment.stage = stage;
    }

    /// Whether a subscription was bought again after its end, and the snapshot shows neither that end nor the new
    /// payment.
    fn lacks_return(&self, shown: &Stage, time: Timestamp) -> bool {
        self.before.stage.is_over() && shown.runs() && !self.is_paid_beyond(time)
    }

    /// Whether the end that the snapshot shows is not later than `time`. Also true if the answer has no date of an end.
    fn is_older_end(&self, time: Timestamp) -> bool {
        let end = self.snapshot.and_then(|snapshot| snapshot.ends_at);
        end.is_none_or(|end| end <= time)
    }

    /// Whether switching auto-renewal on at `time` can have undone the shown end: the end is older, or it is the end of
    /// what was paid, when a subscription with auto-renewal off ends.
    fn may_undo_end(&self, time: Timestamp) -> bool {
        let end = self.snapshot.and_then(|snapshot| snapshot.ends_at);
        self.is_older_end(time) || end.is_none_or(|end| self.is_paid_end(end))
    }

    /// Whether `end` is the end of the paid time according to the last snapshot or the calendar.
    fn is_paid_end(&self, end: Timestamp) -> bool {
        let begun = || {
            self.snapshot
                .and_then(|snapshot| snapshot.purchased_at.zip(snapshot.term))
        };
        let first = || {
            begun().map(|(anchor, term)| Terms {
                anchor,
                term,
                before: 0,
                origin: Origin::Seen,
            })
        };
        let last = [self.before.period_end(), self.after.trial_end()];
        last.into_iter()
            .flatten()
            .any(|last| last.distance(end) <= SAME)
            || self
                .before
                .terms()
                .or_else(first)
                .is_some_and(|terms| terms.is_end(end))
    }

    /// Whether the snapshot shows the end that was reported at `time`, with its reason, and that end is later than
    /// every report that the subscription runs.
    fn shows_newest_end(&self, time: Timestamp) -> bool {
        let running = self.after.newest(&running_kinds()).map(|(time, _)| time);
        let reason = self.snapshot.and_then(|snapshot| snapshot.end_reason);
        let end = self
            .snapshot
            .and_then(|snapshot| snapshot.ends_at)
            .filter(|end| *end <= self.at);
        let is_same = |end: Timestamp| end.since(time) <= MAX_EARLY_REPORT && Some(end) > running;
        reason.is_some_and(|reason| reason != EndReason::Pending) && end.is_some_and(is_same)
    }

    /// Whether the snapshot shows neither this grace period nor the payment that ended it.
    fn lacks_grace(&self, shown: &Stage, time: Timestamp) -> bool {
        let known = &self.before.stage;
        let is_repaired = || {
            let is_announced = self
                .before
                .announced
                .last_covered(&TransitionKind::PAYMENTS)
                >= Some(time);
            self.is_paid_beyond(time)
                && (is_announced || known.is_unknown() || shown.terms > known.terms)
        };
        shown.runs() && !shown.in_grace && !is_repaired()
    }

    /// Whether the snapshot does not show the payment of this report yet, or only a part of it.
    fn lacks_payment(&self, shown: &Stage, payment: Moment) -> bool {
        let is_partial = self
            .due_sku(NotificationKind::Renewed, shown)
            .or_else(|| self.recent_sku(shown))
            .is_some();
        let next = self
            .before
            .stage
            .terms
            .map(|terms| terms.saturating_add(u64::from(self.is_new(payment))));
        let skips_term = next.is_some() && shown.terms > next && self.is_changing(shown);
        let is_lacking = is_partial || skips_term || !self.is_paid_beyond(payment.0);
        shown.runs() && (shown.in_grace || shown.in_trial || is_lacking)
    }

    /// Returns the SKU of the change of plan that took effect with this payment and that an earlier snapshot showed as
    /// scheduled; `None` if the snapshot shows that SKU already or no change is due.
    fn due_sku(&self, kind: NotificationKind, shown: &Stage) -> Option<String> {
        let known = &self.before.stage;
        let pending = known
            .pending
            .as_ref()
            .filter(|sku| !sku.is_empty() && kind.is_payment())?;
        let lead = self
            .after
            .calendar()
            .map_or(SAME, |calendar| calendar.renewal_lead());
        let is_due = self
            .before
            .change_at()
            .is_some_and(|at| at.since(self.at) <= lead);
        (is_due && shown.sku == known.sku).then(|| pending.clone())
    }

    /// Returns the SKU after a change of plan in the last two hours if the snapshot still shows the SKU before it.
    fn recent_sku(&self, shown: &Stage) -> Option<String> {
        let (old_sku, at) = self.before.last_plan_change()?;
        let is_stale = is_recent(at, self.at) && shown.sku.as_ref() == Some(old_sku);
        self.before.stage.sku.clone().filter(|_| is_stale)
    }

    /// Returns the number of paid terms including this payment.
    fn terms(&self, shown: &Stage, payment: Moment) -> Option<u64> {
        let known = self.before.stage.terms;
        // A trial that no snapshot showed looked like a paid term, so its conversion is the payment for that same term.
        let is_first = payment.1 == NotificationKind::TrialConverted
            && self
                .after
                .calendar()
                .is_some_and(|calendar| Some(calendar.containing(payment.0)) <= known);
        let is_next = self.is_new(payment) && !is_first;
        let next = || known.map(|terms| terms.saturating_add(u64::from(is_next)));
        let is_partial = self
            .due_sku(NotificationKind::Renewed, shown)
            .or_else(|| self.recent_sku(shown))
            .is_some();
        let skips_term = shown.terms > next() && self.is_changing(shown);
        let terms = if self.before.stage.is_over() || is_partial || skips_term {
            next()
        } else if self.is_paid_beyond(payment.0) {
            shown.terms.max(known)
        } else {
            let elapsed = || {
                Some(
                    self.after
                        .calendar()?
                        .elapsed(self.after.period_end()?)
                        .saturating_add(1),
                )
            };
            let is_counted = self.after.calendar().is_some() && self.after.period_end().is_some();
            if is_counted {
                elapsed().max(known)
            } else {
                next()
            }
        };
        terms.map(|terms| terms.max(1))
    }

    /// Whether the plan changed recently, so that some fields of the snapshot may still show the old plan.
    fn is_changing(&self, shown: &Stage) -> bool {
        let is_new = |date: Timestamp| is_recent(date, self.at);
        let has_changed = self
            .before
            .last_plan_change()
            .is_some_and(|(_, at)| is_new(at));
        let is_near =
            |date: Timestamp| is_new(date) || (self.before.stage.in_grace && date <= self.at);
        let is_due = self.before.change_at().is_some_and(is_near);
        has_changed
            || (is_due
                && (self.before.stage.pending.is_some() || shown.sku != self.before.stage.sku))
    }

    /// Whether the newest notification about auto-renewal is later than `since` and reports that it is off.
    fn is_switched_off(&self, since: Option<Timestamp>) -> bool {
        let is_later = |time: Timestamp| since.is_none_or(|since| time > since);
        self.newest(&SWITCHES)
            .is_some_and(|(time, kind)| kind != NotificationKind::AutoRenewalOn && is_later(time))
    }

    /// Believes the newest report of a switch of auto-renewal if the answer may not show it yet.
    fn assess_switch(&self, assessment: &mut Assessment, shown: &Stage) {
        let Some(switch @ (time, kind)) = self.newest(&SWITCHES) else {
            return;
        };
        // A payment after an end starts the subscription again; a switch before that payment belongs to the time before
        // the end.
        if self.before.stage.is_over() && self.newest_payment().is_some_and(|(paid, _)| time < paid)
        {
            return;
        }
        let is_off = kind != NotificationKind::AutoRenewalOn;
        let transition = if is_off {
            TransitionKind::Cancelled
        } else {
            TransitionKind::Resumed
        };
        let is_unannounced =
            self.is_new(switch) && self.before.announced.covered(transition) < Some(time);
        if !is_unannounced && (self.is_new(switch) || self.before.stage.is_off != is_off) {
            return;
        }
        let is_on_after_end = !is_off
            && shown.life == Life::Expired
            && self.newest_end() < Some(switch)
            && self.may_undo_end(time);
        let is_contradicted = is_on_after_end || (shown.runs() && shown.is_off != is_off);
        if !is_contradicted || !assessment.record_contradiction(time, self.at) {
            return;
        }
        assessment.unconfirmed.switch = true;
        assessment.stage.is_off = is_off;
        if is_on_after_end && !assessment.stage.runs() {
            let known = self.before.stage.clone();
            let in_grace = known.runs() && known.in_grace;
            assessment.stage = Stage {
                life: Life::Running,
                in_grace,
                is_off,
                ..known
            };
        }
    }

    /// Records a contradiction, so that the purchase is rechecked, when an end was reported more than two hours ago and
    /// the answer still does not show it.
    fn recheck_missing_end(&self, assessment: &mut Assessment) {
        let is_overdue = |end: &Moment| self.is_new(*end) && !is_recent(end.0, self.at);
        let Some(end) = self.newest_end().filter(is_overdue) else {
            return;
        };
        let running = running_kinds();
        let is_cancel = end.1 == NotificationKind::SubscriptionCancelled && assessment.stage.is_off;
        if assessment.stage.runs() && !is_cancel && self.after.newest(&running) < Some(end) {
            assessment.record_contradiction(end.0, self.at);
        }
    }

    /// Whether this report of an end or a scheduled change must wait for a later snapshot, because `stage` contradicts
    /// it and no newer report shows that the purchase runs. `stage` is the stage according to the snapshot and all
    /// other reports.
    pub(super) fn is_unshown(&self, stage: &Stage, moment: Moment) -> bool {
        let (time, kind) = moment;
        let is_newest = |kinds: &[NotificationKind]| self.after.newest(kinds) < Some(moment);
        let running = running_kinds();
        let is_shown_end = || self.shows_end_of(time) || self.shows_newest_end(time);
        match kind {
            NotificationKind::Expired => stage.runs() && is_newest(&running) && !is_shown_end(),
            NotificationKind::SubscriptionCancelled => {
                stage.runs()
                    && is_newest(&running)
                    && !self.shows_new_cancellation(time)
                    && !is_shown_end()
            }
            NotificationKind::ConsumableCancelled | NotificationKind::EntitlementCancelled => {
                stage.runs() && is_newest(&NotificationKind::BOUGHT)
            }
            NotificationKind::PlanChangeScheduled => {
                let known = &self.before.stage;
                let is_shown = stage.pending.is_some() && stage.pending != known.pending;
                stage.runs()
                    && !is_shown
                    && (known.is_unknown() || stage.sku == known.sku)
                    && is_newest(&NotificationKind::PAYMENTS)
            }
            NotificationKind::OutOfGrace => {
                stage.runs() && stage.in_grace && self.after.is_end_of_grace(time)
            }
            NotificationKind::GraceBegan => {
                stage.life == Life::Expired
                    && is_newest(&NotificationKind::ENDS)
                    && is_newest(&running)
            }
            _ => false,
        }
    }

    /// Whether the snapshot shows an end in the future that results from the cancellation at `time`. If auto-renewal
    /// was switched off too, such an end may result from the switch alone, unless the two are the same action.
    fn shows_new_cancellation(&self, time: Timestamp) -> bool {
        let Some(end) = self
            .snapshot
            .and_then(|snapshot| snapshot.ends_at)
            .filter(|end| *end > self.at)
        else {
            return false;
        };
        let is_known = self.before.stage.runs() && self.before.stage.is_off;
        (!is_known && !self.is_switched_off_now()) || self.is_one_with_switch(time, end)
    }

    /// Whether a new report switches auto-renewal off.
    fn is_switched_off_now(&self) -> bool {
        self.fresh
            .iter()
            .any(|(_, kind)| SWITCHED_OFF.contains(kind))
    }

    /// Whether a cancellation and a switch of auto-renewal in the same window, or within a short time, are the same
    /// action: the customer cancelled, and the shown end is the end of the paid time.
    fn is_one_with_switch(&self, time: Timestamp, end: Timestamp) -> bool {
        if self.snapshot.and_then(|shown| shown.end_reason) != Some(EndReason::Customer) {
            return false;
        }
        let is_near = |(switched_at, _): Moment| switched_at.distance(time) <= REPEATED_WITHIN;
        let is_switched =
            self.is_switched_off_now() || self.after.newest(&SWITCHED_OFF).is_some_and(is_near);
        is_switched && self.is_paid_end(end)
    }

    /// Returns a new cancellation that is the same action as a switch. It is confirmed, but rechecked all the same:
    /// after a switch and a refund, the snapshot may show only the switch.
    fn cancelled_with_switch(&self) -> Option<Behind> {
        let (since, kind) = self.newest_end().filter(|end| self.is_new(*end))?;
        let end = self.snapshot?.ends_at.filter(|end| *end > self.at)?;
        let is_cancellation =
            kind == NotificationKind::SubscriptionCancelled && is_recent(since, self.at);
        (is_cancellation && self.is_one_with_switch(since, end)).then_some(Behind {
            since,
            is_decided: true,
        })
    }
}
