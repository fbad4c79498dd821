//! The bodies of events about purchases, destinations and alarms, and the events to which a destination is subscribed.
//!
//! The shape is that of the example of `purchase.updated`, version 2.0, in the vendor's documentation; settle only adds
//! fields to it. The bodies of `user.*` are in [`crate::user`]. Signing, headers and other destinations' shapes are not
//! here.

mod about;
mod access;
mod alarms;
mod changes;
mod choice;
mod currency;
mod data;
mod details;
mod operators;
mod price;
mod revenue;
mod schema;
mod source;

#[cfg(test)]
pub(crate) mod tests;

pub use about::{About, about_all, group, summary};
pub use access::{ClaimType, DeviceAccess, MAX_DEVICES};
pub use alarms::{AlarmEvent, Trouble};
pub use changes::{Change, changes};
pub use choice::{
    ALARM_CLOSED, ALARM_OPENED, DESTINATION_DISABLED, DESTINATION_EXHAUSTED, DESTINATION_FAILING,
    DESTINATION_RECOVERED, PROFILE_UPDATED, REVENUE_ADJUSTED, Wildcards, check_choice, choices,
    chooses, device_types, is_for_operators, is_implied, is_of_all, listed, recorded_types, types,
};
pub use data::{content_digest, data, state_digest};
pub use details::Details;
pub use operators::DestinationEvent;
pub use price::{PriceDoubt, listed_price, price_currency, price_doubt};
pub use revenue::RevenueAdjusted;
pub use source::{DevicePrice, RecordSource};

pub(crate) use alarms::AlarmBody;
pub(crate) use choice::{ABOUT_ALARMS, ABOUT_DESTINATIONS};
pub(crate) use operators::DestinationBody;
pub(crate) use price::usd_of;
pub(crate) use revenue::RevenueBody;
#[cfg(test)]
pub(crate) use schema::ADDITIONS;
pub(crate) use schema::additions_are_optional;

use crate::ids::{AppId, CollapseKey, DestinationId, EventId, OrgId, PlatformId};
use crate::time::Timestamp;
use data::Data;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The type of the event that carries the whole record of a purchase.
pub const PURCHASE_UPDATED: &str = "purchase.updated";
pub const PURCHASE_VERSION: &str = "2.0";

/// The input of the body of one `purchase.updated`.
#[derive(Debug, Clone, Copy)]
pub struct PurchaseUpdated<'a> {
    /// The company that runs the installation.
    pub org_id: OrgId,
    pub app_id: AppId,
    pub platform_id: PlatformId,
    pub collapse_key: CollapseKey,
    pub event_id: EventId,
    pub event_time: Timestamp,
    pub revision: i64,
    /// Number of the store's notifications that were settled in this revision.
    pub coalesced: i64,
    /// Whether the revision includes the store's last answer: the opposite of `Purchase::is_unverified`.
    pub is_verified: bool,
    /// When the newest transition of the revision occurred, by the store's clock.
    pub occurred_at: Option<Timestamp>,
    /// The record, as returned by the function `data`.
    pub data: &'a Value,
}

/// The complete record of a purchase after a change.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PurchaseBody<'a> {
    /// Metadata of the event.
    attributes: Attributes,
    /// Record of the purchase.
    #[schemars(with = "Data<'_>")]
    data: &'a Value,
}

/// Metadata of the event.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transform = additions_are_optional)]
struct Attributes {
    /// Id of the app.
    app_id: Option<Uuid>,
    /// Number of the store's notifications that were settled in this revision.
    #[schemars(range(min = 0))]
    coalesced: i64,
    /// Key of the purchase. Store the latest event of each key.
    collapse_key: String,
    /// Id of the event, the same for every destination.
    event_id: Uuid,
    /// When the change was recorded.
    event_time: Timestamp,
    /// Type of the event.
    #[schemars(extend("const" = PURCHASE_UPDATED))]
    event_type: &'static str,
    /// When the latest transition of this revision occurred, by the store's clock; null without a transition, or if its
    /// time is not known.
    occurred_at: Option<Timestamp>,
    /// Id of the installation.
    org_id: Option<Uuid>,
    /// Id of the platform: the app on one store.
    platform_id: Option<Uuid>,
    /// Latest revision that this destination had acknowledged before the first attempt of this event.
    #[schemars(range(min = 1))]
    previous_acked_revision: Option<i64>,
    /// Number that increases by one with each change of the purchase.
    #[schemars(range(min = 1))]
    revision: i64,
    /// SHA-256 of the RFC 8785 form of `data`.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    state_digest: String,
    /// Id of the destination that receives this delivery.
    subscription_id: Option<Uuid>,
    /// Whether this revision includes the store's last answer about the purchase; false while it is based on
    /// notifications only. A later check that confirms the revision creates no new one.
    verified: bool,
    /// Version of the schema.
    #[schemars(extend("const" = PURCHASE_VERSION))]
    version: &'static str,
}

impl PurchaseUpdated<'_> {
    /// Returns the body as it is stored: fields that differ for each destination are null.
    pub fn body(&self) -> Value {
        let attributes = Attributes {
            app_id: Some(self.app_id.uuid()),
            coalesced: self.coalesced,
            collapse_key: self.collapse_key.to_string(),
            event_id: self.event_id.uuid(),
            event_time: self.event_time,
            event_type: PURCHASE_UPDATED,
            occurred_at: self.occurred_at,
            org_id: Some(self.org_id.uuid()),
            platform_id: Some(self.platform_id.uuid()),
            previous_acked_revision: None,
            revision: self.revision,
            state_digest: state_digest(self.data),
            subscription_id: None,
            verified: self.is_verified,
            version: PURCHASE_VERSION,
        };
        serde_json::to_value(PurchaseBody {
            attributes,
            data: self.data,
        })
        .unwrap_or_default()
    }
}

/// Returns the body as it is sent to one destination. `previous_acked_revision` is the latest revision that this
/// destination had acknowledged before the first attempt. The body is stored with it, so all attempts send the same
/// body.
pub fn for_destination(
    mut body: Value,
    destination: DestinationId,
    previous_acked_revision: Option<i64>,
) -> Value {
    if let Some(attributes) = body.get_mut("attributes").and_then(Value::as_object_mut) {
        attributes.insert(
            "previous_acked_revision".to_owned(),
            json!(previous_acked_revision),
        );
        attributes.insert("subscription_id".to_owned(), json!(destination));
    }
    body
}
