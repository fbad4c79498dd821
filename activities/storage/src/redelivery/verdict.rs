//! Whether an event may be queued for a destination again, and the only function that records such a delivery.
//!
//! A destination that gets requests user by user (`per_user`) counts events, and recognizes a repeated id for seven
//! days. So an event that it acknowledged is never sent to it again: within seven days it would ignore the event, later
//! it would count it twice. An event that it may have received without acknowledging it is sent again until an hour
//! before the seven days end.

use crate::events::deliveries::{self, Event, UNCLEAR};
use crate::purchases::purchase::Origin;
use crate::settings::destinations::Destination;
use crate::settling::payments;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::attempt::REPEATED;
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use domain::user::PROFILE_UPDATED;
use domain::{DestinationId, Environment, EventId, Timestamp};
use schemars::JsonSchema;
use serde::de::{IntoDeserializer, value};
use serde::{Deserialize, Serialize};

/// Declares the reasons, each with its text. The text is shown after a number of events, after `cannot be resent`, and
/// in the API's description.
macro_rules! reasons {
    ($($reason:ident: $text:literal,)*) => {
        /// Why an event was not queued again.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Skipped {
            $(#[doc = concat!($text, ".")] $reason,)*
        }

        impl Skipped {
            /// Returns the reason for people, on the dashboard, in `settle resend` and in `settle explain`.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$reason => $text,)*
                }
            }

            /// Parses the reason's name in the API. `None` for a name of a later release.
            pub fn named(name: &str) -> Option<Self> {
                Self::deserialize(IntoDeserializer::<value::Error>::into_deserializer(name)).ok()
            }
        }
    };
}

reasons! {
    Superseded: "a newer state of the purchase is sent instead",
    NotChosen: "the destination is not subscribed to such events, or not for this platform or environment",
    AlreadyPending: "already pending, or queued before",
    Acknowledged: "the destination acknowledged it, or a newer state",
    Counted: "the destination acknowledged it and would count it twice",
    MayBeCounted: "the destination may have it and would no longer recognize it, so it might be counted twice",
    Pruned: "retention removed its body",
    Operators: "events for operators are sent only once",
    Deleted: "the destination was deleted",
    Unknown: "no event of the purchase was recorded yet",
}

/// The condition on which an event is queued again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// No condition besides those of every redelivery.
    Always,
    /// Only if the destination acknowledged neither the event nor a newer state.
    Unacknowledged,
    /// Only if it was never queued for the destination.
    NeverQueued,
}

/// An event that may be queued for a destination again.
#[derive(Clone, Copy)]
pub struct Resend<'a> {
    pub event: &'a Event,
    /// The app, platform and environment of the event's purchase.
    pub origin: &'a Origin,
    pub destination: &'a Destination,
    pub condition: Condition,
}

/// The number `n` of the new delivery among those of its event to its destination, or why there is none.
pub type DeliveryNumber = Result<u32, Skipped>;

row! {
    /// The earlier deliveries of an event to a destination: how many are open and delivered, and the next number `n`.
    struct PastDeliveries {
        open: i64,
        delivered: i64,
        next_n: i64,
    }
}

row! {
    struct Pruned {
        pruned_at: Option<Timestamp>,
    }
}

/// Decides whether an event of a purchase may be queued for a destination again.
pub fn verdict(
    connection: &mut AnyConnection,
    resend: Resend<'_>,
    now: Timestamp,
) -> Result<DeliveryNumber, Error> {
    let Resend {
        event,
        destination,
        condition,
        ..
    } = resend;
    if !is_for(connection, resend)? {
        return Ok(Err(Skipped::NotChosen));
    }
    let past = past(connection, event.id, destination.id)?;
    if past.open > 0 || (condition == Condition::NeverQueued && past.next_n > 0) {
        return Ok(Err(Skipped::AlreadyPending));
    }
    if condition == Condition::Unacknowledged
        && (past.delivered > 0 || has_state(connection, event, destination.id)?)
    {
        return Ok(Err(Skipped::Acknowledged));
    }
    if destination.per_user && past.delivered > 0 {
        return Ok(Err(Skipped::Counted));
    }
    let unclear = if destination.per_user {
        unclear_since(connection, event.id, destination.id)?
    } else {
        None
    };
    if unclear.is_some_and(|since| since.plus(REPEATED) <= now) {
        return Ok(Err(Skipped::MayBeCounted));
    }
    if sources(connection, event, SOURCES)?
        .iter()
        .any(|row| row.pruned_at.is_some())
    {
        return Ok(Err(Skipped::Pruned));
    }
    Ok(Ok(u32::try_from(past.next_n).unwrap_or(u32::MAX)))
}

/// Whether a destination gets an event. Its filter must match the platform and the environment, and it must have chosen
/// the type, or keep profiles for a `profile.updated`. A destination that counts revenue gets the `revenue.adjusted` of
/// its payments regardless of its filter.
fn is_for(connection: &mut AnyConnection, resend: Resend<'_>) -> Result<bool, Error> {
    let Resend {
        event,
        origin,
        destination,
        ..
    } = resend;
    let is_for = match event.event_type.as_str() {
        REVENUE_ADJUSTED if destination.per_user => {
            return payments::is_implied(connection, event.id, destination);
        }
        PROFILE_UPDATED => destination.profile.is_some(),
        event_type => destination.chose(event_type),
    };
    let environment = recorded_environment(connection, event.id)?.unwrap_or(origin.environment);
    Ok(is_for && destination.filter.wants(origin.platform_id, environment))
}

/// Records a new delivery, if the verdict allows it. The purchase must be locked. When a payment is queued again, its
/// changes are too, because they are not sent to a destination that does not have the payment.
pub fn queue(write: &mut Write<'_>, resend: Resend<'_>) -> Result<DeliveryNumber, Error> {
    let verdict = queue_one(write, resend)?;
    if verdict.is_ok() && resend.destination.per_user {
        for change in payments::changes(write.connection, resend.event.id)? {
            let _: DeliveryNumber = queue_one(
                write,
                Resend {
                    event: &change,
                    ..resend
                },
            )?;
        }
    }
    Ok(verdict)
}

fn queue_one(write: &mut Write<'_>, resend: Resend<'_>) -> Result<DeliveryNumber, Error> {
    // Retention locks these rows too before it prunes them, so either it sees the new delivery, or the verdict sees the
    // pruning.
    sources(write.connection, resend.event, LOCK_SOURCES)?;
    let now = write.now()?;
    let verdict = verdict(write.connection, resend, now)?;
    if let Ok(n) = verdict {
        deliveries::queue_again(write, resend.event, resend.destination.id, n)?;
        copy_first_try(write, resend, n)?;
    }
    Ok(verdict)
}

const RECORDED_ENVIRONMENT: Sql =
    statement!("SELECT environment AS value FROM events WHERE id = ?");

/// Returns the environment in which an event of a purchase was recorded. Filters of destinations are compared with it.
fn recorded_environment(
    connection: &mut AnyConnection,
    event: EventId,
) -> Result<Option<Environment>, Error> {
    let recorded: Option<Option<Environment>> =
        sql(RECORDED_ENVIRONMENT).bind(event).value(connection)?;
    Ok(recorded.flatten())
}

const PAST: Sql = statement! {hot "deliveries_event", "
    SELECT COUNT(CASE WHEN status IN ('pending', 'waiting') THEN 1 END) AS open,
        COUNT(CASE WHEN status = 'delivered' THEN 1 END) AS delivered,
        COALESCE(MAX(n) + 1, 0) AS next_n
    FROM deliveries
    WHERE event_id = ? AND destination_id = ?
"};

fn past(
    connection: &mut AnyConnection,
    event: EventId,
    destination: DestinationId,
) -> Result<PastDeliveries, Error> {
    let past = sql(PAST).bind(event).bind(destination).first(connection)?;
    Ok(past.unwrap_or(PastDeliveries {
        open: 0,
        delivered: 0,
        next_n: 0,
    }))
}

const ACKNOWLEDGED: Sql = statement! {hot "sqlite_autoindex_lanes or lanes_pkey", "
    SELECT acked_revision AS value
    FROM lanes
    WHERE destination_id = ? AND collapse_key = ? AND acked_revision IS NOT NULL
"};

/// Whether an event is a `purchase.updated` of a revision that the destination acknowledged, or of an older one.
fn has_state(
    connection: &mut AnyConnection,
    event: &Event,
    destination: DestinationId,
) -> Result<bool, Error> {
    if event.event_type != PURCHASE_UPDATED {
        return Ok(false);
    }
    let acked: Option<i64> = sql(ACKNOWLEDGED)
        .bind(destination)
        .bind(event.collapse_key)
        .value(connection)?;
    Ok(acked.is_some_and(|acked| acked >= event.revision))
}

const FIRST_UNCLEAR: Sql = statement! {hot "deliveries_event", "
    SELECT a.started_at AS value
    FROM deliveries d
    JOIN attempts a ON a.delivery_id = d.id
    WHERE d.event_id = ? AND d.destination_id = ? AND {UNCLEAR}
    ORDER BY a.started_at
    LIMIT 1
"};

/// Returns when the first attempt began by which the destination may have received the event without acknowledging it.
fn unclear_since(
    connection: &mut AnyConnection,
    event: EventId,
    destination: DestinationId,
) -> Result<Option<Timestamp>, Error> {
    sql(FIRST_UNCLEAR)
        .bind(event)
        .bind(destination)
        .value(connection)
}

const SET_FIRST_TRY: Sql = statement! {"
    UPDATE deliveries
    SET first_tried_at = ?
    WHERE event_id = ? AND destination_id = ? AND n = ?
"};

/// Copies the earliest time at which the destination may have received the event to the new delivery: the destination
/// recognizes the event's id for seven days from then.
fn copy_first_try(write: &mut Write<'_>, resend: Resend<'_>, n: u32) -> Result<(), Error> {
    let Resend {
        event, destination, ..
    } = resend;
    if !destination.per_user {
        return Ok(());
    }
    let Some(since) = unclear_since(write.connection, event.id, destination.id)? else {
        return Ok(());
    };
    let statement = sql(SET_FIRST_TRY).bind((since, event.id, destination.id, i64::from(n)));
    statement.run(write.connection).map(drop)
}

const OF_SOURCES: &str = "
    SELECT pruned_at
    FROM events
    WHERE collapse_key = ? AND (id = ? OR (revision = ? AND event_type = ?))
    ORDER BY seq";

const SOURCES: Sql = statement! {hot "events_of_key", "{OF_SOURCES}"};

const LOCK_SOURCES: Sql = statement! {hot "events_of_key", "
    {OF_SOURCES}
    FOR UPDATE
"};

/// Reads the rows from which a body is rendered: the event, and the `purchase.updated` of the same revision.
fn sources(
    connection: &mut AnyConnection,
    event: &Event,
    which: Sql,
) -> Result<Vec<Pruned>, Error> {
    sql(which)
        .bind((
            event.collapse_key,
            event.id,
            event.revision,
            PURCHASE_UPDATED,
        ))
        .all(connection)
}
