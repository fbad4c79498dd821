//! The stream of a destination: the events of devices that are pending for it, in order per device. One run takes them
//! in pages; a lease keeps a second one off.
//!
//! A page walks the devices in order of their ids, from the one after the last page, and takes a few events of each: no
//! device has to wait for another one's backlog. An event that has to wait holds back the later events of its device.

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
    /// An event of a device that is pending for a destination.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct StreamedEvent {
        pub seq: i64,
        pub id: EventId,
        pub device_id: DeviceId,
        pub event_type: String,
        pub environment: Environment,
        pub occurred_at: Timestamp,
        pub body: String,
        /// Number of attempts that count as steps of the schedule.
        pub attempts: i64,
        /// Number of these in which the destination refused this event.
        pub refusals: i64,
        pub first_tried_at: Option<Timestamp>,
        pub tried_at: Option<Timestamp>,
        /// When the next attempt is due.
        pub next_due_at: Timestamp,
        pub last_error: Option<String>,
        /// The `webhook-id` of the request with several events in which it was sent last.
        pub batch_id: Option<DeliveryId>,
    }
}

/// The events that a stream may send now.
#[derive(Debug)]
pub enum StreamPage {
    Send(Box<StreamBatch>),
    /// Nothing of these devices: go on after the last one.
    Next {
        /// The last device that was looked at.
        after: DeviceId,
        /// When the first of them is due.
        wait: Option<StreamWait>,
    },
    Wait(StreamWait),
    /// There is no device behind the last one.
    End,
    /// The destination is disabled or deleted.
    Closed,
}

/// For how long nothing can be sent, and why.
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
    /// The events, those of each device in order, and none of a device that has to wait. Events that were sent in one
    /// request and are still pending are all here, or none is.
    pub events: Vec<StreamedEvent>,
    /// Maximum number of requests at once, so that the destination's concurrency holds with those of purchases.
    pub channels: usize,
    /// The last device that was looked at: the next page begins after it.
    pub last_device: DeviceId,
    /// The present time by the database's clock.
    pub at: Timestamp,
    /// `Probe` for the one event that is sent although the breaker is open.
    pub mode: Mode,
}

/// A lease of the stream of a destination.
#[derive(Debug, Clone)]
pub struct StreamLease {
    pub destination: DestinationId,
    pub token: String,
    /// How long it holds the stream without leasing again.
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
    /// The enabled destinations for which events of devices are pending.
    pub async fn streams_pending(&self) -> Result<Vec<DestinationId>, Error> {
        self.read(move |connection| sql(PENDING).values(connection))
            .await
    }

    /// Number of events of devices that are pending for a destination, counted up to 10,000.
    pub async fn stream_backlog(&self, destination: DestinationId) -> Result<i64, Error> {
        let count =
            move |connection: &mut AnyConnection| sql(COUNT).bind(destination).value(connection);
        Ok(self.read(count).await?.unwrap_or_default())
    }

    /// Gives the stream up, after the last request of its page.
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

    /// Whether the holder with this token still has the stream.
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
