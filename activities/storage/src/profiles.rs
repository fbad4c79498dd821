//! Profiles: what integrations that keep user attributes were owed of a user last, and what they are owed now.
//!
//! For each integration, user and environment the digest of the profile that it was owed last is kept. A settling, or a
//! snapshot, compares it with the profile as it is in its transaction: an event that carries the user's state brings the
//! digest up to date, and where none is owed a `profile.updated` is. So each change is sent once, whatever caused it.
//!
//! Digests are noted under the user's lock, and apart from `user_lanes`, whose rows claims hold. What did not arrive empties
//! them, under no lock of the user: then one profile too many is sent, never one too few.

use crate::connection::AnyConnection;
use crate::deliveries::{self, DeliveryRow, Event};
use crate::events::{self, Carried, Kept};
use crate::purchase::Origin;
use crate::statement::{Words, row, sql};
use crate::users::{self, UserRow};
use crate::writer::Write;
use crate::{Destination, Error, Installation, payments};
use domain::user::{self, Attributes, Owned, PROFILE_UPDATED, Profile, ProfileUpdated};
use domain::{CollapseKey, DestinationId, Environment, EventId, UserId};

/// A user whose profile may have changed, and the purchase by which that was noticed. Its user and purchase are locked.
pub struct Subject<'a> {
    /// The purchase, in whose lanes a profile is sent.
    pub collapse_key: CollapseKey,
    /// Its revision.
    pub revision: i64,
    /// Its environment.
    pub environment: Environment,
    /// What it belongs to.
    pub origin: &'a Origin,
    /// Its owner.
    pub owner: &'a UserRow,
    /// Whose database it is.
    pub installation: Installation,
    /// The trace that caused it.
    pub traceparent: Option<&'a str>,
}

/// Both environments, each with a profile of its own.
const ENVIRONMENTS: [Environment; 2] = [Environment::Production, Environment::Sandbox];

row! {
    struct Carrier {
        user_id: Option<UserId>,
    }
}

/// A profile, and whose digest of it is another one.
struct Changed {
    environment: Environment,
    profile: Profile,
    digests: Vec<(DestinationId, String)>,
}

/// Whether an integration has another profile of an owner than the present one.
pub fn is_due(
    connection: &mut AnyConnection,
    (origin, owner): (&Origin, &UserRow),
    destination: &Destination,
) -> Result<bool, Error> {
    let all = std::slice::from_ref(destination);
    Ok(!changed(connection, (origin, owner), all)?.is_empty())
}

/// The profile of the user of these purchases in an environment.
pub fn of(
    connection: &mut AnyConnection,
    user: UserId,
    (owned, environment): (&[Owned], Environment),
) -> Result<Profile, Error> {
    let owned: Vec<Owned> = owned.iter().filter(|one| one.environment == environment).cloned().collect();
    let ledger = payments::paid_by(connection, (user, environment))?;
    let entries = owned.iter().map(|one| (one, ledger.get(&one.collapse_key).copied()));
    Ok(Profile::of(&owned, user::paid_in_usd(entries)))
}

/// Notes that what carried the profile of a user did not arrive and never will: the next settling owes it again.
pub fn forget(write: &mut Write<'_>, delivery: &DeliveryRow) -> Result<(), Error> {
    let carrier: Option<Carrier> = sql("SELECT user_id FROM events WHERE id = ? AND user_revision IS NOT NULL")
        .bind(delivery.event_id)
        .first(write.connection)?;
    let (Some(user), Some(environment)) = (carrier.and_then(|carrier| carrier.user_id), delivery.environment) else {
        return Ok(());
    };
    sql("UPDATE profiles SET digest = '' WHERE destination_id = ? AND user_id = ? AND environment = ?")
        .bind(delivery.destination_id)
        .bind(user)
        .bind(environment)
        .run(write.connection)
        .map(drop)
}

/// Brings the digests of these destinations up to date, and owes the profile to those to whom no event of this record carries
/// it; whether it is owed to any.
pub fn owe(
    write: &mut Write<'_>,
    subject: &Subject<'_>,
    (destinations, carried): (&[Destination], Option<&Carried>),
) -> Result<bool, Error> {
    let changed = changed(write.connection, (subject.origin, subject.owner), destinations)?;
    let mut revision = carried.map(|carried| carried.user_revision);
    let mut is_owed = false;
    for Changed { environment, profile, digests } in changed {
        let carriers = carried.filter(|_| environment == subject.environment);
        let mut to = Vec::new();
        for (destination, digest) in digests {
            note(write, (destination, subject.owner.id, environment), &digest)?;
            if carriers.is_none_or(|carried| !carried.to.contains(&destination)) {
                to.push(destination);
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
        let event = insert(write, subject, (&profile, environment, user_revision))?;
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
    destinations: &[Destination],
) -> Result<Vec<Changed>, Error> {
    let keeping: Vec<(&Destination, Attributes)> =
        destinations.iter().filter_map(|one| Some((one, one.profile?))).collect();
    if keeping.is_empty() {
        return Ok(Vec::new());
    }
    let owned = events::owned(connection, origin.app_id, owner.id)?;
    let nothing = Profile::of(&[], user::paid_in_usd([]));
    let mut all = Vec::new();
    for environment in ENVIRONMENTS {
        let profile = of(connection, owner.id, (&owned, environment))?;
        let mut digests = Vec::new();
        for (destination, attributes) in &keeping {
            if !destination.filter.wants(origin.platform_id, environment) {
                continue;
            }
            let digest = profile.digest(*attributes, owner.external_id.as_deref());
            let known = known(connection, (destination.id, owner.id, environment))?;
            // Who was never sent anything of a user need not hear that there is nothing.
            let is_news = || profile.digest(*attributes, None) != nothing.digest(*attributes, None);
            if known.as_ref().map_or_else(is_news, |known| *known != digest) {
                digests.push((destination.id, digest));
            }
        }
        if !digests.is_empty() {
            all.push(Changed { environment, profile, digests });
        }
    }
    Ok(all)
}

fn known(
    connection: &mut AnyConnection,
    (destination, user, environment): (DestinationId, UserId, Environment),
) -> Result<Option<String>, Error> {
    let known: Option<Words> =
        sql("SELECT digest AS value FROM profiles WHERE destination_id = ? AND user_id = ? AND environment = ?")
            .bind(destination)
            .bind(user)
            .bind(environment)
            .first(connection)?;
    Ok(known.map(|known| known.value))
}

fn note(
    write: &mut Write<'_>,
    (destination, user, environment): (DestinationId, UserId, Environment),
    digest: &str,
) -> Result<(), Error> {
    sql("INSERT INTO profiles (destination_id, user_id, environment, digest) VALUES (?, ?, ?, ?) \
         ON CONFLICT (destination_id, user_id, environment) DO UPDATE SET digest = excluded.digest")
    .bind(destination)
    .bind(user)
    .bind(environment)
    .bind(digest)
    .run(write.connection)
    .map(drop)
}

fn insert(
    write: &mut Write<'_>,
    subject: &Subject<'_>,
    (profile, environment, user_revision): (&Profile, Environment, i64),
) -> Result<Event, Error> {
    let user = subject.owner.id;
    let event = Event {
        id: EventId::of_profile(user, subject.installation.epoch, user_revision, environment),
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
    let kept = Kept {
        user: Some((user, Some(user_revision))),
        occurred_at: None,
        body,
        environment: Some(environment),
        state_apart: None,
        profile,
    };
    events::insert(write, &event, kept)?;
    Ok(event)
}
