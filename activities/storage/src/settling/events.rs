//! The events of one record: the owner's `user.*` events in their order, then the purchase's `purchase.updated`.
//!
//! Bodies are completed here, from the owner's purchases as they are in this transaction. What a body says, and which
//! events there are, is `domain`'s.

use crate::db::error::Error;
use crate::db::fault;
use crate::db::writer::Write;
use crate::events::deliveries::{self, Event};
use crate::events::event::{Kept, insert};
use crate::purchases::owned::owned;
use crate::purchases::purchase::Origin;
use crate::purchases::users;
use crate::settings::destinations::Destination;
use crate::settling::payments::{self, Booking};
use crate::settling::revision::{Carried, Told};
use crate::settling::{profiles, views};
use domain::event::{PURCHASE_UPDATED, PurchaseUpdated};
use domain::user::{self, Attributes, Customer, UserEvent};
use domain::{DestinationId, EventId};
use std::collections::BTreeSet;

/// Writes the events of a revision, and what is owed of each to every destination that chose its type.
/// `None` when none of them carries the user's state. The ledger is written first, since the user's state has its sum.
pub fn tell(
    write: &mut Write<'_>,
    (told, booking): (&Told<'_>, &Booking),
    destinations: &[Destination],
) -> Result<Option<Carried>, Error> {
    let happened = told.happened();
    let event_ids: Vec<EventId> = happened.iter().map(|event| event.id).collect();
    payments::enter(write, (told, booking), &event_ids)?;
    let carried = if happened.is_empty() { None } else { Some(tell_user(write, told, (&happened, destinations))?) };
    payments::announce(write, (told, booking), destinations)?;
    let event = told.event(PURCHASE_UPDATED, 0);
    let body = PurchaseUpdated {
        org_id: told.installation.org_id,
        app_id: told.origin.app_id,
        platform_id: told.origin.platform_id,
        collapse_key: event.collapse_key,
        event_id: event.id,
        event_time: write.now,
        revision: event.revision,
        is_verified: !told.record.decision.purchase.is_unverified(),
        occurred_at: told.record.decision.transitions.iter().filter_map(|transition| transition.at).max(),
        coalesced: told.coalesced,
        data: told.data,
    }
    .body()
    .to_string();
    let user = told.owner.map(|(owner, _)| (owner.id, None));
    let environment = Some(told.environment());
    let kept = Kept { user, occurred_at: None, environment, body, state_apart: None, profile: None, views: None };
    keep(write, (&event, told.origin), kept, destinations)?;
    Ok(carried)
}

/// All events of one settling tell the same state of the user, which is one revision of it.
fn tell_user(
    write: &mut Write<'_>,
    told: &Told<'_>,
    (events, destinations): (&[Event], &[Destination]),
) -> Result<Carried, Error> {
    let (user, app_user_id) = told.owner.ok_or(Error::Missing { what: "user" })?;
    let user_revision = users::raise_revision(write, user)?;
    let mut owned = owned(write.connection, told.origin.app_id, user.id)?;
    if fault::is_planted("record.stale_user") {
        owned.retain(|one| one.collapse_key != told.record.collapse_key);
    }
    let environment = told.environment();
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
    for (transition, event) in told.record.decision.transitions.iter().zip(events) {
        let body = UserEvent {
            id: event.id,
            event_type: transition.what.event_type(),
            event_platform: &told.origin.store,
            receipt_id: &told.origin.receipt_id,
            details: told.details,
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
        let kept = Kept { user: of_user, occurred_at: transition.at, environment, body, state_apart, profile, views };
        to.extend(keep(write, (event, told.origin), kept, destinations)?);
    }
    Ok(Carried { user_revision, to })
}

/// Keeps an event; answers who is owed it.
fn keep(
    write: &mut Write<'_>,
    (event, told): (&Event, &Origin),
    kept: Kept,
    destinations: &[Destination],
) -> Result<Vec<DestinationId>, Error> {
    let environment = kept.environment.unwrap_or(told.environment);
    insert(write, event, kept)?;
    let mut to = Vec::new();
    for destination in destinations {
        if destination.chose(&event.event_type) && destination.filter.wants(told.platform_id, environment) {
            deliveries::owe(write, event, destination.id, 0)?;
            to.push(destination.id);
        }
    }
    Ok(to)
}
