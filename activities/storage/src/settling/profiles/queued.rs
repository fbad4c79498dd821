//! The profile of a user (the attributes that an Amplitude destination keeps) that was queued last, and whether it
//! arrived.

use crate::events::deliveries::{DeliveryRow, NEXT_OF_USERS};
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase::{self, Urgency};
use crate::settings::destinations::Destination;
use const_format::formatcp;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::PENDING_OF_LANE;
use db::sql::{Clause, Sql, clause, insert, statement};
use db::statement::{row, sql, stored};
use db::writer::Write;
use domain::time::{DAY, HOUR};
use domain::user::{Attributes, PROFILE_UPDATED, Profile};
use domain::{CollapseKey, DestinationId, Environment, UserId};
use std::collections::BTreeSet;
use std::time::Duration;

/// The key of a row: a user at an integration, in an environment.
#[derive(Debug, Clone, Copy)]
pub struct ProfileKey {
    pub destination: DestinationId,
    pub user: UserId,
    pub environment: Environment,
}

row! {
    /// The profile that was queued last. `shown` lists its known attributes, separated by commas.
    pub struct QueuedProfile {
        digest: String,
        arrival: Arrival,
        shown: String,
    }
}

row! {
    /// The profile that was queued last, and the device id of the events that were sent without a name in the lane for
    /// a new profile. The id is null while a profile is pending there that will have both.
    struct FoundRow {
        digest: Option<String>,
        arrival: Option<Arrival>,
        shown: Option<String>,
        nameless_device_id: Option<String>,
    }
}

row! {
    /// The event that carries a profile.
    struct CarrierRow {
        user_id: Option<UserId>,
        environment: Option<Environment>,
        profile: Option<String>,
    }
}

stored! {
    /// Whether the profile that was queued last arrived.
    pub enum Arrival {
        /// In flight, or arrived.
        NotLost = "pending",
        /// Lost: the next settling of the user queues it again.
        Lost = "lost",
        /// Lost, and not sent again automatically: another state of the user queues it, or a backfill.
        NotRetried = "left",
    }
}

/// Waits before the purchase of a failed delivery is rechecked: after the first, second and third failure in a row with
/// the same state. After a fourth failure the profile is given up, so that a profile that is always refused is not sent
/// forever.
const RECHECK_AFTER: [Duration; 3] = [Duration::ZERO, HOUR, DAY];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Settling,
    /// A purchase that moves to another user.
    Transfer,
    /// A backfill: the initial load of a destination.
    Backfill,
}

/// Why the delivery that carried a profile did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Failed after it was sent. The caller has locked its purchase.
    Failed,
    /// Ended before it was sent: by a setting, or because the integration accepts no events of this user.
    Unwanted,
    /// A newer event was sent in its place, which does not remove the attributes that this delivery was to remove.
    Superseded,
}

impl QueuedProfile {
    /// Returns whether the integration lacks the profile with this digest: the last queued one differs or was lost. For
    /// a backfill, it also lacks a profile that was given up.
    pub fn lacks(&self, digest: &str, trigger: Trigger) -> bool {
        self.digest != digest
            || self.arrival == Arrival::Lost
            || (trigger == Trigger::Backfill && self.arrival == Arrival::NotRetried)
    }

    /// Returns whether the integration may have an attribute that is unknown in the new profile.
    pub fn outlives(&self, profile: &Profile, attributes: Attributes) -> bool {
        if self.arrival != Arrival::NotLost {
            return profile.lacks_any(attributes);
        }
        let known = profile.known(attributes);
        self.shown
            .split(',')
            .any(|name| !name.is_empty() && !known.contains(name))
    }
}

const FIND: Sql = statement! {"
    SELECT p.digest, p.arrival, p.shown, l.nameless_device_id
    FROM destinations x
    LEFT JOIN profiles p ON p.destination_id = x.id AND p.user_id = ? AND p.environment = ?
    LEFT JOIN lanes l ON l.destination_id = x.id AND l.collapse_key = ? AND (
        SELECT 1
        FROM deliveries d
        WHERE d.collapse_key = l.collapse_key AND d.destination_id = l.destination_id AND d.status {PENDING_OF_LANE}
            AND d.event_type = '{PROFILE_UPDATED}' AND (d.body IS NULL OR d.joined_device_id IS NOT NULL)
        LIMIT 1
    ) IS NULL
    WHERE x.id = ?
"};

/// The last queued profile of one user for an integration.
pub struct ProfileOfLane {
    /// The profile that was queued last, if there is one.
    pub profile: Option<QueuedProfile>,
    /// Whether events were sent in the lane without the customer's name, and no pending profile there has both the name
    /// and the events' device id. False for a customer whose profiles do not arrive, who gets no more of them.
    pub lacks_name: bool,
}

/// Returns the last queued profile of one user for an integration, and whether the lane of a purchase lacks the user's
/// name.
pub fn find(
    connection: &mut AnyConnection,
    key: ProfileKey,
    lane: Option<CollapseKey>,
) -> Result<ProfileOfLane, Error> {
    let found: FoundRow = sql(FIND)
        .bind((key.user, key.environment, lane, key.destination))
        .one(connection, "destination")?;
    let profile = match (found.digest, found.arrival, found.shown) {
        (Some(digest), Some(arrival), Some(shown)) => Some(QueuedProfile {
            digest,
            arrival,
            shown,
        }),
        _ => None,
    };
    let arrives = profile
        .as_ref()
        .is_none_or(|profile| profile.arrival == Arrival::NotLost);
    Ok(ProfileOfLane {
        profile,
        lacks_name: arrives && found.nameless_device_id.is_some(),
    })
}

// Leaves out a profile if a state of this user, at least as new, is not superseded: that state reaches the integration,
// or its own failure is noted.
const IS_DISPLACED: Sql = statement! {hot "events_of_user", "
    SELECT COUNT(*) AS value
    FROM events e
    JOIN deliveries d ON d.event_id = e.id
    WHERE e.user_id = ? AND e.environment = ? AND e.event_type = '{PROFILE_UPDATED}'
        AND e.user_revision > COALESCE((
            SELECT t.sent_revision
            FROM user_lanes t
            WHERE t.destination_id = ? AND t.user_id = ? AND t.environment = ?), 0)
        AND d.destination_id = ? AND d.status = 'superseded'
        AND NOT EXISTS (
            SELECT 1
            FROM events n
            JOIN deliveries o ON o.event_id = n.id
            WHERE n.user_id = e.user_id AND n.user_revision >= e.user_revision AND n.environment = e.environment
                AND o.destination_id = d.destination_id AND o.status <> 'superseded'
        )
"};

/// Returns whether the profile that was queued last was superseded by another user's profile, as in earlier releases
/// after a transfer, so that the integration has an older state of this user.
pub fn is_displaced(connection: &mut AnyConnection, key: ProfileKey) -> Result<bool, Error> {
    let ProfileKey {
        destination,
        user,
        environment,
    } = key;
    let displaced: Option<i64> = sql(IS_DISPLACED)
        .bind((
            user,
            environment,
            destination,
            user,
            environment,
            destination,
        ))
        .value(connection)?;
    Ok(displaced.is_some_and(|displaced| displaced > 0))
}

/// Notes that a profile with this digest and these known attributes is queued.
pub fn note(
    write: &mut Write<'_>,
    key: ProfileKey,
    digest: &str,
    known: &BTreeSet<String>,
) -> Result<(), Error> {
    let shown: Vec<&str> = known.iter().map(String::as_str).collect();
    insert!(
        profiles {
            destination_id: key.destination,
            user_id: key.user,
            environment: key.environment,
            digest,
            arrival: Arrival::NotLost,
            failures: 0_i64,
            shown: shown.join(","),
        },
        "ON CONFLICT (destination_id, user_id, environment)
        DO UPDATE SET failures = CASE WHEN profiles.digest = excluded.digest THEN profiles.failures ELSE 0 END,
        digest = excluded.digest, arrival = excluded.arrival, shown = excluded.shown"
    )
    .run(write.connection)
    .map(drop)
}

const FIND_CARRIER: Sql = statement! {"
    SELECT user_id, environment, profile
    FROM events
    WHERE id = ? AND user_revision IS NOT NULL
"};

/// Notes that the delivery that carried the profile of a user did not arrive and never will.
pub fn note_failure(
    write: &mut Write<'_>,
    delivery: &DeliveryRow,
    failure: Failure,
) -> Result<(), Error> {
    let carrier: Option<CarrierRow> = sql(FIND_CARRIER)
        .bind(delivery.event_id)
        .first(write.connection)?;
    let Some(CarrierRow {
        user_id: Some(user),
        environment: Some(environment),
        profile,
    }) = carrier
    else {
        return Ok(());
    };
    let key = ProfileKey {
        destination: delivery.destination_id,
        user,
        environment,
    };
    match failure {
        Failure::Unwanted => set_arrival(write, key, Arrival::NotRetried).map(drop),
        // A null in the stored JSON removes an attribute.
        Failure::Superseded if !profile.is_some_and(|profile| profile.contains(":null")) => Ok(()),
        Failure::Superseded => set_arrival(write, key, Arrival::Lost).map(drop),
        Failure::Failed => record_failure(write, delivery, key),
    }
}

const COUNT_FAILURE: Sql = statement! {"
    UPDATE profiles
    SET failures = failures + 1
    WHERE destination_id = ? AND user_id = ? AND environment = ?
    RETURNING failures AS value
"};

/// Counts the failure and rechecks the purchase, unless too many deliveries with this state failed.
fn record_failure(
    write: &mut Write<'_>,
    delivery: &DeliveryRow,
    key: ProfileKey,
) -> Result<(), Error> {
    if !set_arrival(write, key, Arrival::Lost)? {
        return Ok(());
    }
    let failures: Option<i64> = sql(COUNT_FAILURE)
        .bind((key.destination, key.user, key.environment))
        .value(write.connection)?;
    let before = failures
        .and_then(|failures| usize::try_from(failures - 1).ok())
        .unwrap_or_default();
    match RECHECK_AFTER.get(before) {
        Some(after) => {
            let at = write.now()?.plus(*after);
            purchase::recheck_by(write, delivery.collapse_key, at)
        }
        None => set_arrival(write, key, Arrival::NotRetried).map(drop),
    }
}

const SET_ARRIVAL: Sql = statement! {"
    UPDATE profiles
    SET arrival = ?
    WHERE destination_id = ? AND user_id = ? AND environment = ? AND arrival <> ?
"};

/// Stores the arrival of the profile that was queued last; returns whether it changed.
fn set_arrival(write: &mut Write<'_>, key: ProfileKey, arrival: Arrival) -> Result<bool, Error> {
    let changed = sql(SET_ARRIVAL)
        .bind((arrival, key.destination, key.user, key.environment, arrival))
        .run(write.connection)?;
    Ok(changed > 0)
}

const CARRIED: &str = formatcp! {"
    FROM deliveries d
    JOIN events e ON e.id = d.event_id
    WHERE e.user_revision IS NOT NULL AND d.seq IN ({NEXT_OF_USERS})
"};
const CARRIERS: Clause = clause! {&purchase::RECHECKS, "
    collapse_key IN (SELECT MAX(d.collapse_key) {CARRIED} GROUP BY e.user_id)
"};
const LOSE_ALL: Sql = statement! {"
    UPDATE profiles
    SET arrival = ?
    WHERE destination_id = ? AND user_id IN (SELECT e.user_id {CARRIED})
"};

/// Notes that the profiles in the next `user.*` deliveries of a destination ([`NEXT_OF_USERS`]) are lost, and rechecks
/// one purchase of each of their users.
pub fn note_all_lost(
    write: &mut Write<'_>,
    destination: &Destination,
    after: i64,
    at_most: i64,
) -> Result<(), Error> {
    if destination.profile.is_none() {
        return Ok(());
    }
    let id = destination.id;
    purchase::recheck(
        write,
        Urgency::Setting,
        CauseKind::Profile,
        CARRIERS,
        [id.into(), after.into(), at_most.into()],
    )?;
    sql(LOSE_ALL)
        .bind((Arrival::Lost, id, id, after, at_most))
        .run(write.connection)
        .map(drop)
}
