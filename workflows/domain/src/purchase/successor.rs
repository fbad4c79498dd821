//! The successor: the purchase that replaced this one in an immediate change of plan. This module finds it if no
//! notification names it.
//!
//! The store shows the reason of the end on the old purchase, but no reference between the two purchases
//! (<https://developer.amazon.com/docs/in-app-purchasing/iap-rvs-for-android-apps.html>); only the notification links
//! them. If that was lost, the successor is the same customer's purchase of another SKU that begins when this one ends.

use super::{Life, Purchase};
use crate::catalogue::ProductRef;
use crate::notification::NotificationKind;
use crate::time::{MINUTE, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::EndReason;
use std::time::Duration;

/// Maximum time between the end of a purchase and the beginning of its successor.
const MAX_GAP: Duration = MINUTE.saturating_mul(10);

impl Purchase {
    /// Returns when the store first showed that another, still unknown purchase replaced this one.
    pub const fn successor_missing_since(&self) -> Option<Timestamp> {
        self.successor_missing_since
    }

    /// Records after a settling whether the successor is unknown. Nothing is recorded for a purchase that was replaced
    /// before it was imported.
    pub(crate) fn record_missing_successor(&mut self, before: &Self, now: Timestamp) {
        let reason = self
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.end_reason);
        let is_named = self.is_replaced || self.was_reported(NotificationKind::Replaced);
        let is_missing = self.stage.life == Life::Replaced
            && reason == Some(EndReason::Replaced)
            && !is_named
            && !self.is_one_time();
        let is_new = match before.stage.life {
            Life::Unknown => !self.was_reported(NotificationKind::Adopted),
            Life::Running | Life::Cut | Life::Expired => true,
            Life::Revoked | Life::Replaced => false,
        };
        self.successor_missing_since = self
            .successor_missing_since
            .or_else(|| is_new.then_some(now))
            .filter(|_| is_missing);
    }

    /// Whether `new`, a purchase of the same customer and platform, is the missing successor: it began within ten
    /// minutes of the end of this one, with another SKU.
    pub fn is_succeeded_by(&self, new: &Self) -> bool {
        let Some((end, beginning)) = self.expires_at().zip(new.not_before()) else {
            return false;
        };
        let (old_sku, new_sku) = (self.sku(ProductRef::Term), new.sku(ProductRef::Term));
        self.successor_missing_since.is_some()
            && !new.is_one_time()
            && self.is_test() == new.is_test()
            && new_sku.is_some_and(|sku| old_sku.is_some_and(|old| old != sku))
            && beginning.distance(end) <= MAX_GAP
    }

    /// Whether the purchase runs, and neither its beginning nor the change of plan that led to it was announced.
    pub fn is_beginning_unannounced(&self) -> bool {
        let is_announced = self
            .announced
            .last_covered(&TransitionKind::BEGINNINGS)
            .is_some();
        self.stage.runs() && !self.is_one_time() && !is_announced
    }
}
