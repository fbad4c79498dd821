//! The grace period of a receipt.

use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::verification::SAME;

impl Purchase {
    /// Returns the date that the store shows as the end of the grace period; `None` if no grace period runs.
    ///
    /// The sandbox shows the end of the trial, the renewal and the end of the grace period as the same date
    /// (<https://developer.amazon.com/docs/in-app-purchasing/iap-rvs-examples.html>), so there only a date later than
    /// the others is a grace period. In production, the store shows the date only during a grace period; a past date
    /// from before the payment was due belongs to an earlier failed payment and is ignored.
    pub(super) fn shown_grace_end(&self) -> Option<Timestamp> {
        let snapshot = self.snapshot.as_ref()?;
        let due = snapshot.renews_at.max(snapshot.trial_ends_at);
        let is_test = self.is_sandbox();
        snapshot.grace_ends_at.filter(|grace| match due {
            Some(due) if is_test => *grace > due,
            Some(due) => due.since(*grace) <= SAME || *grace > snapshot.at,
            None => true,
        })
    }

    /// Whether the store shows a grace period that does not end after the renewal date, so that its true end is
    /// unknown. The renewal date is then no sign of a payment: it is the date of the failed payment, or it moved with
    /// the grace period.
    pub(super) fn is_grace_endless(&self) -> bool {
        let renews_at = self
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.renews_at);
        self.shown_grace_end()
            .is_some_and(|grace| renews_at.is_some_and(|due| grace.since(due) <= SAME))
    }
}
