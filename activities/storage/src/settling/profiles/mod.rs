//! Profiles: the user attributes that integrations were owed last, and those that they are owed now.
//!
//! For each integration, user and environment the digest of the profile that it was owed last is stored. A settling, or
//! a snapshot, compares it with the profile as it is in its transaction: an event that carries the user's state updates
//! the digest, and where none is owed a `profile.updated` is. So each change is sent once, for any cause.
//!
//! A profile covers the purchases that the integration's filter wants.
//!
//! Digests are noted under the user's lock, and apart from `user_lanes`, whose rows claims hold. A profile that did not
//! arrive is noted without a lock of the user: then one profile too many is sent, never one too few. The purchase of a
//! delivery that died is rechecked, a few times for each state; a profile that was skipped or refused is owed by
//! another state or a snapshot.

mod owed;

pub use owed::{Failure, Trigger, forget, forget_all};

use crate::db::config::Installation;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::writer::Write;
use crate::events::deliveries::{self, Event};
use crate::events::event::{self, StoredEvent};
use crate::purchases::owned::owned;
use crate::purchases::purchase::Origin;
use crate::purchases::users::{self, UserRow};
use crate::settings::destinations::Destination;
use crate::settling::payments;
use crate::settling::revision::Carried;
use domain::ids::ProfileScope;
use domain::user::{self, Attributes, OwnedPurchase, PROFILE_UPDATED, Profile, ProfileUpdated};
use domain::{CollapseKey, DestinationId, Environment, EventId, PlatformId, UserId};
use owed::Place;
use std::collections::{BTreeMap, BTreeSet};

/// A user whose profile may have changed, and the purchase by which that was noticed. Its user and purchase are locked.
pub struct Subject<'a> {
    /// The purchase, in whose lanes a profile is sent.
    pub collapse_key: CollapseKey,
    /// Its revision.
    pub revision: i64,
    /// Its environment.
    pub environment: Environment,
    /// The app and platform of the purchase.
    pub origin: &'a Origin,
    /// Its owner.
    pub owner: &'a UserRow,
    /// The installation.
    pub installation: Installation,
    /// What checks it.
    pub trigger: Trigger,
    /// The trace that caused it.
    pub traceparent: Option<&'a str>,
}

/// Both environments, each with a profile of its own.
const ENVIRONMENTS: [Environment; 2] = [Environment::Production, Environment::Sandbox];

/// A profile, and the integrations with another digest of it.
struct Changed {
    environment: Environment,
    /// The platforms that it covers; empty for all.
    platforms: Vec<PlatformId>,
    profile: Profile,
    due: Vec<Due>,
}

/// An integration that has another profile.
struct Due {
    destination: DestinationId,
    digest: String,
    known: BTreeSet<String>,
    /// Whether it may have an attribute that is not known any more. Only a profile of its own removes it.
    removes: bool,
}

/// Whether an integration has another profile of an owner than the present one.
pub fn is_due(
    connection: &mut AnyConnection,
    (origin, owner): (&Origin, &UserRow),
    destination: &Destination,
) -> Result<bool, Error> {
    let all = std::slice::from_ref(destination);
    Ok(!changed(connection, (origin, owner), (all, Trigger::Snapshot))?.is_empty())
}

/// The profile of the user of these purchases in an environment.
pub fn of(
    connection: &mut AnyConnection,
    user: UserId,
    (owned, environment): (&[OwnedPurchase], Environment),
) -> Result<Profile, Error> {
    let owned: Vec<OwnedPurchase> = owned.iter().filter(|one| one.environment == environment).cloned().collect();
    let ledger = payments::paid_by(connection, (user, environment))?;
    let entries = owned.iter().map(|one| (one, ledger.get(&one.collapse_key).copied()));
    Ok(Profile::of(&owned, user::paid_in_usd(entries)))
}

/// Updates the digests of these destinations, and owes the profile to those that get no event of this record with all
/// of it; returns whether it is owed to any.
pub fn owe(
    write: &mut Write<'_>,
    subject: &Subject<'_>,
    (destinations, carried): (&[Destination], Option<&Carried>),
) -> Result<bool, Error> {
    let (user, origin) = (subject.owner.id, subject.origin);
    let changed = changed(write.connection, (origin, subject.owner), (destinations, subject.trigger))?;
    let mut revision = carried.map(|carried| carried.user_revision);
    let mut is_owed = false;
    for changed in changed {
        let environment = changed.environment;
        let carriers = carried.filter(|_| environment == subject.environment);
        let mut to = Vec::new();
        for Due { destination, digest, known, removes } in &changed.due {
            owed::note(write, Place { destination: *destination, user, environment }, (digest, known))?;
            if *removes || carriers.is_none_or(|carried| !carried.to.contains(destination)) {
                to.push(*destination);
            }
        }
        if to.is_empty() {
            continue;
        }
        let user_revision = match revision {
            Some(revision) => revision,
            None => users::raise_revision(write, subject.owner)?,
        };
        revision = Some(user_revision);
        let event = insert(write, subject, (&changed, user_revision))?;
        for destination in to {
            deliveries::owe_in(write, (&event, environment), destination)?;
        }
        is_owed = true;
    }
    Ok(is_owed)
}

/// The profiles that differ from what these destinations were owed last.
fn changed(
    connection: &mut AnyConnection,
    (origin, owner): (&Origin, &UserRow),
    (destinations, trigger): (&[Destination], Trigger),
) -> Result<Vec<Changed>, Error> {
    let mut keeping: BTreeMap<Vec<PlatformId>, Vec<(&Destination, Attributes)>> = BTreeMap::new();
    for (destination, attributes) in destinations.iter().filter_map(|one| Some((one, one.profile?))) {
        keeping.entry(destination.filter.sorted_platforms()).or_default().push((destination, attributes));
    }
    if keeping.is_empty() {
        return Ok(Vec::new());
    }
    let owned = owned(connection, origin.app_id, owner.id)?;
    let mut all = Vec::new();
    for environment in ENVIRONMENTS {
        for (platforms, keeping) in &keeping {
            let wants = |one: &&(&Destination, Attributes)| one.0.filter.wants(origin.platform_id, environment);
            let keeping: Vec<_> = keeping.iter().filter(wants).collect();
            if keeping.is_empty() {
                continue;
            }
            let covered = user::on_platforms(&owned, platforms);
            let profile = of(connection, owner.id, (&covered, environment))?;
            let mut due = Vec::new();
            for (destination, attributes) in keeping {
                let place = Place { destination: destination.id, user: owner.id, environment };
                due.extend(self::due(connection, place, (&profile, *attributes, owner, trigger))?);
            }
            if !due.is_empty() {
                all.push(Changed { environment, platforms: platforms.clone(), profile, due });
            }
        }
    }
    Ok(all)
}

/// The profile that an integration is owed, if it has another one.
fn due(
    connection: &mut AnyConnection,
    place: Place,
    (profile, attributes, owner, trigger): (&Profile, Attributes, &UserRow, Trigger),
) -> Result<Option<Due>, Error> {
    let digest = profile.digest(attributes, owner.external_id.as_deref());
    let (is_due, removes) = match owed::find(connection, place)? {
        Some(owed) => (owed.lacks(&digest, trigger), owed.outlives(profile, attributes)),
        // An integration that never got anything of a user does not need an empty profile.
        None => {
            let nothing = Profile::of(&[], user::paid_in_usd([]));
            (profile.digest(attributes, None) != nothing.digest(attributes, None), false)
        }
    };
    let known = profile.known(attributes);
    Ok(is_due.then_some(Due { destination: place.destination, digest, known, removes }))
}

fn insert(
    write: &mut Write<'_>,
    subject: &Subject<'_>,
    (changed, user_revision): (&Changed, i64),
) -> Result<Event, Error> {
    let (user, Changed { environment, platforms, profile, .. }) = (subject.owner.id, changed);
    let environment = *environment;
    let event = Event {
        id: EventId::of_profile(
            user,
            subject.installation.epoch,
            user_revision,
            ProfileScope { environment, platforms },
        ),
        event_type: PROFILE_UPDATED.to_owned(),
        collapse_key: subject.collapse_key,
        revision: subject.revision,
        traceparent: subject.traceparent.map(str::to_owned),
    };
    let body = ProfileUpdated {
        id: event.id,
        user_id: user,
        user_revision,
        created_at: write.now,
        environment,
        platform_environment: subject.origin.environment,
        profile,
    }
    .body()
    .to_string();
    let profile = Some(profile.extended().to_string());
    let stored = StoredEvent {
        user: Some((user, Some(user_revision))),
        occurred_at: None,
        body,
        environment: Some(environment),
        state_apart: None,
        profile,
        views: None,
    };
    event::insert(write, &event, stored)?;
    Ok(event)
}
