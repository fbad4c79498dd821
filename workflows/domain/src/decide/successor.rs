//! A replaced subscription whose successor is unknown: when it is rechecked, and what is announced after a week.

use super::walk::Walk;
use crate::purchase::{Life, Purchase};
use crate::time::{DAY, Timestamp};
use crate::transition::TransitionKind;
use std::time::Duration;

/// How long the successor may stay unknown before the end of the old subscription is announced.
const MAX_WAIT: Duration = DAY.saturating_mul(7);

/// Returns the next recheck of a replaced purchase without a known successor: daily, and once at the end of the week.
pub(crate) fn next_check(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let until = purchase.successor_missing_since()?.plus(MAX_WAIT);
    (now < until).then(|| now.plus(DAY).min(until))
}

impl Walk<'_> {
    /// Announces the end of a purchase that was replaced a week ago by a purchase that is still unknown, since no known
    /// purchase gives the customer access. The purchase stays replaced.
    pub fn end_without_successor(&mut self) {
        let since = self.known.successor_missing_since();
        let is_overdue = since.is_some_and(|since| self.now.since(since) >= MAX_WAIT);
        let is_named = self.known.is_replaced() || self.stage.life != Life::Replaced;
        if !is_overdue
            || is_named
            || self.announced.is_expired
            || self
                .announced
                .unannounced
                .contains(&TransitionKind::Expired)
        {
            return;
        }
        let at = self.known.expires_at();
        if self.stage.in_trial {
            self.announce_unreported(TransitionKind::TrialDidNotConvert, at);
        }
        self.announce_unreported(TransitionKind::Expired, at);
    }
}
