//! Why: what explains a notification, a purchase, an event or a destination, as facts. The words are the API's.

mod destination;
mod events;
mod notifications;

pub use destination::{Addressee, Owes, Portrait, owes};
pub use events::{AnnouncedEvent, EventFacts, PaymentFacts, Sending, Successor};
pub use notifications::ReceivedNotification;

use crate::{Error, Page, PurchaseView, Store, purchase};
use domain::{CollapseKey, DestinationId, EventId, Timestamp};

/// So many of a purchase's notifications and events are explained, the newest.
const MOST: i64 = 100;

/// What explains one message of a store.
#[derive(Debug, Clone, PartialEq)]
pub struct OfMessage {
    /// What it told, one for each purchase.
    pub notifications: Vec<(ReceivedNotification, Vec<AnnouncedEvent>)>,
    /// Whom events are told, of all apps concerned.
    pub addressees: Vec<Addressee>,
    /// As of when.
    pub now: Timestamp,
}

/// What explains a purchase.
#[derive(Debug, Clone, PartialEq)]
pub struct OfPurchase {
    /// The purchase; `None` when it is not settled yet.
    pub purchase: Option<PurchaseView>,
    /// What was told to us, the oldest first.
    pub notifications: Vec<ReceivedNotification>,
    /// What we told, the oldest first.
    pub events: Vec<AnnouncedEvent>,
    /// Whether there is more than is shown, and older.
    pub has_older: bool,
    /// Whom events of its app are told.
    pub addressees: Vec<Addressee>,
    /// Whether its store never knew its receipt, and its platform has such ones believed.
    pub is_believed: bool,
    /// Since when its store says that another receipt took its place, while nothing is known of that one.
    pub successor_missing_since: Option<Timestamp>,
    /// As of when.
    pub now: Timestamp,
}

/// What explains an event.
#[derive(Debug, Clone, PartialEq)]
pub struct OfEvent {
    /// What was settled in its revision, the oldest first.
    pub notifications: Vec<ReceivedNotification>,
    /// The event.
    pub event: AnnouncedEvent,
    /// Whom events of its app are told.
    pub addressees: Vec<Addressee>,
    /// As of when.
    pub now: Timestamp,
}

/// What explains a destination.
#[derive(Debug, Clone, PartialEq)]
pub struct OfDestination {
    /// The destination and how it fares.
    pub portrait: Portrait,
    /// As of when.
    pub now: Timestamp,
}

impl Store {
    /// What became of a message, and what came of that.
    pub async fn explain_message(&self, message_id: &str) -> Result<OfMessage, Error> {
        let (clock, message_id) = (self.clock, message_id.to_owned());
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let (mut notifications, mut addressees) = (Vec::new(), Vec::new());
            for one in notifications::of_message(connection, &message_id, now)? {
                let events = match (one.view.collapse_key, one.view.revision) {
                    (Some(key), Some(revision)) => events::of_revision(connection, (key, revision), now)?,
                    _ => Vec::new(),
                };
                destination::add_addressees(connection, &events, &mut addressees)?;
                notifications.push((one, events));
            }
            if notifications.is_empty() {
                return Err(Error::Missing { what: "notification of this message" });
            }
            Ok(OfMessage { notifications, addressees, now })
        })
        .await
    }

    /// The story of a purchase: its newest notifications and events, and what became of each.
    pub async fn explain_purchase(&self, key: CollapseKey) -> Result<OfPurchase, Error> {
        let page = Page { cursor: None, limit: MOST };
        let purchase = match self.purchase(key).await {
            Err(Error::Missing { .. }) => None,
            found => Some(found?),
        };
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let (notifications, older_notifications) = notifications::of_purchase(connection, key, (page.size(), now))?;
            if notifications.is_empty() && purchase.is_none() {
                return Err(Error::Missing { what: "purchase" });
            }
            let (events, older_events) = events::of_purchase(connection, key, (page.size(), now))?;
            let mut addressees = Vec::new();
            destination::add_addressees(connection, &events, &mut addressees)?;
            let known = purchase::find(connection, key)?.map(|row| row.known()).transpose()?.unwrap_or_default();
            Ok(OfPurchase {
                purchase,
                notifications,
                events,
                has_older: older_notifications || older_events,
                addressees,
                is_believed: known.is_believed(),
                successor_missing_since: known.successor_missing_since(),
                now,
            })
        })
        .await
    }

    /// An event: what caused it, and to whom it went.
    pub async fn explain_event(&self, id: EventId) -> Result<OfEvent, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let event = events::of_id(connection, id, now)?.ok_or(Error::Missing { what: "event" })?;
            let revision = (event.event.collapse_key, event.event.revision);
            let notifications = notifications::of_revision(connection, revision, (MOST, now))?;
            let mut addressees = Vec::new();
            destination::add_addressees(connection, std::slice::from_ref(&event), &mut addressees)?;
            Ok(OfEvent { notifications, event, addressees, now })
        })
        .await
    }

    /// A destination: how it fares, what is owed to it and what died on the way.
    pub async fn explain_destination(&self, id: DestinationId) -> Result<OfDestination, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let portrait = destination::portrait(connection, id, now)?.ok_or(Error::Missing { what: "destination" })?;
            Ok(OfDestination { portrait, now })
        })
        .await
    }
}
