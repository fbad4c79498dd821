//! The explanation of events: the deliveries of each, with their attempts.

use super::newest::{MAX_ROWS, Newest};
use crate::events::status::DeliveryStatus;
use crate::people::transfers::{self, Transfer};
use crate::purchases::cause::RevisionCauses;
use crate::redelivery::page;
use crate::redelivery::verdict::Skipped;
use crate::reports::deliveries::{self, AttemptView, DELIVERIES_WHERE, DeliveryView};
use db::connection::{AnyConnection, MultiBackend};
use db::error::Error;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Field, Statement, row, sql};
use diesel::deserialize;
use diesel::row::NamedRow;
use domain::event::{Change, PURCHASE_UPDATED, changes};
use domain::user::TRANSFERS;
use domain::{
    AppId, CollapseKey, DeliveryId, DestinationId, Environment, EventId, PlatformId, Timestamp,
    TransferId, UserId,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Maximum number of attempts shown per delivery: the newest ones.
const MAX_ATTEMPTS: i64 = 20;

#[derive(Debug, Clone, PartialEq)]
pub struct AnnouncedEvent {
    pub event: EventFacts,
    /// How a `purchase.updated` differs from the one before it. `None` for the first one, if either body was removed,
    /// and for all other events.
    pub changes: Option<Vec<Change>>,
    /// The transfer that the event announces, if the event's body is still stored.
    pub transfer: Option<Transfer>,
    /// Deliveries of the event, in the order of recording.
    pub sendings: Vec<Sending>,
}

/// The destination that an event's alarm is about, if the event's body is still stored and names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Concerned(pub Option<DestinationId>);

/// The app, platform and environment of a purchase.
type Origin = (AppId, PlatformId, Environment);

row! {
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct EventFacts {
        pub id: EventId,
        #[serde(rename = "type")]
        pub event_type: String,
        /// Key of the purchase; for an event about a destination, the destination's id; for one about an alarm, a key
        /// computed from the alarm and the app.
        pub collapse_key: CollapseKey,
        /// The purchase's revision that the event announces.
        pub revision: i64,
        /// The user; `None` for an operator event.
        pub user_id: Option<UserId>,
        /// The revision of the user's state that the event carries; `None` for a `purchase.updated`.
        pub user_revision: Option<i64>,
        /// When the change happened by the store's clock, if known.
        pub occurred_at: Option<Timestamp>,
        pub created_at: Timestamp,
        /// When the event's body was removed because of its age.
        pub pruned_at: Option<Timestamp>,
        /// The app and platform of the event's purchase, and the environment when it was recorded. `None` for an
        /// operator event.
        pub origin: Option<Origin> = origin,
        /// The app for whose destinations the event was recorded.
        #[serde(skip)]
        pub own_app_id: Option<AppId>,
        /// The destination that the event's alarm is about.
        #[serde(skip)]
        pub concerned: Concerned,
        /// The ledger entry that the event announces.
        pub payment: Option<PaymentFacts> = payment,
        /// Causes of the revision besides notifications.
        pub causes: Option<RevisionCauses>,
    }
}

row! {
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct PaymentFacts {
        pub kind: String,
        /// The number of the paid term.
        pub number: i64,
        /// The amount in USD; null if not known.
        pub usd: Option<String>,
        /// Why the amount is not known.
        pub unknown_because: Option<String>,
        /// The source of the amount: `catalogue`, `store` or `report`.
        pub source: String,
        /// The store's id of the transaction, if the entry comes from a sales report.
        pub transaction_id: Option<String>,
        /// The day of the exchange rate that converts the amount.
        pub rate_day: Option<String>,
        /// Whether the rate is carried forward because the amount's own day has none yet.
        pub is_rate_carried: bool,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    pub delivery: DeliveryView,
    /// Latest attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// The delivery that superseded this one, if it is superseded.
    pub successor: Option<Successor>,
    /// Why the event of a failed delivery could not be resent; `None` if it could.
    pub not_again: Option<Skipped>,
}

row! {
    /// The delivery that superseded another one.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct Successor {
        pub revision: i64,
        pub status: DeliveryStatus,
        pub finished_at: Option<Timestamp>,
    }
}

row! {
    struct EventRow {
        seq: i64,
        facts: EventFacts,
    }
}

row! {
    struct StateRow {
        id: EventId,
        body: String,
        is_pruned: bool,
    }
}

fn origin<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Option<Origin>> {
    let (app, platform) = (
        Option::read(row, "app_id")?,
        Option::read(row, "platform_id")?,
    );
    let environment = Option::read(row, "environment")?;
    Ok(app
        .zip(platform)
        .zip(environment)
        .map(|((app, platform), environment)| (app, platform, environment)))
}

impl Field for Concerned {
    fn read<'a>(row: &impl NamedRow<'a, MultiBackend>, _name: &str) -> deserialize::Result<Self> {
        #[derive(Deserialize)]
        struct Body {
            alarm: Alarm,
        }
        #[derive(Deserialize)]
        struct Alarm {
            destination_id: Option<DestinationId>,
        }
        let body = Option::<String>::read(row, "alarm_body")?;
        let body = body.and_then(|body| serde_json::from_str::<Body>(&body).ok());
        Ok(Self(body.and_then(|body| body.alarm.destination_id)))
    }
}

fn payment<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Option<PaymentFacts>> {
    let kind = Option::<String>::read(row, "kind")?;
    kind.map(|_| PaymentFacts::read(row, "payment")).transpose()
}

const SELECT: &str = "
    SELECT e.seq, e.id, e.event_type, e.collapse_key, e.revision, e.user_id, e.user_revision, e.occurred_at,
        e.created_at, e.pruned_at, e.causes, e.app_id AS own_app_id,
        CASE WHEN e.event_type LIKE 'alarm.%' THEN e.body END AS alarm_body, p.app_id, p.platform_id, e.environment, m.kind, m.number, m.usd,
        m.unknown_because, m.source,
        COALESCE(m.transaction_id, m.store_transaction) AS transaction_id, m.rate_day,
        COALESCE(m.rate_day < m.priced_on, FALSE) AS is_rate_carried
    FROM events e
    LEFT JOIN purchases p ON p.collapse_key = e.collapse_key
    LEFT JOIN payments m ON (m.event_id = e.id OR m.other_event_id = e.id)
    WHERE";

const OF_REVISION: Sql = statement! {hot "events_of_key", "
    {SELECT} e.collapse_key = ? AND e.revision = ? ORDER BY e.seq
"};

/// Returns the events of a revision, in order.
pub fn of_revision(
    connection: &mut AnyConnection,
    key: CollapseKey,
    revision: i64,
    now: Timestamp,
) -> Result<Vec<AnnouncedEvent>, Error> {
    let rows = sql(OF_REVISION).bind(key).bind(revision).all(connection)?;
    with_deliveries(connection, rows, now)
}

const OF_PURCHASE: Sql = statement! {hot "events_of_key", "
    {SELECT} e.collapse_key = ? ORDER BY e.seq DESC LIMIT ?
"};

/// Returns the newest events of a purchase, oldest first, and whether there are older ones.
pub fn of_purchase(
    connection: &mut AnyConnection,
    key: CollapseKey,
    now: Timestamp,
) -> Result<Newest<AnnouncedEvent>, Error> {
    let Newest { all, has_older } = Newest::of(
        sql(OF_PURCHASE)
            .bind(key)
            .bind(MAX_ROWS + 1)
            .all(connection)?,
    );
    Ok(Newest {
        all: with_deliveries(connection, all, now)?,
        has_older,
    })
}

const FIND: Sql = statement! {hot "events_id", "
    {SELECT} e.id = ?
"};

pub fn of_id(
    connection: &mut AnyConnection,
    id: EventId,
    now: Timestamp,
) -> Result<Option<AnnouncedEvent>, Error> {
    let rows = sql(FIND).bind(id).all(connection)?;
    Ok(with_deliveries(connection, rows, now)?.into_iter().next())
}

const OF_EVENTS: Clause = clause!(&[DELIVERIES_WHERE], "event_id IN (?*) ORDER BY seq");

/// Adds the deliveries and changes to events of one purchase.
fn with_deliveries(
    connection: &mut AnyConnection,
    rows: Vec<EventRow>,
    now: Timestamp,
) -> Result<Vec<AnnouncedEvent>, Error> {
    let mut changes = changed(connection, &rows)?;
    let ids: Vec<EventId> = rows.iter().map(|row| row.facts.id).collect();
    let mut of_event: HashMap<EventId, Vec<Sending>> = HashMap::new();
    if !ids.is_empty() {
        for sending in sendings(
            connection,
            sql(DELIVERIES_WHERE.of(OF_EVENTS)).bind_list(ids),
            now,
        )? {
            of_event
                .entry(sending.delivery.event_id)
                .or_default()
                .push(sending);
        }
    }
    let with = |row: EventRow| {
        let event = row.facts;
        Ok(AnnouncedEvent {
            changes: changes.remove(&event.id),
            transfer: transfer(connection, &event)?,
            sendings: of_event.remove(&event.id).unwrap_or_default(),
            event,
        })
    };
    rows.into_iter().map(with).collect()
}

const BODY: Sql = statement! {hot "events_id", "
    SELECT body AS value FROM events WHERE id = ?
"};

/// The part of a body that contains the id of a transfer.
#[derive(Deserialize)]
struct Moved {
    transfer_id: TransferId,
}

/// Returns the transfer that an event announces.
fn transfer(connection: &mut AnyConnection, event: &EventFacts) -> Result<Option<Transfer>, Error> {
    if !TRANSFERS.contains(&event.event_type.as_str()) {
        return Ok(None);
    }
    let body: Option<String> = sql(BODY).bind(event.id).value(connection)?;
    // A removed body contains no transfer.
    let Ok(Moved { transfer_id }) = serde_json::from_str(body.as_deref().unwrap_or_default())
    else {
        return Ok(None);
    };
    transfers::find(connection, transfer_id).map(Some)
}

const STATES: Sql = statement! {hot "events_of_key", "
    SELECT id, body, (pruned_at IS NOT NULL) AS is_pruned
    FROM events
    WHERE collapse_key = ? AND event_type = ? AND seq <= ?
    ORDER BY seq DESC
    LIMIT ?
"};

/// Returns how each `purchase.updated` of these events differs from the one before it, if both bodies are stored.
fn changed(
    connection: &mut AnyConnection,
    rows: &[EventRow],
) -> Result<HashMap<EventId, Vec<Change>>, Error> {
    let mut states = rows
        .iter()
        .filter(|row| row.facts.event_type == PURCHASE_UPDATED)
        .rev()
        .peekable();
    let Some(newest) = states.peek().copied() else {
        return Ok(HashMap::new());
    };
    let with_one_before = i64::try_from(states.count() + 1).unwrap_or(i64::MAX);
    let newest_first: Vec<StateRow> = sql(STATES)
        .bind((
            newest.facts.collapse_key,
            PURCHASE_UPDATED,
            newest.seq,
            with_one_before,
        ))
        .all(connection)?;
    let read =
        |row: &StateRow| serde_json::from_str::<serde_json::Value>(&row.body).unwrap_or_default();
    let mut changed = HashMap::new();
    for pair in newest_first.windows(2) {
        let [after, before] = pair else { continue };
        if !after.is_pruned && !before.is_pruned {
            changed.insert(after.id, changes(&read(before), &read(after)));
        }
    }
    Ok(changed)
}

/// Returns the deliveries that a statement selects, with their attempts.
pub fn sendings(
    connection: &mut AnyConnection,
    select: Statement<'_>,
    now: Timestamp,
) -> Result<Vec<Sending>, Error> {
    let deliveries: Vec<DeliveryView> = select.uncached().all(connection)?;
    let ids: Vec<DeliveryId> = deliveries.iter().map(|delivery| delivery.id).collect();
    let mut attempts = deliveries::newest_attempts(connection, &ids, MAX_ATTEMPTS)?;
    let mut sendings = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let is_replaced = delivery.status == DeliveryStatus::Superseded
            && delivery.event_type == PURCHASE_UPDATED;
        let successor = if is_replaced {
            successor(connection, &delivery)?
        } else {
            None
        };
        let not_again = if delivery.status == DeliveryStatus::Failed {
            page::refused(connection, delivery.event_id, delivery.destination_id, now)?
        } else {
            None
        };
        let attempts = attempts.remove(&delivery.id).unwrap_or_default();
        sendings.push(Sending {
            delivery,
            attempts,
            successor,
            not_again,
        });
    }
    Ok(sendings)
}

const SUCCESSOR: Sql = statement! {"
    SELECT m.revision, m.status, m.finished_at
    FROM deliveries m
    WHERE m.collapse_key = ? AND m.destination_id = ? AND m.event_type = ?
        AND m.status <> 'superseded' AND m.seq > (SELECT d.seq FROM deliveries d WHERE d.id = ?)
    ORDER BY m.seq
    LIMIT 1
"};

/// Returns the next `purchase.updated` of the lane that was not itself superseded.
fn successor(
    connection: &mut AnyConnection,
    delivery: &DeliveryView,
) -> Result<Option<Successor>, Error> {
    sql(SUCCESSOR)
        .bind((
            delivery.collapse_key,
            delivery.destination_id,
            PURCHASE_UPDATED,
            delivery.id,
        ))
        .first(connection)
}
