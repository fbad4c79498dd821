//! The stage of a purchase according to a snapshot. `lag` then corrects it by recent notifications.

use crate::notification::NotificationKind;
use crate::purchase::{Life, Purchase, Stage, UNPAID_END_MARGIN};
use crate::time::{MINUTE, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::{EndReason, LAG, SAME, Snapshot};
use std::time::Duration;

/// A renewal announced at most two minutes before a period ends is the payment due at that end. In the store's sandbox,
/// whose terms last minutes, two reports of different kinds this close together are about the same payment.
pub(super) const SAME_PAYMENT: Duration = MINUTE.saturating_mul(2);

/// Returns the stage according to a snapshot. `before` is the purchase before this settling; `after` includes its
/// reports and this snapshot.
pub(super) fn shown(before: &Purchase, after: &Purchase, snapshot: &Snapshot) -> Stage {
    let sku = snapshot
        .term_sku
        .clone()
        .or_else(|| before.stage.sku.clone());
    let is_replaced = after.is_replaced() || snapshot.end_reason == Some(EndReason::Replaced);
    let observation = Observation {
        before,
        after,
        snapshot,
    };
    if after.is_one_time() {
        let is_over = snapshot.ends_at.is_some() || after.is_taken_back();
        let life = match (is_replaced, is_over) {
            (true, _) => Life::Replaced,
            (false, true) => Life::Revoked,
            (false, false) => Life::Running,
        };
        return Stage {
            life,
            sku,
            ..Stage::default()
        };
    }
    let (in_trial, is_over) = (observation.in_trial(), observation.is_over());
    let life = match (
        is_over,
        is_replaced || (is_over && after.was_reported(NotificationKind::Replaced)),
    ) {
        (_, true) => Life::Replaced,
        (true, false) => Life::Expired,
        (false, false) => Life::Running,
    };
    let runs = life == Life::Running;
    Stage {
        life,
        in_trial,
        in_grace: runs && after.grace_end().is_some(),
        is_off: !runs || observation.is_off(),
        terms: if in_trial {
            Some(0)
        } else {
            observation.terms()
        },
        pending: snapshot
            .deferred_sku
            .clone()
            .filter(|pending| runs && Some(pending) != sku.as_ref()),
        sku,
        halt: None,
    }
}

/// One snapshot, and the purchase before and after it.
struct Observation<'a> {
    before: &'a Purchase,
    after: &'a Purchase,
    snapshot: &'a Snapshot,
}

impl Observation<'_> {
    /// Whether auto-renewal is off: the snapshot has an end date or shows that the subscription will not renew. If it
    /// has no end date, renewal date or flag, the known value remains.
    fn is_off(&self) -> bool {
        let by_flag = self.snapshot.auto_renewing.map(|renews| !renews);
        let by_date = || {
            if self.snapshot.renews_at.is_some() {
                Some(false)
            } else {
                None
            }
        };
        self.snapshot.ends_at.is_some()
            || by_flag.or_else(by_date).unwrap_or(self.before.stage.is_off)
    }

    /// Whether the purchase has had only a trial and no payment so far. The trial is running, or it is over, no date of
    /// the receipt lies beyond it, and no payment was reported or announced.
    fn in_trial(&self) -> bool {
        let Some(trial_end) = self.after.trial_end() else {
            return false;
        };
        if self.after.was_reported(NotificationKind::TrialConverted) || self.was_paid() {
            return false;
        }
        if self
            .snapshot
            .trial_ends_at
            .is_some_and(|end| end > self.snapshot.at)
        {
            return true;
        }
        let is_beyond = |date: Timestamp| date.since(trial_end) > SAME;
        match self.after.period_end() {
            Some(_) if self.is_unpaid_end() => self.before.stage.in_trial,
            Some(end) if end <= self.snapshot.at && self.snapshot.ends_at.is_some() => {
                let is_paid = |terms: crate::purchase::Terms| {
                    terms.ending(end).is_some() && terms.is_end(end)
                };
                !(is_beyond(end) && self.after.terms().is_some_and(is_paid))
            }
            Some(end) if self.after.grace_end().is_none() => !is_beyond(end),
            Some(end) => self.before.stage.in_trial || !is_beyond(end),
            None => self.before.stage.in_trial || self.before.stage.is_unknown(),
        }
    }

    /// Whether a payment before this snapshot was announced, or the last answer showed one.
    fn was_paid(&self) -> bool {
        let last = self
            .before
            .verified
            .as_ref()
            .map(|verified| &verified.stage)
            .filter(|stage| !stage.in_trial);
        let was_paid = |stage: &Stage| {
            !stage.is_unknown()
                && (self.before.has_shown_trial() || stage.terms.is_some_and(|terms| terms > 1))
        };
        self.before
            .announced
            .last_covered(&TransitionKind::PAYMENTS)
            .is_some()
            || last.is_some_and(was_paid)
    }

    /// Whether the subscription is over: its end date is past; or its grace period or, with auto-renewal off, its last
    /// period ended at least two hours ago.
    fn is_over(&self) -> bool {
        let at = self.snapshot.at;
        let is_long_past = |end: Timestamp| at.since(end) >= LAG;
        if let Some(end) = self.snapshot.ends_at {
            return end <= at;
        }
        if let Some(grace) = self.after.grace_end() {
            return is_long_past(grace) && !self.is_date_of_failure(grace);
        }
        let trial = || self.after.trial_end().filter(|_| self.in_trial());
        let counted = || self.after.calendar()?.end(self.before.stage.terms?);
        let end = self.snapshot.renews_at.or_else(trial).or_else(counted);
        self.is_off() && end.is_some_and(is_long_past)
    }

    /// Whether the purchase ended unpaid with its grace period. Then no term after the failed payment counts, even if
    /// the grace period lasted so long that its end is also the end of a term.
    fn is_unpaid_end(&self) -> bool {
        let Some(end) = self.snapshot.ends_at.filter(|end| *end <= self.snapshot.at) else {
            return false;
        };
        let known = &self.before.stage;
        let has_failed =
            known.in_grace || (known.is_over() && self.before.payment_issues_began_at().is_some());
        let is_end_of_grace = match self.after.last_grace_end() {
            Some(grace) => grace.distance(end) <= UNPAID_END_MARGIN,
            None => self.snapshot.end_reason == Some(EndReason::Store),
        };
        has_failed && is_end_of_grace && !self.is_repaired_before(end)
    }

    /// Whether a notification reported that the failed payment recovered. An `OutOfGrace` within [`UNPAID_END_MARGIN`]
    /// does not count.
    fn is_repaired_before(&self, end: Timestamp) -> bool {
        let failed = self
            .before
            .announced
            .covered(TransitionKind::GraceBegan)
            .or_else(|| self.before.answered_at());
        let paid = self
            .after
            .newest(&[NotificationKind::TrialConverted, NotificationKind::Renewed])
            .map(|(time, _)| time);
        let repaired = self
            .after
            .newest(&[NotificationKind::OutOfGrace])
            .map(|(time, _)| time);
        paid.max(repaired.filter(|time| end.since(*time) > UNPAID_END_MARGIN)) > failed
    }

    /// Whether the store shows the date of the failed payment instead of the end of the grace period, whose end is then
    /// unknown.
    fn is_date_of_failure(&self, grace: Timestamp) -> bool {
        let calendar = self.after.calendar();
        let known = self
            .before
            .stage
            .terms
            .filter(|_| !self.before.stage.is_unknown());
        let counted = calendar.and_then(|calendar| calendar.end(known?));
        let is_boundary = || calendar.is_none_or(|calendar| calendar.is_end(grace));
        let paid_until = counted.or_else(|| self.after.last_period_end());
        let is_failure = paid_until.map_or_else(is_boundary, |end| grace.since(end) < LAG);
        self.after.has_grace_without_end() && is_failure
    }

    /// Returns the number of paid terms that have begun according to the snapshot; if it cannot tell, the known number.
    fn terms(&self) -> Option<u64> {
        let known = self.before.stage.terms;
        let Some(end) = self.after.period_end() else {
            return known;
        };
        if known.is_some() && self.is_unpaid_end() {
            return known;
        }
        let Some(calendar) = self.after.calendar() else {
            // A purchase that is first seen after its end had at least the term in which it ended.
            let last_term = || {
                self.after
                    .terms()
                    .map(|terms| terms.containing(end).max(1))
                    .filter(|_| self.is_over())
            };
            return self.counted(end).or_else(last_term);
        };
        if self.after.has_grace_without_end() {
            let begun = || calendar.begun(self.snapshot.at).saturating_sub(1).max(1);
            let shown = || {
                if end <= self.snapshot.at {
                    calendar.ending(end)
                } else {
                    Some(begun())
                }
            };
            return known.or_else(shown);
        }
        if self.is_over() && !calendar.is_end(end) {
            return known.or_else(|| Some(calendar.containing(end)));
        }
        let is_past = end <= self.snapshot.at;
        if self.after.grace_end().is_some() && !is_past && known.is_some() {
            return known;
        }
        calendar.ending(end).or(known)
    }

    /// Returns the number of terms if the dates follow no calendar: one more than known if the end of the period moved
    /// to a later date and no renewal was announced for the earlier date.
    fn counted(&self, end: Timestamp) -> Option<u64> {
        let known = self.before.stage.terms?;
        let last = self
            .before
            .period_end()
            .filter(|_| self.after.grace_end().is_none());
        let Some(last) =
            last.filter(|last| end.since(*last) > SAME && self.snapshot.ends_at.is_none())
        else {
            return Some(known);
        };
        let announced = self
            .before
            .announced
            .last_covered(&TransitionKind::PAYMENTS);
        let is_announced = announced.is_some_and(|announced| last.since(announced) <= SAME_PAYMENT);
        Some(if is_announced {
            known
        } else {
            known.saturating_add(1)
        })
    }
}
