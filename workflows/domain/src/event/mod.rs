//! What we tell the world: the bodies of events, and which of them a destination chose.
//!
//! The shape is the vendor documentation's example of `purchase.updated`, version 2.0; we only add to
//! its attributes. Signing, headers and other destinations' shapes are not here.

mod choice;
mod data;

#[cfg(test)]
mod tests;

pub use choice::{check_choice, chooses};
pub use data::{Described, data, state_digest};

use crate::ids::{AppId, CollapseKey, DestinationId, EventId, OrgId, PlatformId};
use crate::time::Timestamp;
use serde_json::{Value, json};

/// The type of the event that carries the whole record of a purchase.
pub const PURCHASE_UPDATED: &str = "purchase.updated";

/// Everything that goes into the body of one `purchase.updated`.
#[derive(Debug, Clone, Copy)]
pub struct PurchaseUpdated<'a> {
    /// The installation's customer.
    pub org_id: OrgId,
    /// The app.
    pub app_id: AppId,
    /// The app on one store.
    pub platform_id: PlatformId,
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// The event's own id.
    pub event_id: EventId,
    /// When it was recorded.
    pub event_time: Timestamp,
    /// The revision that it tells.
    pub revision: i64,
    /// How many notifications were settled in it.
    pub coalesced: i64,
    /// The record, by [`data`].
    pub data: &'a Value,
}

impl PurchaseUpdated<'_> {
    /// The body as it is kept: what differs per destination is null.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({
            "attributes": {
                "app_id": self.app_id,
                "coalesced": self.coalesced,
                "collapse_key": self.collapse_key,
                "event_id": self.event_id,
                "event_time": self.event_time,
                "event_type": PURCHASE_UPDATED,
                "org_id": self.org_id,
                "platform_id": self.platform_id,
                "previous_acked_revision": null,
                "revision": self.revision,
                "state_digest": state_digest(self.data),
                "subscription_id": null,
                "version": "2.0",
            },
            "data": self.data,
        })
    }
}

/// The body as it is sent to one destination. `previous_acked_revision` is the newest revision that this
/// destination acknowledged before the first attempt.
#[must_use]
pub fn for_destination(mut body: Value, destination: DestinationId, previous_acked_revision: Option<i64>) -> Value {
    if let Some(attributes) = body.get_mut("attributes").and_then(Value::as_object_mut) {
        attributes.insert("previous_acked_revision".to_owned(), json!(previous_acked_revision));
        attributes.insert("subscription_id".to_owned(), json!(destination));
    }
    body
}
