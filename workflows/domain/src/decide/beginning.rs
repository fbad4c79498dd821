//! A beginning that is reported after the purchase was first seen.
//!
//! If the purchase was first seen without a report about it (by a notification of an unknown kind or for another
//! product, a device's claim, or an import), its beginning stays unannounced until the store reports it. If the first
//! report is of another kind, it takes the place of the beginning, which is then never announced (`walk.rs`).

use super::walk::Walk;
use crate::notification::NotificationKind;
use crate::purchase::{Life, Stage};
use crate::time::{DAY, Timestamp};
use crate::transition::TransitionKind;
use std::time::Duration;

/// Maximum age of a beginning that is announced after the purchase was first seen.
const ANNOUNCED_FOR: Duration = DAY.saturating_mul(7);

impl Walk<'_> {
    /// Whether the purchase is first seen, in the stage `goal`, and no report so far says anything about it.
    pub fn is_silent_sight(&self, goal: &Stage) -> bool {
        let is_silent =
            |kind: NotificationKind| kind == NotificationKind::Adopted || !self.fits_product(kind);
        !goal.is_unknown()
            && goal.life != Life::Replaced
            && self.known.reported_kinds().all(is_silent)
    }

    /// Announces the beginning that is reported now, if it has been unannounced since the purchase was first seen and
    /// no payment or end has been announced since. If the purchase was already over when first seen, the difference to
    /// the store's answer then announces that end.
    pub fn take_up_beginning(&mut self) {
        let Some(time) = self.reported_beginning() else {
            return;
        };
        let is_over = self.stage.is_over();
        self.announced
            .unannounced
            .remove(&TransitionKind::Purchased);
        if is_over && (self.announced.is_expired || self.stage.life == Life::Replaced) {
            return;
        }
        if is_over {
            self.stage.life = Life::Running;
            self.announced.unannounced.remove(&TransitionKind::Expired);
        }
        let terms = self.stage.terms;
        self.stage.terms = terms.map(|terms| terms.min(1));
        if self.stage.in_trial {
            self.announce(TransitionKind::TrialStarted, time);
        }
        self.announce(TransitionKind::Purchased, time);
        self.stage.terms = terms;
    }

    /// Returns the time of a new report of the unannounced beginning that is younger than a week.
    fn reported_beginning(&self) -> Option<Timestamp> {
        let later = [
            TransitionKind::PAYMENTS.as_slice(),
            &TransitionKind::BEGINNINGS,
        ]
        .concat();
        if !self
            .announced
            .unannounced
            .contains(&TransitionKind::Purchased)
            || self.announced.last_covered(&later).is_some()
            || self.known.was_reported(NotificationKind::PlanChanged)
        {
            return None;
        }
        let begins = |kind: NotificationKind| {
            kind == NotificationKind::SubscriptionPurchased
                || NotificationKind::BOUGHT.contains(&kind)
        };
        let reports = self.late.iter().chain(&self.reports);
        let mut begun = reports
            .filter(|(_, kind)| begins(*kind) && self.fits_product(*kind))
            .map(|(time, _)| *time);
        begun.find(|time| self.now.since(*time) < ANNOUNCED_FOR)
    }
}
