//! The revenue of an event, as a destination that counts revenue receives it: the price of a payment, or the amount by
//! which an adjustment changes it.

use crate::events::deliveries::{DeliveryRow, Event};
use crate::events::status::DeliveryStatus;
use crate::settings::destinations::Destination;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::payment::EntryKind;
use domain::{DestinationId, EventId};

/// The entry of the ledger that an event announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earned {
    pub kind: EntryKind,
    /// Amount in USD; `None` if unknown.
    pub usd: Option<String>,
    pub unknown_because: Option<String>,
    pub sku: Option<String>,
    /// Whether another event announces the same payment to the destination, and carries the amount in its place.
    pub is_elsewhere: bool,
    /// For a change of a payment: why the destination has no payment that the change could adjust.
    pub not_counted_because: Option<&'static str>,
}

row! {
    struct EntryRow {
        kind: EntryKind,
        entry: i64,
        usd: Option<String>,
        unknown_because: Option<String>,
        sku: Option<String>,
        event_id: EventId,
        other_event_id: Option<EventId>,
        payment_event_id: EventId,
        payment_other_event_id: Option<EventId>,
    }
}

row! {
    struct QueuedRow {
        event_id: EventId,
        status: DeliveryStatus,
    }
}

impl EntryRow {
    /// Returns the events that announce the payment.
    fn payment_events(&self) -> Vec<EventId> {
        std::iter::once(self.payment_event_id)
            .chain(self.payment_other_event_id)
            .collect()
    }
}

impl Earned {
    /// Returns the amount that the event carries, if it carries one.
    pub fn revenue(&self) -> Option<&str> {
        let usd = self
            .usd
            .as_deref()
            .filter(|_| !self.is_elsewhere && self.not_counted_because.is_none());
        usd.filter(|usd| usd.bytes().any(|digit| matches!(digit, b'1'..=b'9')))
    }
}

/// Returns the entry that a delivery announces to a destination that counts revenue; `None` if its event announces
/// none.
pub fn earned(connection: &mut AnyConnection, row: &DeliveryRow) -> Result<Option<Earned>, Error> {
    let Some(entry) = entry(connection, row.event_id)? else {
        return Ok(None);
    };
    let queued = queued(connection, &entry.payment_events(), row.destination_id)?;
    let is_payment = entry.entry == 0;
    // Which of the two events was queued first never changes, even if the destination changes its choice.
    let first = queued
        .first()
        .map_or(entry.event_id, |first| first.event_id);
    let is_other = is_payment && entry.other_event_id == Some(row.event_id);
    Ok(Some(Earned {
        kind: if is_other {
            EntryKind::Renewal
        } else {
            entry.kind
        },
        usd: entry.usd,
        unknown_because: entry.unknown_because,
        sku: entry.sku,
        is_elsewhere: is_payment && first != row.event_id,
        not_counted_because: if is_payment {
            None
        } else {
            not_counted_because(&queued)
        },
    }))
}

/// Returns whether a destination gets an event regardless of its choice: a change of a payment, if the destination
/// counts revenue and the payment was ever queued for it.
pub fn is_implied(
    connection: &mut AnyConnection,
    event: EventId,
    destination: &Destination,
) -> Result<bool, Error> {
    let Some(entry) =
        entry(connection, event)?.filter(|entry| entry.entry > 0 && destination.per_user)
    else {
        return Ok(false);
    };
    was_queued(connection, &entry.payment_events(), destination.id)
}

/// Returns whether one of these events was ever queued for a destination.
pub fn was_queued(
    connection: &mut AnyConnection,
    events: &[EventId],
    destination: DestinationId,
) -> Result<bool, Error> {
    Ok(!queued(connection, events, destination)?.is_empty())
}

const CHANGES: Sql = statement! {hot "payments_other_event", "
    SELECT e.id, e.event_type, e.collapse_key, e.revision, e.traceparent
    FROM payments m
    JOIN payments p ON p.collapse_key = m.collapse_key AND p.number = m.number AND p.entry > 0
    JOIN events e ON e.id = p.event_id
    WHERE m.entry = 0 AND (m.event_id = ? OR m.other_event_id = ?)
    ORDER BY p.entry
"};

/// Returns the events that announce changes of the payment that the event `payment` announces, in their order.
pub fn changes(connection: &mut AnyConnection, payment: EventId) -> Result<Vec<Event>, Error> {
    sql(CHANGES).bind(payment).bind(payment).all(connection)
}

/// Returns why a change of a payment changes no revenue at a destination; `None` if it does. Revenue that the
/// destination never counted is not adjusted there.
fn not_counted_because(queued: &[QueuedRow]) -> Option<&'static str> {
    let is = |status: DeliveryStatus| queued.iter().any(|one| one.status == status);
    match () {
        () if is(DeliveryStatus::Delivered)
            || is(DeliveryStatus::Pending)
            || is(DeliveryStatus::Waiting) =>
        {
            None
        }
        () if is(DeliveryStatus::Failed) => Some(
            "the payment's delivery to this destination failed, so there is no revenue to adjust",
        ),
        () => {
            Some("the payment was not sent to this destination, so there is no revenue to adjust")
        }
    }
}

const QUEUED: Sql = statement! {"
    SELECT event_id, status
    FROM deliveries
    WHERE event_id IN (?*) AND destination_id = ?
    ORDER BY seq
"};

fn queued(
    connection: &mut AnyConnection,
    events: &[EventId],
    destination: DestinationId,
) -> Result<Vec<QueuedRow>, Error> {
    sql(QUEUED)
        .bind_list(events.iter().copied())
        .bind(destination)
        .all(connection)
}

const ENTRY: Sql = statement! {hot "payments_event", "
    SELECT p.kind, p.entry, p.usd, p.unknown_because, p.sku, p.event_id, p.other_event_id,
        m.event_id AS payment_event_id, m.other_event_id AS payment_other_event_id
    FROM payments p
    JOIN payments m ON m.collapse_key = p.collapse_key AND m.number = p.number AND m.entry = 0
    WHERE p.event_id = ? OR p.other_event_id = ?
"};

fn entry(connection: &mut AnyConnection, event: EventId) -> Result<Option<EntryRow>, Error> {
    sql(ENTRY).bind(event).bind(event).first(connection)
}
