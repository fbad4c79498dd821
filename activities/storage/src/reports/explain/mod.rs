//! Explanations of a store's message, a purchase, an event or a destination, as facts. The API turns them into
//! sentences.

mod claims;
mod destination;
mod events;
mod newest;
mod notifications;

pub use claims::ClaimView;
pub use destination::{Addressee, Backlog, DestinationExplanation, backlog, of_app};
pub use events::{AnnouncedEvent, Concerned, EventFacts, PaymentFacts, Sending, Successor};
pub use notifications::{ReceivedNotification, STATED_TIME, Stated};

use crate::purchases::purchase;
use crate::reports::duties::{self, DutyView};
use crate::reports::listing::PurchaseView;
use crate::store::Store;
use db::error::Error;
use domain::{CollapseKey, DestinationId, EventId, PlatformId, Timestamp};
use newest::Newest;

/// The explanation of a store's message.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageExplanation {
    /// Notifications of the message, one for each purchase, with the events that followed.
    pub notifications: Vec<(ReceivedNotification, Vec<AnnouncedEvent>)>,
    /// The destinations of the events' apps.
    pub addressees: Vec<Addressee>,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PurchaseExplanation {
    /// The purchase; `None` if it is not settled yet.
    pub purchase: Option<PurchaseView>,
    pub platform_id: PlatformId,
    /// The platform's store, such as `amazon`.
    pub store: String,
    pub notifications: Vec<ReceivedNotification>,
    pub events: Vec<AnnouncedEvent>,
    /// Devices' claims of the purchase, verified ones first.
    pub claims: Vec<ClaimView>,
    /// Duties to the store about the purchase and its orders.
    pub duties: Vec<DutyView>,
    /// Whether older notifications or events are not shown.
    pub has_older: bool,
    pub addressees: Vec<Addressee>,
    /// Whether the store does not know the purchase, and the platform is set to trust such purchases.
    pub is_believed: bool,
    /// Since when the store has shown a replacement purchase that settle does not know; `None` if there is none.
    pub successor_missing_since: Option<Timestamp>,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EventExplanation {
    /// The notifications that were settled in the event's revision, oldest first.
    pub notifications: Vec<ReceivedNotification>,
    pub event: AnnouncedEvent,
    pub addressees: Vec<Addressee>,
    pub now: Timestamp,
}

impl Store {
    /// Explains a message: its notifications, and the events of the revisions in which they were settled.
    pub async fn explain_message(&self, message_id: &str) -> Result<MessageExplanation, Error> {
        let message_id = message_id.to_owned();
        self.read_now(move |connection, now| {
            let mut notifications = Vec::new();
            for one in notifications::of_message(connection, &message_id, now)? {
                let events = match (one.view.collapse_key, one.view.revision) {
                    (Some(key), Some(revision)) => {
                        events::of_revision(connection, key, revision, now)?
                    }
                    _ => Vec::new(),
                };
                notifications.push((one, events));
            }
            if notifications.is_empty() {
                return Err(Error::Missing { what: "message" });
            }
            let events = notifications.iter().flat_map(|(_, events)| events);
            let addressees = destination::addressees(connection, events)?;
            Ok(MessageExplanation {
                notifications,
                addressees,
                now,
            })
        })
        .await
    }

    /// Explains a purchase: its newest notifications and events, with their deliveries.
    pub async fn explain_purchase(&self, key: CollapseKey) -> Result<PurchaseExplanation, Error> {
        let purchase = match self.purchase(key).await {
            Err(Error::Missing { .. }) => None,
            found => Some(found?),
        };
        self.read_now(move |connection, now| {
            let notifications = Newest::of(notifications::of_purchase(connection, key, now)?);
            let events = events::of_purchase(connection, key, now)?;
            let known = purchase::find(connection, key)?
                .map(|row| row.known())
                .transpose()?
                .unwrap_or_default();
            let origin = purchase::origin(connection, key)?;
            let origin = origin.map(|origin| (origin.platform_id, origin.store));
            let claimed = claims::platform(connection, key)?
                .map(|claimed| (claimed.platform_id, claimed.store));
            let (platform_id, store) = origin
                .or(claimed)
                .ok_or(Error::Missing { what: "purchase" })?;
            Ok(PurchaseExplanation {
                purchase,
                platform_id,
                store,
                has_older: notifications.has_older || events.has_older,
                notifications: notifications.all,
                addressees: destination::addressees(connection, &events.all)?,
                events: events.all,
                claims: claims::of_purchase(connection, key)?,
                duties: duties::of_purchase(connection, platform_id, key, &known)?,
                is_believed: known.is_believed(),
                successor_missing_since: known.successor_missing_since(),
                now,
            })
        })
        .await
    }

    /// Explains an event: the notifications that caused it, and its deliveries.
    pub async fn explain_event(&self, id: EventId) -> Result<EventExplanation, Error> {
        self.read_now(move |connection, now| {
            let event =
                events::of_id(connection, id, now)?.ok_or(Error::Missing { what: "event" })?;
            let EventFacts {
                collapse_key,
                revision,
                ..
            } = event.event;
            let notifications =
                notifications::of_revision(connection, collapse_key, revision, now)?;
            let addressees = destination::addressees(connection, [&event])?;
            Ok(EventExplanation {
                notifications,
                event,
                addressees,
                now,
            })
        })
        .await
    }

    /// Explains a destination: its health, its oldest pending deliveries and its newest failed ones.
    pub async fn explain_destination(
        &self,
        id: DestinationId,
    ) -> Result<DestinationExplanation, Error> {
        self.read_now(move |connection, now| {
            destination::find(connection, id, now)?.ok_or(Error::Missing {
                what: "destination",
            })
        })
        .await
    }
}
