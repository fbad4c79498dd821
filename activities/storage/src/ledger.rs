//! The ledger as the API shows it: purchases, events, deliveries and their attempts.

use crate::{Error, Page, Paged, Store};
use domain::{AppId, CollapseKey, DeliveryId, DestinationId, EventId, PlatformId, Timestamp};
use serde::Serialize;

/// Which purchases are wanted; all that are given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurchaseFilter {
    /// Of this platform.
    pub platform_id: Option<PlatformId>,
    /// With this receipt.
    pub receipt_id: Option<String>,
    /// Of this customer.
    pub app_user_id: Option<String>,
}

/// Which events are wanted; all that are given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this purchase.
    pub collapse_key: Option<CollapseKey>,
    /// Of this type.
    pub event_type: Option<String>,
}

/// Which deliveries are wanted; all that are given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Of this purchase.
    pub collapse_key: Option<CollapseKey>,
    /// To this destination.
    pub destination_id: Option<DestinationId>,
    /// In this status.
    pub status: Option<String>,
}

/// A purchase as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PurchaseView {
    /// What names it.
    pub collapse_key: CollapseKey,
    /// Its platform.
    pub platform_id: PlatformId,
    /// Its app.
    pub app_id: AppId,
    /// The store's name of it.
    pub receipt_id: String,
    /// The store's name of the customer.
    pub app_user_id: Option<String>,
    /// Its revision.
    pub revision: i64,
    /// Its state.
    pub state: String,
    /// Until when it is held.
    pub held_until: Option<Timestamp>,
    /// When it was settled last.
    pub updated_at: Timestamp,
    /// The body of its newest `purchase.updated`; null before the first.
    pub data: serde_json::Value,
}

/// An event as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventView {
    /// Its id.
    pub id: EventId,
    /// Its purchase.
    pub collapse_key: CollapseKey,
    /// Its type.
    pub event_type: String,
    /// The purchase's revision that it tells.
    pub revision: i64,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Its body, as no destination in particular gets it.
    pub body: serde_json::Value,
}

/// A delivery as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryView {
    /// Its id, and the `webhook-id`.
    pub id: DeliveryId,
    /// The event.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// Whom it goes to.
    pub destination_id: DestinationId,
    /// The purchase's revision that the event tells.
    pub revision: i64,
    /// `pending`, `delivered`, `superseded` or `dead`.
    pub status: String,
    /// How many attempts were finished.
    pub attempts: i64,
    /// When the next attempt is due, while pending.
    pub next_due_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// An attempt as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptView {
    /// Which attempt of its delivery, from 1.
    pub number: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub latency_ms: i64,
    /// The status of the answer, when there was one.
    pub status: Option<i32>,
    /// A stable word for how it went.
    pub class: String,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response: Option<String>,
}

impl Store {
    /// Purchases, the last settled first.
    pub async fn purchases(&self, filter: PurchaseFilter, page: Page) -> Result<Paged<PurchaseView>, Error> {
        todo!()
    }

    /// One purchase.
    pub async fn purchase(&self, key: CollapseKey) -> Result<PurchaseView, Error> {
        todo!()
    }

    /// Events, the newest first.
    pub async fn events(&self, filter: EventFilter, page: Page) -> Result<Paged<EventView>, Error> {
        todo!()
    }

    /// Deliveries, the newest first.
    pub async fn deliveries(&self, filter: DeliveryFilter, page: Page) -> Result<Paged<DeliveryView>, Error> {
        todo!()
    }

    /// One delivery.
    pub async fn delivery(&self, id: DeliveryId) -> Result<DeliveryView, Error> {
        todo!()
    }

    /// The attempts of a delivery, the oldest first.
    pub async fn attempts(&self, id: DeliveryId) -> Result<Vec<AttemptView>, Error> {
        todo!()
    }
}
