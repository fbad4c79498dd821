//! Profiles: the user attributes that were queued last for integrations, and those that are to be queued now. An
//! integration here is a destination that keeps attributes of users.
//!
//! For each integration, user and environment the digest of the last queued profile is stored. A settling or a backfill
//! compares it with the profile as it is in its transaction. If the two differ, the digest is updated, and the profile
//! is queued for the integration: by an event of the same record that carries the state of the user, or else by one
//! `profile.updated`. So each change is sent once, whatever caused it. Once a customer has a name, a profile is also
//! queued in each lane in which events were sent without the name.
//!
//! A profile covers the purchases that the integration's filter selects.
//!
//! Digests are written under the lock of the user, in a table apart from `user_lanes`, whose rows leasing locks. A
//! profile that did not arrive is noted without the lock of the user: a race may send a profile once too often, but
//! never loses one. If a delivery failed, its purchase is rechecked, at most three times for one state; if it was
//! skipped or refused, the profile is queued with another state of the user or by a backfill.

pub mod queued;

pub use queued::{Failure, Trigger, note_all_lost, note_failure};

use crate::events::deliveries::{self, Event};
use crate::events::event::{self, StoredEvent};
use crate::purchases::owned::{UserPurchases, Which, owned, shared_ahead};
use crate::purchases::purchase::Origin;
use crate::purchases::user_devices;
use crate::purchases::users::{self, UserRow};
use crate::settings::destinations::Destination;
use crate::settings::listing::Listings;
use crate::settling::payments;
use crate::settling::revision::Carried;
use db::connection::AnyConnection;
use db::error::Error;
use db::writer::Write;
use domain::ids::ProfileScope;
use domain::user::{self, Attributes, OwnedPurchase, PROFILE_UPDATED, Profile, ProfileUpdated};
use domain::{CollapseKey, DestinationId, Environment, EventId, PlatformId};
use queued::ProfileKey;
use std::collections::{BTreeMap, BTreeSet};

/// The comparison of a user's profile with the ones that were queued last for integrations.
#[derive(Clone, Copy)]
pub struct ProfileCheck<'a> {
    /// The app and platform of the purchase whose settling or backfill compares the profiles.
    pub origin: &'a Origin,
    pub owner: &'a UserRow,
    pub trigger: Trigger,
}

/// A user whose profile may have changed, and the purchase that was settled or that a backfill has reached. Both are
/// locked.
pub struct Subject<'a> {
    pub check: ProfileCheck<'a>,
    /// The purchase, in whose lanes a profile is sent.
    pub collapse_key: CollapseKey,
    pub revision: i64,
    pub environment: Environment,
    pub traceparent: Option<&'a str>,
}

/// Both environments, each with a profile of its own.
const ENVIRONMENTS: [Environment; 2] = [Environment::Production, Environment::Sandbox];

/// A destination that keeps profiles, with the attributes that it keeps.
struct Integration<'a> {
    destination: &'a Destination,
    attributes: Attributes,
}

/// A profile, and the integrations it is to be queued for.
struct ChangedProfile {
    environment: Environment,
    /// The platforms that the profile covers; empty for all.
    platforms: Vec<PlatformId>,
    profile: Profile,
    /// The user's own purchase in whose lanes it would be sent, if the profile covers its environment.
    lane: Option<CollapseKey>,
    due: Vec<DueProfile>,
}

/// A profile that is to be queued for one integration.
struct DueProfile {
    destination: DestinationId,
    digest: String,
    known: BTreeSet<String>,
    /// Whether the integration may have an attribute that the user no longer has. Only a `profile.updated` removes it.
    removes: bool,
}

/// Returns the profile of a user in an environment.
pub fn of(connection: &mut AnyConnection, purchases: UserPurchases<'_>) -> Result<Profile, Error> {
    let UserPurchases {
        user,
        owned,
        environment,
    } = purchases;
    let owned: Vec<OwnedPurchase> = owned
        .iter()
        .filter(|one| one.environment == environment)
        .cloned()
        .collect();
    let ledger = payments::paid_by(connection, user, environment)?;
    let entries = owned
        .iter()
        .map(|one| (one, ledger.get(&one.collapse_key).copied()));
    Ok(Profile::of(&owned, user::paid_in_usd(entries)))
}

/// Like [`of`], but without the sums of the ledger, for destinations that keep only the documented attributes.
fn documented(purchases: UserPurchases<'_>) -> Profile {
    let owned = purchases
        .owned
        .iter()
        .filter(|one| one.environment == purchases.environment);
    Profile::of(&owned.cloned().collect::<Vec<_>>(), None)
}

/// Updates the digests of the destinations whose profile changed. Queues a `profile.updated` for those that do not get
/// the whole profile by an event of this record; returns whether it queued any.
pub fn queue(
    write: &mut Write<'_>,
    subject: &Subject<'_>,
    destinations: &[Destination],
    carried: Option<&Carried>,
) -> Result<bool, Error> {
    let owner = subject.check.owner;
    let mut revision = carried.map(|carried| carried.user_revision);
    let mut is_queued = false;
    let is_owners = subject.check.trigger == Trigger::Settling;
    let lane = is_owners.then_some((subject.collapse_key, subject.environment));
    if destinations.iter().all(|one| one.profile.is_none()) {
        return Ok(false);
    }
    let mut listings = Listings::of(subject.check.origin.app_id);
    let which = Which::for_destinations(destinations);
    let owned = shared_ahead(write, owner.id, which)?.fetch(write, &mut listings)?;
    for changed in subject
        .check
        .changed(write.connection, &owned, destinations, lane)?
    {
        let environment = changed.environment;
        for due in &changed.due {
            let key = ProfileKey {
                destination: due.destination,
                user: owner.id,
                environment,
            };
            queued::note(write, key, &due.digest, &due.known)?;
        }
        let carriers = carried.filter(|_| environment == subject.environment);
        let is_carried = |due: &DueProfile| {
            carriers.is_some_and(|carried| carried.to.contains(&due.destination))
        };
        let mut to = changed
            .due
            .iter()
            .filter(|due| due.removes || !is_carried(due))
            .peekable();
        if to.peek().is_none() {
            continue;
        }
        let user_revision = match revision {
            Some(revision) => revision,
            None => users::raise_revision(write, owner)?,
        };
        revision = Some(user_revision);
        let event = insert(write, subject, &changed, user_revision)?;
        for due in to {
            deliveries::queue_in(write, &event, due.destination, environment)?;
        }
        is_queued = true;
    }
    Ok(is_queued)
}

impl ProfileCheck<'_> {
    /// Returns whether the current profile differs from the one that was queued last for the destination.
    pub fn is_due(
        &self,
        connection: &mut AnyConnection,
        destination: &Destination,
    ) -> Result<bool, Error> {
        let owned = owned(connection, self.origin.app_id, self.owner.id)?;
        Ok(!self
            .changed(connection, &owned, std::slice::from_ref(destination), None)?
            .is_empty())
    }

    /// Returns the profiles that differ from those that were queued last for these destinations. Also returns those of
    /// a customer whose purchase was announced before the customer had a name: an event with the name and the device id
    /// of that time makes both one person at the integration.
    fn changed(
        &self,
        connection: &mut AnyConnection,
        owned: &[OwnedPurchase],
        destinations: &[Destination],
        lane: Option<(CollapseKey, Environment)>,
    ) -> Result<Vec<ChangedProfile>, Error> {
        let mut integrations: BTreeMap<Vec<PlatformId>, Vec<Integration<'_>>> = BTreeMap::new();
        for destination in destinations {
            if let Some(attributes) = destination.profile {
                let of_platforms = integrations
                    .entry(destination.filter.sorted_platforms())
                    .or_default();
                of_platforms.push(Integration {
                    destination,
                    attributes,
                });
            }
        }
        let is_extended = Which::for_destinations(destinations) == Which::All;
        let mut all = Vec::new();
        for environment in ENVIRONMENTS {
            let wants = |one: &&Integration<'_>| {
                one.destination
                    .filter
                    .wants(self.origin.platform_id, environment)
            };
            for (platforms, integrations) in &integrations {
                let mut wanting = integrations.iter().filter(wants).peekable();
                if wanting.peek().is_none() {
                    continue;
                }
                let covered = user::on_platforms(owned, platforms);
                let purchases = UserPurchases {
                    user: self.owner.id,
                    owned: &covered,
                    environment,
                };
                let profile = if is_extended {
                    of(connection, purchases)?
                } else {
                    documented(purchases)
                };
                let lane = lane
                    .filter(|(_, its)| *its == environment)
                    .map(|(key, _)| key);
                let mut changed = ChangedProfile {
                    environment,
                    platforms: platforms.clone(),
                    profile,
                    lane,
                    due: Vec::new(),
                };
                for integration in wanting {
                    let due = self.due(connection, &changed, integration)?;
                    changed.due.extend(due);
                }
                if !changed.due.is_empty() {
                    all.push(changed);
                }
            }
        }
        Ok(all)
    }

    /// Returns the profile that is to be queued for an integration; `None` if it has that already.
    fn due(
        &self,
        connection: &mut AnyConnection,
        changed: &ChangedProfile,
        to: &Integration<'_>,
    ) -> Result<Option<DueProfile>, Error> {
        let ChangedProfile {
            environment,
            profile,
            lane,
            ..
        } = changed;
        let (destination, attributes) = (to.destination.id, to.attributes);
        let digest = profile.digest(attributes, self.owner.external_id.as_deref());
        let key = ProfileKey {
            destination,
            user: self.owner.id,
            environment: *environment,
        };
        let found = queued::find(connection, key, *lane)?;
        let must_join = self.owner.external_id.is_some() && found.lacks_name;
        let (is_due, removes) = match found.profile {
            Some(last) => {
                let is_lost =
                    self.trigger == Trigger::Backfill && queued::is_displaced(connection, key)?;
                (
                    is_lost || must_join || last.lacks(&digest, self.trigger),
                    last.outlives(profile, attributes),
                )
            }
            // An integration that no profile of this user was ever queued for needs no empty one.
            None => {
                let nothing = Profile::of(&[], user::paid_in_usd([]));
                (
                    must_join
                        || profile.digest(attributes, None) != nothing.digest(attributes, None),
                    false,
                )
            }
        };
        Ok(is_due.then(|| DueProfile {
            destination,
            digest,
            known: profile.known(attributes),
            removes,
        }))
    }
}

fn insert(
    write: &mut Write<'_>,
    subject: &Subject<'_>,
    changed: &ChangedProfile,
    user_revision: i64,
) -> Result<Event, Error> {
    let (
        user,
        ChangedProfile {
            environment,
            platforms,
            profile,
            ..
        },
    ) = (subject.check.owner.id, changed);
    let environment = *environment;
    let event = Event {
        id: EventId::of_profile(
            user,
            write.epoch()?,
            user_revision,
            ProfileScope {
                environment,
                platforms,
            },
        ),
        event_type: PROFILE_UPDATED.to_owned(),
        collapse_key: subject.collapse_key,
        revision: subject.revision,
        traceparent: subject.traceparent.map(str::to_owned),
    };
    let devices = user_devices::of(write.connection, user)?;
    let body = ProfileUpdated {
        id: event.id,
        user_id: user,
        user_revision,
        created_at: write.now()?,
        environment,
        platform_environment: subject.check.origin.environment,
        profile,
        devices: &devices,
    }
    .body()
    .to_string();
    let stored = StoredEvent {
        user_id: Some(user),
        user_revision: Some(user_revision),
        environment: Some(environment),
        profile: Some(profile.extended().to_string()),
        ..StoredEvent::of(subject.check.origin.app_id, body)
    };
    event::insert(write, &event, stored)?;
    Ok(event)
}
