//! The profile of a user that an integration was owed last, and whether it arrived.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::statement::{Number, row, sql};
use crate::db::writer::Write;
use crate::events::deliveries::DeliveryRow;
use crate::purchases::purchase;
use crate::settings::destinations::Destination;
use domain::user::{Attributes, Profile};
use domain::{DestinationId, Environment, UserId};
use std::collections::BTreeSet;

/// A user at an integration, in an environment.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub destination: DestinationId,
    pub user: UserId,
    pub environment: Environment,
}

row! {
    /// The profile that was owed last.
    pub struct OwedProfile {
        digest: String,
        arrival: String,
        shown: String,
    }
}

row! {
    struct Carrier {
        user_id: Option<UserId>,
        environment: Option<Environment>,
        profile: Option<String>,
    }
}

/// It is on its way, or arrived.
const OWED: &str = "owed";
/// It did not arrive, and the next settling of the user owes it again.
const LOST: &str = "lost";
/// It is not accepted at present: another state is owed, or a snapshot owes it again.
const LEFT: &str = "left";

/// How soon the purchase of a delivery that died is rechecked, in milliseconds: by how many died in a row that carried
/// the same state. One more death leaves the profile, so that a profile that is always refused comes to an end.
const RECHECK_AFTER_MS: [i64; 3] = [0, 3_600_000, 24 * 3_600_000];

/// What checks whether a profile is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A settling of a purchase.
    Settling,
    /// A snapshot.
    Snapshot,
}

/// Why what carried a profile did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It died after it was sent. Its purchase is locked.
    Died,
    /// It was skipped or refused before it was sent, because of a setting, or nothing of the customer is accepted.
    Unwanted,
    /// A newer event was sent instead, which cannot remove the attributes that it was to remove.
    Overtaken,
}

impl OwedProfile {
    /// Whether the integration may have another profile than one with this digest. A snapshot owes again what is left.
    pub fn lacks(&self, digest: &str, trigger: Trigger) -> bool {
        self.digest != digest || self.arrival == LOST || (trigger == Trigger::Snapshot && self.arrival == LEFT)
    }

    /// Whether the integration may have an attribute that this profile does not know any more.
    pub fn outlives(&self, profile: &Profile, attributes: Attributes) -> bool {
        if self.arrival != OWED {
            return profile.lacks_any(attributes);
        }
        let known = profile.known(attributes);
        self.shown.split(',').any(|name| !name.is_empty() && !known.contains(name))
    }
}

pub fn find(connection: &mut AnyConnection, place: Place) -> Result<Option<OwedProfile>, Error> {
    sql("SELECT digest, arrival, shown FROM profiles WHERE destination_id = ? AND user_id = ? AND environment = ?")
        .bind(place.destination)
        .bind(place.user)
        .bind(place.environment)
        .first(connection)
}

/// Notes that a profile with this digest and these known attributes is owed.
pub fn note(write: &mut Write<'_>, place: Place, (digest, known): (&str, &BTreeSet<String>)) -> Result<(), Error> {
    let shown: Vec<&str> = known.iter().map(String::as_str).collect();
    sql("INSERT INTO profiles (destination_id, user_id, environment, digest, arrival, deaths, shown) \
         VALUES (?, ?, ?, ?, ?, 0, ?) ON CONFLICT (destination_id, user_id, environment) DO UPDATE SET \
         deaths = CASE WHEN profiles.digest = excluded.digest THEN profiles.deaths ELSE 0 END, \
         digest = excluded.digest, arrival = excluded.arrival, shown = excluded.shown")
    .bind(place.destination)
    .bind(place.user)
    .bind(place.environment)
    .bind(digest)
    .bind(OWED)
    .bind(shown.join(","))
    .run(write.connection)
    .map(drop)
}

/// Notes that the delivery that carried the profile of a user did not arrive and never will.
pub fn forget(write: &mut Write<'_>, delivery: &DeliveryRow, failure: Failure) -> Result<(), Error> {
    let carrier: Option<Carrier> =
        sql("SELECT user_id, environment, profile FROM events WHERE id = ? AND user_revision IS NOT NULL")
            .bind(delivery.event_id)
            .first(write.connection)?;
    let Some(Carrier { user_id: Some(user), environment: Some(environment), profile }) = carrier else { return Ok(()) };
    let place = Place { destination: delivery.destination_id, user, environment };
    match failure {
        Failure::Unwanted => set_arrival(write, place, LEFT).map(drop),
        Failure::Overtaken if !profile.is_some_and(|profile| profile.contains(":null")) => Ok(()),
        Failure::Overtaken => set_arrival(write, place, LOST).map(drop),
        Failure::Died => record_death(write, delivery, place),
    }
}

/// Rechecks the purchase, unless too many deliveries died that carried this state.
fn record_death(write: &mut Write<'_>, delivery: &DeliveryRow, place: Place) -> Result<(), Error> {
    if !set_arrival(write, place, LOST)? {
        return Ok(());
    }
    let deaths: Option<Number> = sql("UPDATE profiles SET deaths = deaths + 1 \
         WHERE destination_id = ? AND user_id = ? AND environment = ? RETURNING deaths AS value")
    .bind(place.destination)
    .bind(place.user)
    .bind(place.environment)
    .first(write.connection)?;
    let before = deaths.and_then(|deaths| usize::try_from(deaths.value - 1).ok()).unwrap_or_default();
    match RECHECK_AFTER_MS.get(before) {
        Some(after_ms) => {
            let at = write.now.plus_millis(*after_ms);
            purchase::recheck_by(write, delivery.collapse_key, at)
        }
        None => set_arrival(write, place, LEFT).map(drop),
    }
}

/// Notes the arrival of the owed profile; returns whether that was new.
fn set_arrival(write: &mut Write<'_>, place: Place, arrival: &str) -> Result<bool, Error> {
    let changed = sql("UPDATE profiles SET arrival = ? \
         WHERE destination_id = ? AND user_id = ? AND environment = ? AND arrival <> ?")
    .bind(arrival)
    .bind(place.destination)
    .bind(place.user)
    .bind(place.environment)
    .bind(arrival)
    .run(write.connection)?;
    Ok(changed > 0)
}

/// Forgets the profiles that these deliveries of a destination carry, and rechecks a purchase of each of their users.
/// `which` is a statement that selects their sequence numbers, for these values.
pub fn forget_all(
    write: &mut Write<'_>,
    destination: &Destination,
    (which, (after, at_most)): (&str, (i64, i64)),
) -> Result<(), Error> {
    if destination.profile.is_none() {
        return Ok(());
    }
    let id = destination.id;
    let carried = format!(
        "FROM deliveries d JOIN events e ON e.id = d.event_id WHERE e.user_revision IS NOT NULL AND d.seq IN ({which})"
    );
    let which_purchases = format!("collapse_key IN (SELECT MAX(d.collapse_key) {carried} GROUP BY e.user_id)");
    purchase::recheck(write, &which_purchases, [id.into(), after.into(), at_most.into()])?;
    sql(format!("UPDATE profiles SET arrival = ? WHERE destination_id = ? AND user_id IN (SELECT e.user_id {carried})"))
        .bind(LOST)
        .bind(id)
        .bind(id)
        .bind(after)
        .bind(at_most)
        .run(write.connection)
        .map(drop)
}
