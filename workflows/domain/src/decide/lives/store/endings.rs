//! How a life ends, and comes back after its end.

use super::{Author, DAY, HOUR};
use crate::notification::Kind;
use crate::reading::{EndReason, Snapshot};
use crate::time::Timestamp;
use crate::transition::What;

impl Author {
    pub(super) fn is_refunded(&mut self) -> bool {
        let is_recent = |time: Timestamp| self.now.millis_since(time) < 9 * DAY;
        let recent = self.life.words.iter().filter(|word| is_recent(word.store_time));
        let recent: Vec<_> = recent.map(|word| (word.store_time, word.kind)).collect();
        self.life.prompt.extend(&recent);
        self.life.vital.extend(recent);
        self.shown.trial_ends_at = None;
        let reason = self.chance.pick(&[EndReason::Customer, EndReason::Store, EndReason::Pending]);
        if self.chance.percent(20) {
            self.word(Kind::SubscriptionCancelled);
            self.tell_end();
            self.life.shows.push((self.now, None));
            self.life.ends = self.now;
        } else {
            self.over(self.now, reason, Kind::SubscriptionCancelled);
        }
        false
    }

    pub(super) fn is_replaced(&mut self) -> bool {
        let is_recent = |time: Timestamp| self.now.millis_since(time) < 9 * DAY;
        let recent = self.life.words.iter().filter(|word| is_recent(word.store_time));
        let recent: Vec<_> = recent.map(|word| (word.store_time, word.kind)).collect();
        self.life.vital.extend(recent);
        if self.chance.percent(50) {
            self.shown.trial_ends_at = None;
            self.shown.ends_at = Some(self.now);
            self.shown.end_reason = Some(EndReason::Replaced);
            self.shown.renews_at = None;
            self.show();
            // No notification names the new receipt: a week later the end is announced.
            self.tell_end();
            if self.chance.percent(50) {
                self.word(Kind::SubscriptionCancelled);
            }
            if self.chance.percent(50) {
                self.now = self.now.plus_millis(DAY);
                self.word(Kind::Expired);
            }
        } else {
            self.life.replaced_at = Some(self.now);
            let words: [&[Kind]; 3] =
                [&[Kind::SubscriptionCancelled], &[Kind::Replaced], &[Kind::SubscriptionCancelled, Kind::Replaced]];
            for kind in self.chance.pick(&words) {
                self.word(*kind);
            }
        }
        self.life.ends = self.now;
        false
    }

    fn tell_end(&mut self) {
        if self.in_trial {
            self.tell(What::TrialDidNotConvert);
        }
        self.tell(What::Expired);
    }

    pub(super) fn over(&mut self, at: Timestamp, reason: EndReason, kind: Kind) {
        let over = Snapshot { renews_at: None, grace_ends_at: None, auto_renewing: Some(false), ..self.shown.clone() };
        self.shown = Snapshot { ends_at: Some(at), end_reason: Some(reason), deferred_sku: None, ..over };
        self.word(kind);
        self.tell_end();
        self.show();
    }

    /// Whether what was paid and ended runs again, a while later, by one notification. By auto-renewal alone nothing is paid.
    pub(super) fn comes_back(&mut self) -> bool {
        if self.in_trial || self.life.charges.is_empty() || !self.chance.percent(35) {
            return false;
        }
        self.now = self.now.plus_millis(self.chance.between(4 * HOUR, 6 * DAY));
        let kinds =
            [Kind::Renewed, Kind::GraceEnded, Kind::TrialConverted, Kind::SubscriptionPurchased, Kind::AutoRenewalOn];
        let had_trial = self.life.tells.iter().any(|(_, what)| *what == What::TrialStarted);
        let kind = match self.chance.pick(&kinds) {
            Kind::TrialConverted if had_trial || self.has_come_back => Kind::Renewed,
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
        let is_paid = kind != Kind::AutoRenewalOn;
        self.tell(match kind {
            Kind::AutoRenewalOn => What::Resumed,
            Kind::SubscriptionPurchased => What::Purchased,
            Kind::TrialConverted => What::TrialConverted,
            _ => What::Renewed,
        });
        if kind == Kind::TrialConverted {
            self.tell(What::Renewed);
        }
        if is_paid {
            self.charge();
            self.anchor = self.now;
            self.begun = 0;
            self.next_end();
            self.shown.renews_at = Some(self.end);
        }
        self.vital(kind);
        let word = self.life.vital.last().copied();
        self.life.prompt.extend(word);
        self.show();
        is_paid
    }
}
