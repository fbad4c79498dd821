//! Explanations of a notification, a purchase, an event or a destination, as facts. The sentences are the API's.

mod destination;
mod events;
mod newest;
mod notifications;

pub use destination::{Addressee, Owes, Portrait, owes};
pub use events::{AnnouncedEvent, EventFacts, PaymentFacts, Sending, Successor};
pub use notifications::ReceivedNotification;

use crate::db::error::Error;
use crate::db::store::Store;
use crate::purchases::purchase;
use crate::reports::listing::PurchaseView;
use domain::{CollapseKey, DestinationId, EventId, Timestamp};
use newest::Newest;

/// The explanation of one message of a store.
#[derive(Debug, Clone, PartialEq)]
pub struct OfMessage {
    /// Its notifications, one for each purchase, with the events that followed.
    pub notifications: Vec<(ReceivedNotification, Vec<AnnouncedEvent>)>,
    /// The destinations of all apps concerned.
    pub addressees: Vec<Addressee>,
    /// As of when.
    pub now: Timestamp,
}

/// The explanation of a purchase.
#[derive(Debug, Clone, PartialEq)]
pub struct OfPurchase {
    /// The purchase; `None` when it is not settled yet.
    pub purchase: Option<PurchaseView>,
    /// Its notifications, the oldest first.
    pub notifications: Vec<ReceivedNotification>,
    /// Its events, the oldest first.
    pub events: Vec<AnnouncedEvent>,
    /// Whether there are older ones that are not shown.
    pub has_older: bool,
    /// The destinations of its app.
    pub addressees: Vec<Addressee>,
    /// Whether its store never knew its receipt, and its platform believes such receipts.
    pub is_believed: bool,
    /// Since when its store shows that another receipt took its place, while that one is unknown.
    pub successor_missing_since: Option<Timestamp>,
    /// As of when.
    pub now: Timestamp,
}

/// The explanation of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct OfEvent {
    /// The notifications that were settled in its revision, the oldest first.
    pub notifications: Vec<ReceivedNotification>,
    /// The event.
    pub event: AnnouncedEvent,
    /// The destinations of its app.
    pub addressees: Vec<Addressee>,
    /// As of when.
    pub now: Timestamp,
}

impl Store {
    /// The notifications of a message, and the events that followed.
    pub async fn explain_message(&self, message_id: &str) -> Result<OfMessage, Error> {
        let message_id = message_id.to_owned();
        self.read_now(move |connection, now| {
            let mut notifications = Vec::new();
            for one in notifications::of_message(connection, &message_id, now)? {
                let events = match (one.view.collapse_key, one.view.revision) {
                    (Some(key), Some(revision)) => events::of_revision(connection, key, revision, now)?,
                    _ => Vec::new(),
                };
                notifications.push((one, events));
            }
            if notifications.is_empty() {
                return Err(Error::Missing { what: "notification of this message" });
            }
            let events = notifications.iter().flat_map(|(_, events)| events);
            let addressees = destination::addressees(connection, events)?;
            Ok(OfMessage { notifications, addressees, now })
        })
        .await
    }

    /// The history of a purchase: its newest notifications and events, with their deliveries.
    pub async fn explain_purchase(&self, key: CollapseKey) -> Result<OfPurchase, Error> {
        let purchase = match self.purchase(key).await {
            Err(Error::Missing { .. }) => None,
            found => Some(found?),
        };
        self.read_now(move |connection, now| {
            let notifications = Newest::of(notifications::of_purchase(connection, key, now)?);
            if notifications.all.is_empty() && purchase.is_none() {
                return Err(Error::Missing { what: "purchase" });
            }
            let events = events::of_purchase(connection, key, now)?;
            let known = purchase::find(connection, key)?.map(|row| row.known()).transpose()?.unwrap_or_default();
            Ok(OfPurchase {
                purchase,
                has_older: notifications.has_older || events.has_older,
                notifications: notifications.all,
                addressees: destination::addressees(connection, &events.all)?,
                events: events.all,
                is_believed: known.is_believed(),
                successor_missing_since: known.successor_missing_since(),
                now,
            })
        })
        .await
    }

    /// An event: the notifications that caused it, and its deliveries.
    pub async fn explain_event(&self, id: EventId) -> Result<OfEvent, Error> {
        self.read_now(move |connection, now| {
            let event = events::of_id(connection, id, now)?.ok_or(Error::Missing { what: "event" })?;
            let EventFacts { collapse_key, revision, .. } = event.event;
            let notifications = notifications::of_revision(connection, collapse_key, revision, now)?;
            let addressees = destination::addressees(connection, [&event])?;
            Ok(OfEvent { notifications, event, addressees, now })
        })
        .await
    }

    /// A destination: its health, what is owed to it and which deliveries died.
    pub async fn explain_destination(&self, id: DestinationId) -> Result<Portrait, Error> {
        self.read_now(move |connection, now| {
            destination::portrait(connection, id, now)?.ok_or(Error::Missing { what: "destination" })
        })
        .await
    }
}
