//! Transfers: purchases that move from one user to another. The vendor's documentation names the two events; their
//! shared `transfer_id` is settle's addition.

use super::OwnedPurchase;

/// A purchase moved away from a user.
pub const TRANSFERRED_FROM: &str = "user.subscription.transferred.from";
/// A purchase moved to a user.
pub const TRANSFERRED_TO: &str = "user.subscription.transferred.to";
/// The events of a transfer, in their order.
pub const TRANSFERS: [&str; 2] = [TRANSFERRED_FROM, TRANSFERRED_TO];

impl OwnedPurchase {
    /// Whether a move of the purchase to another user is announced: it grants an entitlement now.
    pub fn is_entitling(&self) -> bool {
        self.is_active() && !self.listing.entitlements.is_empty()
    }
}
