//! The events of one record: the `user.*` events of the owner in their order, then one `revenue.adjusted` for each
//! change of a payment, then `purchase.updated`.
//!
//! Bodies are completed here with the owner's purchases as they are in this transaction. `domain` defines the content
//! of a body, and which events exist.

use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::purchases::owned::UserPurchases;
use crate::purchases::users;
use crate::settings::destinations::Destination;
use crate::settings::tombstones::is_tombstone;
use crate::settling::payments::Booking;
use crate::settling::revision::{Announcement, Carried};
use crate::settling::{profiles, views};
use db::error::Error;
use db::fault;
use db::writer::Write;
use domain::event::{PURCHASE_UPDATED, PurchaseUpdated};
use domain::user::{Attributes, Customer, UserEvent, UserState};
use domain::{AppId, DestinationId, EventId, Timestamp};
use std::collections::BTreeSet;

/// Writes the events of a revision, and queues each for the destinations that chose its type and want its purchase; for
/// `revenue.adjusted` see [`Booking::announce`]. Returns `None` when none of the events carries the state of the user.
/// The entries of the ledger are written first, because the user's profile contains their sum.
pub fn announce(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    booking: &Booking,
) -> Result<Option<Carried>, Error> {
    let transition_events = announcement.transition_events();
    let event_ids: Vec<EventId> = transition_events.iter().map(|event| event.id).collect();
    booking.enter(write, announcement, &event_ids)?;
    let carried = if transition_events.is_empty() {
        None
    } else {
        Some(announce_user_events(
            write,
            announcement,
            &transition_events,
        )?)
    };
    booking.announce(write, announcement)?;
    let (settling, event) = (
        announcement.settling,
        announcement.event(PURCHASE_UPDATED, 0),
    );
    let decision = &settling.record.decision;
    let body = PurchaseUpdated {
        org_id: settling.installation.org_id,
        app_id: settling.origin.app_id,
        platform_id: settling.origin.platform_id,
        collapse_key: event.collapse_key,
        event_id: event.id,
        event_time: write.now()?,
        revision: event.revision,
        is_verified: !decision.purchase.is_unverified(),
        occurred_at: decision
            .transitions
            .iter()
            .filter_map(|transition| transition.at)
            .max(),
        coalesced: announcement.coalesced,
        data: &announcement.description.data,
    }
    .body()
    .to_string();
    let stored = StoredEvent {
        user_id: settling.owner.map(|owner| owner.id),
        environment: Some(settling.environment()),
        ..StoredEvent::of(settling.origin.app_id, body)
    };
    store(write, announcement, &event, stored)?;
    Ok(carried)
}

/// Writes the `user.*` events. All of them carry the same state and revision of the user.
fn announce_user_events(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    events: &[Event],
) -> Result<Carried, Error> {
    let Announcement {
        settling,
        destinations,
        ..
    } = *announcement;
    let user = settling.owner.ok_or(Error::Missing { what: "user" })?;
    let user_revision = users::raise_revision(write, user)?;
    let mut owned = announcement.owned.clone();
    if fault::is_planted("record.stale_user") {
        owned.retain(|one| one.collapse_key != settling.record.collapse_key);
    }
    let purchases = UserPurchases {
        user: user.id,
        owned: &owned,
        environment: settling.environment(),
    };
    let shared = user_state(
        write,
        destinations,
        settling.origin.app_id,
        purchases,
        user_revision,
    )?;
    let customer = Customer {
        user_id: user.id,
        external_id: user.external_id.clone(),
        // A tombstone identifies no customer.
        app_user_id: settling
            .app_user_id
            .filter(|name| !is_tombstone(name))
            .map(str::to_owned),
    };
    let (state, mut to) = (
        UserState::apart(&owned, settling.environment()),
        BTreeSet::new(),
    );
    for (transition, event) in settling.record.decision.transitions.iter().zip(events) {
        let body = UserEvent {
            id: event.id,
            event_type: transition.kind.event_type(),
            event_platform: &settling.origin.store,
            receipt_id: &settling.origin.receipt_id,
            details: &announcement.description.details,
            occurred_at: transition.at,
            created_at: write.now()?,
            customer: &customer,
            user_revision,
            state: &state,
            devices: &announcement.devices,
            transfer: None,
        }
        .body()
        .to_string();
        to.extend(store(
            write,
            announcement,
            event,
            with_body(shared.clone(), transition.at, body),
        )?);
    }
    Ok(Carried { user_revision, to })
}

/// Returns the columns of events that carry a user's state at this revision, still without a body.
pub fn user_state(
    write: &mut Write<'_>,
    destinations: &[Destination],
    app: AppId,
    purchases: UserPurchases<'_>,
    user_revision: i64,
) -> Result<StoredEvent, Error> {
    let UserPurchases {
        user, environment, ..
    } = purchases;
    let is_extended = destinations
        .iter()
        .any(|one| one.profile == Some(Attributes::Extended));
    let profile = if is_extended {
        Some(
            profiles::of(write.connection, purchases)?
                .extended()
                .to_string(),
        )
    } else {
        None
    };
    Ok(StoredEvent {
        user_id: Some(user),
        user_revision: Some(user_revision),
        environment: Some(environment),
        profile,
        views: views::of(write.connection, purchases, destinations)?,
        ..StoredEvent::of(app, String::new())
    })
}

/// Adds the time and the body of an event to the columns of its state.
pub fn with_body(state: StoredEvent, occurred_at: Option<Timestamp>, body: String) -> StoredEvent {
    StoredEvent {
        occurred_at,
        body,
        ..state
    }
}

/// Stores an event and queues it for the destinations that chose its type and want its purchase; returns these
/// destinations.
pub fn store(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    event: &Event,
    stored: StoredEvent,
) -> Result<Vec<DestinationId>, Error> {
    insert(
        write,
        event,
        StoredEvent {
            causes: announcement.causes.clone(),
            ..stored
        },
    )?;
    let (platform, environment) = (
        announcement.settling.origin.platform_id,
        announcement.settling.environment(),
    );
    let mut to = Vec::new();
    for destination in announcement.destinations {
        if destination.chose(&event.event_type) && destination.filter.wants(platform, environment) {
            deliveries::queue(write, event, destination.id)?;
            to.push(destination.id);
        }
    }
    Ok(to)
}
