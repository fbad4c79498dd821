//! Transfers: purchases that move from one user to another. The vendor's documentation names the two events; that both
//! carry one `transfer_id` is ours.

use super::OwnedPurchase;

/// A purchase was taken from a user.
pub const TRANSFERRED_FROM: &str = "user.subscription.transferred.from";
/// A purchase was given to a user.
pub const TRANSFERRED_TO: &str = "user.subscription.transferred.to";
/// The events of a transfer, in their order.
pub const TRANSFERS: [&str; 2] = [TRANSFERRED_FROM, TRANSFERRED_TO];

impl OwnedPurchase {
    /// Whether its move to another user is announced: it gives access to something now.
    pub fn is_entitling(&self) -> bool {
        self.is_active() && !self.listing.entitlements.is_empty()
    }
}
