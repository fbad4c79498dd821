//! Whether a subscription lapsed between two periods, of a store that shows why each period exists.

use super::{Halt, Purchase, Stage};
use crate::notification::NotificationKind;
use crate::period::{OfferPhase, Period, PeriodCause};
use crate::time::DAY;
use crate::verification::SAME;
use std::time::Duration;

/// How long a store tries to collect a failed payment. Until then, the customer may change the plan.
const RETRIED_FOR: Duration = DAY.saturating_mul(60);
/// How far a beginning may be reported from its time.
const REPORTED_WITHIN: Duration = DAY;

impl Purchase {
    /// Whether the customer bought this period after the subscription had ended with the last one, so that it is no
    /// change of plan. `stage` is the stage in the last one.
    pub(crate) fn is_bought_again(&self, period: &Period, last: &Period, stage: &Stage) -> bool {
        let revoked_at = last.revoked_at();
        let is_revoked = revoked_at.is_some() && revoked_at <= Some(period.begins_at);
        let unpaid = last.ends_at.map(|end| period.begins_at.since(end));
        let is_apart = unpaid > Some(SAME);
        let is_within = last.ends_at > Some(period.begins_at.plus(SAME));
        let is_retried = stage.in_grace || stage.halt == Some(Halt::AccountHold);
        // A series of payments goes on only behind a short lapse.
        let is_missing = self.is_in_row(last) && unpaid > Some(RETRIED_FOR);
        let may_be_retried = unpaid <= Some(RETRIED_FOR) || is_missing;
        let may_be_retried = is_retried || (!stage.is_off && may_be_retried);
        // Who pays gets a free period only behind a lapse.
        let is_trial = |one: &Period| one.phase == OfferPhase::Trial;
        let is_free_again = is_trial(period) && !is_trial(last);
        // Within a period, the same product is bought only behind a change of plan that is not known.
        let is_same = last.product == period.product && !is_within && !is_missing;
        period.cause == Some(PeriodCause::Bought)
            && (is_revoked
                || is_same
                || (is_apart && is_free_again)
                || self.has_begun_at(period, last)
                || (is_apart && !may_be_retried))
    }

    /// Whether the present series of payments includes this period, so that it did not lapse since.
    fn is_in_row(&self, period: &Period) -> bool {
        let row = self.snapshot.as_ref().and_then(|shown| shown.purchased_at);
        row.is_some_and(|row| period.begins_at.plus(SAME) >= row)
    }

    /// Whether a beginning was reported at the time of this period, and not at that of the last one.
    pub(crate) fn has_begun_at(&self, period: &Period, last: &Period) -> bool {
        let kinds = NotificationKind::BEGINNINGS.iter();
        let reports = kinds.filter_map(|kind| self.reports.get(kind));
        let mut times = reports.flat_map(|reports| reports.times());
        times.any(|reported| {
            let distance = reported.distance(period.begins_at);
            distance <= REPORTED_WITHIN && distance < reported.distance(last.begins_at)
        })
    }
}
