//! Distinguishes revoked purchases from those that ended normally.
//!
//! The store shows the date and reason of an end, but not whether money was returned. A purchase that ends before the
//! end of the paid term counts as revoked, for any reason.

use super::terms::TRIALS;
use crate::purchase::{Purchase, Terms};
use crate::time::{DAY, HOUR, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::{EndReason, SAME};
use std::time::Duration;

/// Maximum time between an end and the end of the paid time that count as the same.
const NEAR: Duration = HOUR.saturating_mul(2);
/// The shortest term and the shortest trial that the store sells.
const SHORTEST: Duration = DAY.saturating_mul(7);
/// How much earlier than its date the store may renew.
const RENEWAL_LEAD: Duration = HOUR.saturating_mul(12);

impl Purchase {
    /// Returns when a subscription that is over was revoked before the end of the paid time. `None` while the store
    /// does not know the reason.
    pub(super) fn cut_short_at(&self) -> Option<Timestamp> {
        let snapshot = self.snapshot.as_ref();
        if let Some(gone_at) = self.gone_at {
            return self.is_gone_before_paid_end(gone_at).then_some(gone_at);
        }
        let snapshot =
            snapshot.filter(|snapshot| snapshot.end_reason != Some(EndReason::Pending))?;
        let end = snapshot.ends_at.filter(|end| *end <= snapshot.at)?;
        let is_unpaid = self.payment_issues_began_at().is_some();
        (!is_unpaid && self.is_before_paid_end(end)).then_some(end)
    }

    /// Whether the store answered before the end of the paid time that the purchase is no longer valid. A later answer
    /// proves nothing: by then, the purchase may have ended normally.
    fn is_gone_before_paid_end(&self, gone_at: Timestamp) -> bool {
        let counted = || {
            self.terms()
                .filter(|_| !self.is_accelerated())?
                .end(self.stage.terms?)
        };
        let shown = || self.seen.period_ends_at.or_else(|| self.period_end());
        let trial = || self.trial_end().filter(|_| self.stage.in_trial);
        let is_unpaid = self.payment_issues_began_at().is_some();
        let paid_end = trial().or_else(counted).or_else(shown);
        !is_unpaid && paid_end.is_none_or(|end| end.since(gone_at) > NEAR)
    }

    /// Whether the purchase ended at `end`, before the end of the paid time; false if that cannot be determined.
    fn is_before_paid_end(&self, end: Timestamp) -> bool {
        match (
            self.terms().filter(|_| !self.is_accelerated()),
            self.stage.terms,
        ) {
            (Some(terms), Some(number)) => {
                let is_paid_end = terms.end(number).is_some_and(|paid| is_near(end, paid));
                let is_later =
                    terms.end(number).is_some_and(|paid| end > paid) && terms.is_end(end);
                !is_paid_end && !is_later && !self.ends_after_unseen_trial(end, terms)
            }
            (Some(terms), None) => {
                let is_boundary = terms.is_end(end) && !is_near(end, terms.anchor);
                !is_boundary && !self.ends_after_unseen_trial(end, terms)
            }
            (None, _) => self.is_before_shown_end(end),
        }
    }

    /// Whether the purchase ended before the end of the last shown period. If no period was shown, it is known to be
    /// revoked only if it ran for less than the shortest term.
    fn is_before_shown_end(&self, end: Timestamp) -> bool {
        let shown = self
            .seen
            .period_ends_at
            .or_else(|| self.trial_end().filter(|_| self.stage.in_trial));
        let paid = self
            .announced
            .last_covered(&[TransitionKind::Renewed, TransitionKind::Recovered]);
        let paid_since =
            paid.filter(|paid| shown.is_none_or(|shown| shown.since(*paid) <= RENEWAL_LEAD));
        match (shown, paid_since) {
            (Some(shown), None) => end < shown && (self.is_sandbox() || !is_near(end, shown)),
            _ if self.is_sandbox() => false,
            (_, paid) => {
                let began = paid.or_else(|| self.not_before());
                began.is_some_and(|began| end.since(began) < SHORTEST.saturating_sub(NEAR))
            }
        }
    }

    /// Whether a trial that was over before the first snapshot explains this end: counted from the end of such a trial,
    /// `end` is the end of a term.
    fn ends_after_unseen_trial(&self, end: Timestamp, terms: Terms) -> bool {
        let is_unseen = self.seen.period_ends_at.is_none()
            && self.trial_end().is_none()
            && !self.is_beginning_known();
        let purchased_at = self
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.purchased_at)
            .filter(|_| is_unseen);
        let ends = |anchor: Timestamp| {
            let row = Terms { anchor, ..terms };
            row.is_end(end) && anchor.since(end) <= NEAR
        };
        purchased_at.is_some_and(|purchased_at| {
            TRIALS
                .iter()
                .filter_map(|trial| trial.after(purchased_at, 1))
                .any(ends)
        })
    }

    /// Whether the store showed a period that is much shorter than the term, as in an accelerated test.
    fn is_accelerated(&self) -> bool {
        let shown = self.seen.period_ends_at.zip(self.terms());
        shown.is_some_and(|(end, terms)| {
            end.since(terms.anchor) > SAME && terms.ending(end).is_none()
        })
    }
}

fn is_near(end: Timestamp, other: Timestamp) -> bool {
    end.distance(other) <= NEAR
}
