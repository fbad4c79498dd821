//! The events of one record: the owner's `user.*` events in their order, then the purchase's `purchase.updated`.
//!
//! Bodies are completed here, from the owner's purchases as they are in this transaction. The content of a body, and
//! which events there are, is `domain`'s.

use crate::db::error::Error;
use crate::db::fault;
use crate::db::writer::Write;
use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::purchases::owned::owned;
use crate::purchases::purchase::Origin;
use crate::purchases::users;
use crate::settings::destinations::Destination;
use crate::settling::payments::{self, Booking};
use crate::settling::revision::{Announcement, Carried};
use crate::settling::{profiles, views};
use domain::event::{PURCHASE_UPDATED, PurchaseUpdated};
use domain::user::{self, Attributes, Customer, UserEvent};
use domain::{DestinationId, EventId};
use std::collections::BTreeSet;

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
            event_type: transition.kind.event_type(),
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
