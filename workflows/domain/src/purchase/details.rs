//! The fields of the record that settle adds to the documented ones.

use super::{Life, Purchase};
use crate::notification::NotificationKind;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Offer, Product};

/// Kinds of notifications that only a consumable has.
const CONSUMABLE: [NotificationKind; 2] = [
    NotificationKind::ConsumablePurchased,
    NotificationKind::ConsumableCancelled,
];
/// Kinds of notifications that only an entitlement has.
const ENTITLEMENT: [NotificationKind; 2] = [
    NotificationKind::EntitlementPurchased,
    NotificationKind::EntitlementCancelled,
];

impl Purchase {
    /// Returns the kind of product according to the store, else to the kinds of the notifications.
    pub fn product(&self) -> Product {
        let shown = self
            .snapshot
            .as_ref()
            .map_or(Product::Unknown, |snapshot| snapshot.product);
        let reported =
            |kinds: &[NotificationKind]| kinds.iter().any(|kind| self.was_reported(*kind));
        if shown != Product::Unknown {
            shown
        } else if reported(&CONSUMABLE) {
            Product::Consumable
        } else if reported(&ENTITLEMENT) {
            Product::Entitlement
        } else if self
            .reports
            .keys()
            .any(|kind| *kind != NotificationKind::Adopted)
        {
            Product::Subscription
        } else {
            Product::Unknown
        }
    }

    /// Returns why the purchase ended or will end; `None` while it renews, or if the store shows no reason.
    pub fn end_reason(&self) -> Option<EndReason> {
        if self.stage.life == Life::Replaced {
            return Some(EndReason::Replaced);
        }
        let ends = self.stage.is_over() || self.stage.is_off;
        self.snapshot.as_ref()?.end_reason.filter(|_| ends)
    }

    /// Returns the promotion whose price applies. Records of earlier versions contain only introductory ones.
    pub fn offer(&self) -> Option<Offer> {
        let snapshot = self.snapshot.as_ref()?;
        snapshot
            .offer
            .or(snapshot.in_intro_offer.then_some(Offer::Introductory))
    }

    /// Whether the last snapshot may not show yet which promotion applied to the payment made at `paid_at`: a promotion
    /// is queued or in progress, and the store may lag. Whether it began or ended with the payment shows only later.
    pub(crate) fn is_offer_unconfirmed(&self, paid_at: Timestamp) -> bool {
        let Some(shown) = self.snapshot.as_ref() else {
            return false;
        };
        shown.at.since(paid_at) < self.rules().lag()
            && (shown.has_queued_offer || self.offer().is_some())
    }

    /// Whether the price of the payment made at `paid_at` is uncertain: a promotion may have applied, or the payment
    /// may have been the beginning of a trial.
    pub fn is_price_unconfirmed(&self, paid_at: Timestamp) -> bool {
        self.is_offer_unconfirmed(paid_at) || self.may_have_been_trial()
    }

    /// Whether it cannot be determined if the purchase was a trial.
    pub fn may_have_been_trial(&self) -> bool {
        self.rules().may_have_been_trial(self)
    }

    /// Returns when the last payment was made, if the last snapshot may not show its promotion yet.
    pub(crate) fn unconfirmed_offer_at(&self) -> Option<Timestamp> {
        let [began, paid] = [
            TransitionKind::BEGINNINGS.as_slice(),
            &TransitionKind::PAYMENTS,
        ];
        let last = self
            .announced
            .last_covered(began)
            .max(self.announced.last_covered(paid))?;
        (!self.stage.in_trial && self.is_offer_unconfirmed(last)).then_some(last)
    }
}
