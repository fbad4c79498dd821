//! The events of one record: the owner's `user.*` events in their order, then the purchase's `purchase.updated`.
//!
//! Bodies are completed here, from the owner's purchases as they are in this transaction. The content of a body, and
//! which events there are, is `domain`'s.

use crate::connection::AnyConnection;
use crate::deliveries::{self, Event};
use crate::fault;
use crate::listing::Listings;
use crate::payments::{self, Booking};
use crate::purchase::{self, Origin};
use crate::record::Record;
use crate::statement::{row, sql};
use crate::users::{self, UserRow};
use crate::writer::Write;
use crate::{Destination, Error, Installation, profiles, views};
use domain::event::{Details, PURCHASE_UPDATED, PurchaseUpdated};
use domain::user::{self, Attributes, Customer, Owned, UserEvent};
use domain::{AppId, CollapseKey, DestinationId, Environment, EventId, PlatformId, Timestamp, UserId};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// Everything that the events of a record are made from.
pub struct Announcement<'a> {
    /// The decision.
    pub record: &'a Record,
    /// The app and platform of the purchase.
    pub origin: &'a Origin,
    /// Its owner, locked, and the store's name of them.
    pub owner: Option<(&'a UserRow, Option<&'a str>)>,
    /// The installation.
    pub installation: Installation,
    /// The purchase's revision that is announced.
    pub revision: i64,
    /// How many notifications were settled in it.
    pub coalesced: i64,
    /// The purchase's record.
    pub data: &'a Value,
    /// The fields of the purchase that every event has beside the documented ones.
    pub details: &'a Details,
}

/// The columns of an event beside those that a delivery needs.
pub struct StoredEvent {
    /// The user, who never changes, and which of their revisions it carries, if it carries one.
    pub user: Option<(UserId, Option<i64>)>,
    /// When it happened by the store.
    pub occurred_at: Option<Timestamp>,
    /// Its body before it is rendered for a destination.
    pub body: String,
    /// The environment of its purchase, which decides the destinations that are owed it; none for an event about a
    /// destination.
    pub environment: Option<Environment>,
    /// The user's state over their purchases in the environment of this event, if the body has another one.
    pub state_apart: Option<String>,
    /// More attributes of the user in that environment, where an integration keeps them.
    pub profile: Option<String>,
    /// Both for destinations that want certain platforms only, see [`crate::views`].
    pub views: Option<String>,
}

/// The state of their user that the events of a record carry, and the destinations that are owed one of them.
pub struct Carried {
    /// The user's revision.
    pub user_revision: i64,
    /// The destinations that are owed one of the events.
    pub to: BTreeSet<DestinationId>,
}

row! {
    struct OwnedRow {
        collapse_key: CollapseKey,
        platform_id: PlatformId,
        platform_type: String,
        environment: Environment,
        product_ref: String,
        purchase: String,
        real_at: Option<Timestamp>,
    }
}

/// Writes the events of a revision, and owes each to every destination that chose its type. `None` when none of them
/// carries the user's state. The ledger is written first, since the user's state has its sum.
pub fn announce(
    write: &mut Write<'_>,
    (announcement, booking): (&Announcement<'_>, &Booking),
    destinations: &[Destination],
) -> Result<Option<Carried>, Error> {
    let happened = announcement.happened();
    let event_ids: Vec<EventId> = happened.iter().map(|event| event.id).collect();
    payments::enter(write, (announcement, booking), &event_ids)?;
    let carried = if happened.is_empty() {
        None
    } else {
        Some(announce_user_events(write, announcement, (&happened, destinations))?)
    };
    payments::announce(write, (announcement, booking), destinations)?;
    let event = announcement.event(PURCHASE_UPDATED, 0);
    let body = PurchaseUpdated {
        org_id: announcement.installation.org_id,
        app_id: announcement.origin.app_id,
        platform_id: announcement.origin.platform_id,
        collapse_key: event.collapse_key,
        event_id: event.id,
        event_time: write.now,
        revision: event.revision,
        is_verified: !announcement.record.decision.purchase.is_unverified(),
        occurred_at: announcement.record.decision.transitions.iter().filter_map(|transition| transition.at).max(),
        coalesced: announcement.coalesced,
        data: announcement.data,
    }
    .body()
    .to_string();
    let user = announcement.owner.map(|(owner, _)| (owner.id, None));
    let environment = Some(announcement.environment());
    let stored =
        StoredEvent { user, occurred_at: None, environment, body, state_apart: None, profile: None, views: None };
    store(write, (&event, announcement.origin), stored, destinations)?;
    Ok(carried)
}

/// All events of one settling carry the same state of the user, which is one revision of it.
fn announce_user_events(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    (events, destinations): (&[Event], &[Destination]),
) -> Result<Carried, Error> {
    let (user, app_user_id) = announcement.owner.ok_or(Error::Missing { what: "user" })?;
    let user_revision = users::raise_revision(write, user)?;
    let mut owned = owned(write.connection, announcement.origin.app_id, user.id)?;
    if fault::is_planted("record.stale_user") {
        owned.retain(|one| one.collapse_key != announcement.record.collapse_key);
    }
    let environment = announcement.environment();
    let state_apart = user::state_apart(&owned, environment).map(|state| state.to_string());
    let is_extended = destinations.iter().any(|one| one.profile == Some(Attributes::Extended));
    let profile = if is_extended {
        let profile = profiles::of(write.connection, user.id, (&owned, environment))?;
        Some(profile.extended().to_string())
    } else {
        None
    };
    let views = views::of(write.connection, (user.id, &owned, environment), destinations)?;
    let mut to = BTreeSet::new();
    let customer = Customer {
        user_id: user.id,
        external_id: user.external_id.clone(),
        app_user_id: app_user_id.map(str::to_owned),
    };
    for (transition, event) in announcement.record.decision.transitions.iter().zip(events) {
        let body = UserEvent {
            id: event.id,
            event_type: transition.what.event_type(),
            event_platform: &announcement.origin.store,
            receipt_id: &announcement.origin.receipt_id,
            details: announcement.details,
            occurred_at: transition.at,
            created_at: write.now,
            customer: &customer,
            user_revision,
            owned: &owned,
        }
        .body()
        .to_string();
        let of_user = Some((user.id, Some(user_revision)));
        let (state_apart, profile, views) = (state_apart.clone(), profile.clone(), views.clone());
        let environment = Some(environment);
        let stored =
            StoredEvent { user: of_user, occurred_at: transition.at, environment, body, state_apart, profile, views };
        to.extend(store(write, (event, announcement.origin), stored, destinations)?);
    }
    Ok(Carried { user_revision, to })
}

/// All purchases of a user as they are stored, in the order of their keys.
pub fn owned(connection: &mut AnyConnection, app: AppId, user: UserId) -> Result<Vec<Owned>, Error> {
    let rows: Vec<OwnedRow> =
        sql("SELECT p.collapse_key, p.platform_id, f.store AS platform_type, f.environment, f.product_ref, \
         p.purchase, r.real_at FROM purchases p JOIN platforms f ON f.id = p.platform_id \
         LEFT JOIN replacements r ON r.old_key = p.collapse_key WHERE p.user_id = ? ORDER BY p.collapse_key")
        .bind(user)
        .all(connection)?;
    let mut listings = Listings::of(app);
    rows.into_iter()
        .map(|row| {
            let purchase = purchase::read(&row.purchase)?;
            Ok(Owned {
                collapse_key: row.collapse_key,
                platform_id: row.platform_id,
                platform_type: row.platform_type,
                environment: purchase.environment(row.environment),
                is_replaced: row.real_at.is_some(),
                product_ref: purchase::product_ref(&row.product_ref),
                listing: listings.find(connection, &purchase)?,
                purchase,
            })
        })
        .collect()
}

impl Announcement<'_> {
    /// The environment of the purchase.
    pub fn environment(&self) -> Environment {
        self.record.decision.purchase.environment(self.origin.environment)
    }

    /// The events of the transitions, in their order.
    fn happened(&self) -> Vec<Event> {
        let mut times: HashMap<&str, u32> = HashMap::new();
        let transitions = self.record.decision.transitions.iter();
        let event = |event_type| {
            let n = times.entry(event_type).or_insert(0);
            *n += 1;
            self.event(event_type, *n - 1)
        };
        transitions.map(|transition| transition.what.event_type()).map(event).collect()
    }

    /// Event number `n` of a type in this revision.
    pub fn event(&self, event_type: &str, n: u32) -> Event {
        let key = self.record.collapse_key;
        let named = if fault::is_planted("record.reuse_event_id") { 1 } else { self.revision };
        Event {
            id: EventId::of(key, self.installation.epoch, named, event_type, n),
            event_type: event_type.to_owned(),
            collapse_key: key,
            revision: self.revision,
            traceparent: self.record.traceparent.clone(),
        }
    }
}

/// Stores an event and owes it to the destinations that chose it; returns them.
fn store(
    write: &mut Write<'_>,
    (event, origin): (&Event, &Origin),
    stored: StoredEvent,
    destinations: &[Destination],
) -> Result<Vec<DestinationId>, Error> {
    let environment = stored.environment.unwrap_or(origin.environment);
    insert(write, event, stored)?;
    let mut to = Vec::new();
    for destination in destinations {
        if destination.chose(&event.event_type) && destination.filter.wants(origin.platform_id, environment) {
            deliveries::owe(write, event, destination.id, 0)?;
            to.push(destination.id);
        }
    }
    Ok(to)
}

/// Stores an event. It is owed to nobody yet.
pub fn insert(write: &mut Write<'_>, event: &Event, stored: StoredEvent) -> Result<(), Error> {
    sql("INSERT INTO events (id, collapse_key, event_type, revision, user_id, user_revision, occurred_at, \
         environment, body, state_apart, profile, views, traceparent, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(event.id)
    .bind(event.collapse_key)
    .bind(event.event_type.as_str())
    .bind(event.revision)
    .bind(stored.user.map(|(id, _)| id))
    .bind(stored.user.and_then(|(_, revision)| revision))
    .bind(stored.occurred_at)
    .bind(stored.environment.map(|environment| environment.as_str()))
    .bind(stored.body)
    .bind(stored.state_apart)
    .bind(stored.profile)
    .bind(stored.views)
    .bind(event.traceparent.as_deref())
    .bind(write.now)
    .run(write.connection)
    .map(drop)
}
