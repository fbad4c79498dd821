//! How a life ends, and how it runs again after its end.

use super::{Author, DAY, HOUR};
use crate::notification::NotificationKind;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Snapshot};

impl Author {
    pub(super) fn is_refunded(&mut self) -> bool {
        let is_recent = |time: Timestamp| self.now.millis_since(time) < 9 * DAY;
        let recent = self
            .life
            .reports
            .iter()
            .filter(|report| is_recent(report.store_time));
        let recent: Vec<_> = recent
            .map(|report| (report.store_time, report.kind))
            .collect();
        self.life.prompt.extend(&recent);
        self.life.vital.extend(recent);
        self.shown.trial_ends_at = None;
        let reason = self
            .chance
            .pick(&[EndReason::Customer, EndReason::Store, EndReason::Pending]);
        if self.chance.percent(20) {
            self.report(NotificationKind::SubscriptionCancelled);
            self.announce_end();
            self.life.shows.push((self.now, None));
            self.life.ends = self.now;
        } else {
            self.over(self.now, reason, NotificationKind::SubscriptionCancelled);
        }
        false
    }

    pub(super) fn is_replaced(&mut self) -> bool {
        let is_recent = |time: Timestamp| self.now.millis_since(time) < 9 * DAY;
        let recent = self
            .life
            .reports
            .iter()
            .filter(|report| is_recent(report.store_time));
        let recent: Vec<_> = recent
            .map(|report| (report.store_time, report.kind))
            .collect();
        self.life.vital.extend(recent);
        if self.chance.percent(50) {
            self.shown.trial_ends_at = None;
            self.shown.ends_at = Some(self.now);
            self.shown.end_reason = Some(EndReason::Replaced);
            self.shown.renews_at = None;
            self.show();
            // No notification names the new purchase, so the end is announced a week later.
            self.announce_end();
            if self.chance.percent(50) {
                self.report(NotificationKind::SubscriptionCancelled);
            }
            if self.chance.percent(50) {
                self.now = self.now.plus_millis(DAY);
                self.report(NotificationKind::Expired);
            }
        } else {
            self.life.replaced_at = Some(self.now);
            let reports: [&[NotificationKind]; 3] = [
                &[NotificationKind::SubscriptionCancelled],
                &[NotificationKind::Replaced],
                &[
                    NotificationKind::SubscriptionCancelled,
                    NotificationKind::Replaced,
                ],
            ];
            for kind in self.chance.pick(&reports) {
                self.report(*kind);
            }
        }
        self.life.ends = self.now;
        false
    }

    fn announce_end(&mut self) {
        if self.in_trial {
            self.announce(TransitionKind::TrialDidNotConvert);
        }
        self.announce(TransitionKind::Expired);
    }

    pub(super) fn over(&mut self, at: Timestamp, reason: EndReason, kind: NotificationKind) {
        let over = Snapshot {
            renews_at: None,
            grace_ends_at: None,
            auto_renewing: Some(false),
            ..self.shown.clone()
        };
        self.shown = Snapshot {
            ends_at: Some(at),
            end_reason: Some(reason),
            deferred_sku: None,
            ..over
        };
        self.report(kind);
        self.announce_end();
        self.show();
    }

    /// Makes an ended, paid life run again after a while by one notification, and returns whether it does. If only
    /// auto-renewal is switched on, nothing is paid.
    pub(super) fn comes_back(&mut self) -> bool {
        if self.in_trial || self.life.charges.is_empty() || !self.chance.percent(35) {
            return false;
        }
        self.now = self.now.plus_millis(self.chance.between(4 * HOUR, 6 * DAY));
        let kinds = [
            NotificationKind::Renewed,
            NotificationKind::OutOfGrace,
            NotificationKind::TrialConverted,
            NotificationKind::SubscriptionPurchased,
            NotificationKind::AutoRenewalOn,
        ];
        let had_trial = self
            .life
            .transitions
            .iter()
            .any(|(_, transition)| *transition == TransitionKind::TrialStarted);
        let kind = match self.chance.pick(&kinds) {
            NotificationKind::TrialConverted if had_trial || self.has_come_back => {
                NotificationKind::Renewed
            }
            kind => kind,
        };
        self.has_come_back = true;
        self.shown = Snapshot {
            auto_renewing: Some(true),
            renews_at: Some(self.end),
            ends_at: None,
            end_reason: None,
            deferred_at: None,
            deferred_sku: None,
            ..self.shown.clone()
        };
        let is_paid = kind != NotificationKind::AutoRenewalOn;
        self.announce(match kind {
            NotificationKind::AutoRenewalOn => TransitionKind::Resumed,
            NotificationKind::SubscriptionPurchased => TransitionKind::Purchased,
            NotificationKind::TrialConverted => TransitionKind::TrialConverted,
            _ => TransitionKind::Renewed,
        });
        if kind == NotificationKind::TrialConverted {
            self.announce(TransitionKind::Renewed);
        }
        if is_paid {
            self.charge();
            self.anchor = self.now;
            self.begun = 0;
            self.next_end();
            self.shown.renews_at = Some(self.end);
        }
        self.vital(kind);
        let report = self.life.vital.last().copied();
        self.life.prompt.extend(report);
        self.show();
        is_paid
    }
}
