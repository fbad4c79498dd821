//! The owner of purchases: the state across all of them, and the body of a `user.*` event.
//!
//! Which purchases somebody owns is found by the transaction that records; everything here is handed to it.

use crate::catalogue::{Listing, ProductRef};
use crate::ids::{CollapseKey, EventId, UserId};
use crate::purchase::Purchase;
use crate::time::Timestamp;
use serde_json::{Value, json};

/// One purchase of a user, with what is said of its product.
#[derive(Debug, Clone)]
pub struct Owned {
    /// Which one.
    pub collapse_key: CollapseKey,
    /// The store it was made in, such as in `platforms.store`.
    pub platform_type: String,
    /// What is known of it.
    pub purchase: Purchase,
    /// Whether another receipt took its place: then it never counts.
    pub is_replaced: bool,
    /// Which SKU names its product.
    pub product_ref: ProductRef,
    /// What the catalogue says of its product.
    pub listing: Listing,
}

/// Who owns them.
#[derive(Debug, Clone)]
pub struct Customer {
    /// Our own id, the same for ever.
    pub user_id: UserId,
    /// The customer's own id, when somebody named it.
    pub external_id: Option<String>,
    /// The store's name of the customer, for the purchase that an event is about.
    pub app_user_id: Option<String>,
}

/// Everything that goes into the body of one `user.*` event.
#[derive(Debug, Clone, Copy)]
pub struct UserEvent<'a> {
    /// The event's own id.
    pub id: EventId,
    /// Its type.
    pub event_type: &'a str,
    /// The store of the purchase that it is about.
    pub event_platform: &'a str,
    /// The store's name of that purchase.
    pub receipt_id: &'a str,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Who.
    pub customer: &'a Customer,
    /// Counts, per user, how often their state was told.
    pub user_revision: i64,
    /// All purchases of the user, after this settling, in the order of their keys.
    pub owned: &'a [Owned],
}

impl UserEvent<'_> {
    /// The body; it is the same for every destination.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({ "id": self.id, "event_type": self.event_type, "user_revision": self.user_revision })
    }
}
