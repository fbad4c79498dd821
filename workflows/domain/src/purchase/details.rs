//! What we add to the documented fields of the record, read from what is known.

use super::{Life, Purchase};
use crate::notification::Kind;
use crate::reading::{EndReason, Offer, Product};

/// Notifications about consumables alone.
const CONSUMABLE: [Kind; 2] = [Kind::ConsumablePurchased, Kind::ConsumableCancelled];
/// Notifications about entitlements alone.
const ENTITLEMENT: [Kind; 2] = [Kind::EntitlementPurchased, Kind::EntitlementCancelled];

impl Purchase {
    /// What kind of thing was bought: by the store, else by the notifications, each of which names one.
    #[must_use]
    pub fn product(&self) -> Product {
        let shown = self.snapshot.as_ref().map_or(Product::Unknown, |snapshot| snapshot.product);
        let told = |kinds: &[Kind]| kinds.iter().any(|kind| self.was_told(*kind));
        if shown != Product::Unknown {
            shown
        } else if told(&CONSUMABLE) {
            Product::Consumable
        } else if told(&ENTITLEMENT) {
            Product::Entitlement
        } else if self.told.keys().any(|kind| *kind != Kind::Adopted) {
            Product::Subscription
        } else {
            Product::Unknown
        }
    }

    /// Why it ended or will end; `None` while it goes on, and when the store gives no reason.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        if self.stage.life == Life::Replaced {
            return Some(EndReason::Replaced);
        }
        let ends = self.stage.is_over() || self.stage.is_off;
        self.snapshot.as_ref()?.end_reason.filter(|_| ends)
    }

    /// The promotion whose price holds. Readings of earlier versions knew introductory ones only.
    #[must_use]
    pub fn offer(&self) -> Option<Offer> {
        let snapshot = self.snapshot.as_ref()?;
        snapshot.offer.or(snapshot.in_intro_offer.then_some(Offer::Introductory))
    }
}
