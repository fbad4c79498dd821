//! Deliveries: what is owed of an event to a destination.

use crate::connection::AnyConnection;
use crate::error::Error;
use crate::statement::{Number, row, sql};
use crate::writer::Write;
use domain::{CollapseKey, DeliveryId, DestinationId, EventId, Timestamp};

row! {
    /// An event, without its body.
    pub struct Event {
        pub id: EventId,
        pub event_type: String,
        pub collapse_key: CollapseKey,
        pub revision: i64,
        pub traceparent: Option<String>,
    }
}

row! {
    /// A delivery as a lane needs it.
    pub struct DeliveryRow {
        pub seq: i64,
        pub id: DeliveryId,
        pub event_id: EventId,
        pub event_type: String,
        pub collapse_key: CollapseKey,
        pub destination_id: DestinationId,
        pub revision: i64,
        pub attempts: i64,
        pub next_due_at: Timestamp,
        pub body: Option<String>,
        pub last_error: Option<String>,
        pub traceparent: Option<String>,
    }
}

/// What every read of a [`DeliveryRow`] begins with.
pub const SELECT: &str = "SELECT seq, id, event_id, event_type, collapse_key, destination_id, revision, \
     attempts, next_due_at, body, last_error, traceparent FROM deliveries";

/// Records that a destination is owed an event, for the `n`th time.
pub fn owe(write: &mut Write<'_>, event: &Event, destination: DestinationId, n: u32) -> Result<(), Error> {
    sql("INSERT INTO deliveries (id, destination_id, event_id, n, event_type, collapse_key, revision, status, \
         attempts, next_due_at, traceparent, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', 0, ?, ?, ?)")
    .bind(DeliveryId::of(destination, event.id, n))
    .bind(destination)
    .bind(event.id)
    .bind(i64::from(n))
    .bind(event.event_type.as_str())
    .bind(event.collapse_key)
    .bind(event.revision)
    .bind(write.now)
    .bind(event.traceparent.as_deref())
    .bind(write.now)
    .run(write.connection)
    .map(drop)
}

/// One delivery.
pub fn find(connection: &mut AnyConnection, id: DeliveryId) -> Result<DeliveryRow, Error> {
    sql(format!("{SELECT} WHERE id = ?")).bind(id).first(connection)?.ok_or(Error::Missing { what: "delivery" })
}

/// The newest sequence number ever recorded in a lane, or 0.
pub fn last_seq(connection: &mut AnyConnection, key: CollapseKey, destination: DestinationId) -> Result<i64, Error> {
    let last: Option<Number> = sql(
        "SELECT seq AS value FROM deliveries WHERE collapse_key = ? AND destination_id = ? ORDER BY seq DESC LIMIT 1",
    )
    .bind(key)
    .bind(destination)
    .first(connection)?;
    Ok(last.map_or(0, |last| last.value))
}

/// Ends what is still owed to a destination that was deleted.
pub fn end_deleted(write: &mut Write<'_>, destination: DestinationId) -> Result<(), Error> {
    sql("UPDATE deliveries SET status = 'dead', last_error = 'the destination was deleted', finished_at = ? \
         WHERE destination_id = ? AND status = 'pending'")
    .bind(write.now)
    .bind(destination)
    .run(write.connection)
    .map(drop)
}
