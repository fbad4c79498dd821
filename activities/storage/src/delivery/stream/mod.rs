//! The stream of a destination: the device events that are pending for it, in order per device. One run sends them in
//! pages; a lease keeps a second run out.
//!
//! A page reads the devices in order of their ids, from the one after the last page, and takes a few events of each: no
//! device has to wait for another device's backlog. An event that has to wait holds back the later events of its
//! device.

mod due;
pub mod finish;
mod lease;
pub mod start;

use crate::delivery::lanes::Mode;
use crate::delivery::places;
use crate::settings::destinations::Destination;
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::{JobKind, Write};
use domain::{DeliveryId, DestinationId, DeviceId, Environment, EventId, Timestamp};
use secrecy::SecretString;
use std::time::Duration;

/// Time between two events that are sent while the breaker of the destination is open.
const PROBE_EVERY: Duration = Duration::from_secs(30);

row! {
    /// A device event that is pending for a destination.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct StreamedEvent {
        pub seq: i64,
        pub id: EventId,
        pub device_id: DeviceId,
        pub event_type: String,
        pub environment: Environment,
        pub occurred_at: Timestamp,
        pub body: String,
        /// Number of attempts that count as steps of the retry schedule.
        pub attempts: i64,
        /// Number of counted attempts in which the destination refused this event.
        pub refusals: i64,
        pub first_tried_at: Option<Timestamp>,
        pub tried_at: Option<Timestamp>,
        /// When the next attempt is due.
        pub next_due_at: Timestamp,
        pub last_error: Option<String>,
        /// The `webhook-id` of the last request in which the event was sent together with others.
        pub batch_id: Option<DeliveryId>,
    }
}

/// The result of reading a page of a stream.
#[derive(Debug)]
pub enum StreamPage {
    Send(Box<StreamBatch>),
    /// None of the checked devices has an event to send: continue after the last one.
    Next {
        /// The last device that was checked.
        after: DeviceId,
        /// How long until the first of their events is due.
        wait: Option<StreamWait>,
    },
    Wait(StreamWait),
    /// There are no further devices.
    End,
    /// The destination is disabled or deleted.
    Closed,
}

/// How long nothing can be sent, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamWait {
    pub wait: Duration,
    pub why: String,
}

/// Events that a stream may send now.
#[derive(Debug)]
pub struct StreamBatch {
    pub destination: Destination,
    pub secret: SecretString,
    /// The events to send, those of each device in order, and none of a device that has to wait. Pending events that
    /// were sent together in one request are either all included or all left out.
    pub events: Vec<StreamedEvent>,
    /// Maximum number of requests in flight, which keeps the destination's concurrency together with the requests of
    /// purchases.
    pub channels: usize,
    /// The last device that was checked: the next page begins after it.
    pub last_device: DeviceId,
    /// The current time by the database's clock.
    pub at: Timestamp,
    /// `Probe` for the one event that is sent although the breaker is open.
    pub mode: Mode,
}

/// A lease of the stream of a destination.
#[derive(Debug, Clone)]
pub struct StreamLease {
    pub destination: DestinationId,
    pub token: String,
    /// How long the lease holds the stream, unless it is leased again.
    pub duration: Duration,
    /// The device after which the page begins; `None` for the first one.
    pub after: Option<DeviceId>,
}

row! {
    struct StreamRow {
        lease_token: Option<String>,
        lease_until: Option<Timestamp>,
        probed_at: Option<Timestamp>,
    }
}

const CREATE: Sql =
    statement!("INSERT INTO streams (destination_id) VALUES (?) ON CONFLICT DO NOTHING");

const FIND: Sql =
    statement!("SELECT lease_token, lease_until, probed_at FROM streams WHERE destination_id = ?");

const LOCK: Sql = statement! {"
    SELECT lease_token, lease_until, probed_at FROM streams WHERE destination_id = ?
    FOR UPDATE
"};

const TAKE: Sql = statement! {"
    UPDATE streams
    SET lease_token = ?, lease_until = ?, is_waiting = ?
    WHERE destination_id = ?
"};

const PROBE: Sql = statement!("UPDATE streams SET probed_at = ? WHERE destination_id = ?");

const RELEASE: Sql = statement! {"
    UPDATE streams
    SET lease_token = NULL, lease_until = NULL, is_waiting = FALSE
    WHERE destination_id = ? AND lease_token = ?
"};

const PENDING: Sql = statement! {"
    SELECT d.id AS value
    FROM destinations d
    WHERE d.enabled AND d.deleted_at IS NULL
        AND (SELECT 1 FROM device_deliveries p WHERE p.destination_id = d.id AND p.status = 'pending' LIMIT 1) IS NOT NULL
"};

const COUNT: Sql = statement! {hot "device_deliveries_pending", "
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM device_deliveries WHERE destination_id = ? AND status = 'pending' LIMIT 10000) AS counted
"};

impl Store {
    /// Returns the enabled destinations for which device events are pending.
    pub async fn streams_pending(&self) -> Result<Vec<DestinationId>, Error> {
        self.read(move |connection| sql(PENDING).values(connection))
            .await
    }

    /// Returns the number of device events that are pending for a destination, counted up to 10,000.
    pub async fn stream_backlog(&self, destination: DestinationId) -> Result<i64, Error> {
        let count =
            move |connection: &mut AnyConnection| sql(COUNT).bind(destination).value(connection);
        Ok(self.read(count).await?.unwrap_or_default())
    }

    /// Releases the stream after the last request of its page.
    pub async fn release_stream(&self, lease: &StreamLease) -> Result<(), Error> {
        let StreamLease {
            destination, token, ..
        } = lease.clone();
        let release = move |write: &mut Write<'_>| {
            places::release(write, destination, &token)?;
            sql(RELEASE)
                .bind(destination)
                .bind(token.as_str())
                .run(write.connection)
                .map(drop)
        };
        self.database
            .writer
            .write(JobKind::Stream(destination), release)
            .await
    }

    /// Whether the holder with this token still holds the stream.
    pub async fn holds_stream(&self, lease: &StreamLease) -> Result<bool, Error> {
        let StreamLease {
            destination, token, ..
        } = lease.clone();
        self.read_now(move |connection, now| {
            let stream: Option<StreamRow> = sql(FIND).bind(destination).first(connection)?;
            Ok(stream.is_some_and(|stream| stream.is_held(&token, now)))
        })
        .await
    }
}

impl StreamRow {
    fn is_of(&self, token: &str) -> bool {
        self.lease_token.as_deref() == Some(token)
    }

    fn is_held(&self, token: &str, now: Timestamp) -> bool {
        self.is_of(token) && self.lease_until.is_some_and(|until| until > now)
    }
}
