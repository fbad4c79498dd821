//! Trials that no answer showed.

use crate::purchase::{Purchase, Seen};
use crate::transition::TransitionKind;
use crate::verification::LAG;

impl Purchase {
    /// Whether the purchase may have been an unseen trial: it ended within its first term, and no answer ever showed it
    /// running. The store shows a trial only while it runs.
    pub(super) fn may_have_begun_free(&self) -> bool {
        let subscription = self
            .snapshot
            .as_ref()
            .filter(|_| !self.is_one_time() && !self.is_sandbox());
        let period = subscription
            .and_then(|shown| Some((shown.ends_at?, shown.term?.after(shown.purchased_at?, 1)?)));
        let is_within_term = period.is_some_and(|(end, paid_end)| paid_end.since(end) > LAG);
        let is_paid = self
            .announced
            .last_covered(&TransitionKind::PAYMENTS)
            .is_some();
        self.stage.is_over()
            && is_within_term
            && !is_paid
            && self.is_beginning_known()
            && !self.was_shown_running()
    }

    /// Whether an answer of the store ever showed the purchase running.
    fn was_shown_running(&self) -> bool {
        let Seen {
            trial_ends_at,
            period_ends_at,
            renewing_at,
            paid_at,
            grace_at,
            ..
        } = &self.seen;
        [
            trial_ends_at,
            period_ends_at,
            renewing_at,
            paid_at,
            grace_at,
        ]
        .into_iter()
        .any(Option::is_some)
    }
}
