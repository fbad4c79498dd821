//! Device events, as the API lists and explains them: each with its deliveries.

use crate::delivery::stream::finish::StreamStatus;
use crate::reports::explain::{Addressee, of_app};
use crate::reports::scope::{app_of_destination, platforms};
use crate::reports::walk::{Conditions, Indexed, Unordered, Walk};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::partial::LISTED_E;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, clean, row, sql};
use domain::{
    AppId, DeliveryId, DestinationId, DeviceId, Environment, EventId, PlatformId, SessionId,
    Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which events of devices are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct DeviceEventFilter {
    /// Only events of this app.
    pub app_id: Option<AppId>,
    /// Only events of this platform.
    pub platform_id: Option<PlatformId>,
    /// Only events of this device, by the `id` that the app generated.
    pub device_id: Option<DeviceId>,
    /// Only events of this type.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = domain::event::device_types()))]
    pub event_type: Option<String>,
    /// Only the event with this `id` in the app's report.
    pub client_id: Option<String>,
    /// Only events that were queued for this destination.
    pub destination_id: Option<DestinationId>,
    /// Only events with a delivery of this status, to `destination_id` if given or otherwise to any destination.
    pub status: Option<StreamStatus>,
}

row! {
    /// An event that a device reported.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct DeviceEventFacts {
        /// Id of the event, as destinations receive it.
        pub id: EventId,
        /// Type of the event.
        #[serde(rename = "type")]
        pub event_type: String,
        /// Id of the device's platform.
        pub platform_id: PlatformId,
        /// Id of the device.
        pub device_id: DeviceId,
        /// The app's own id for the event. A session that ended by timeout has `session/` followed by the session's id.
        pub client_id: String,
        /// Id of the session.
        pub session_id: Option<SessionId>,
        /// Environment of the platform when the event was received.
        pub environment: Environment,
        /// When the event occurred, by the server's clock.
        pub occurred_at: Timestamp,
        /// When the event was received.
        pub created_at: Timestamp,
    }
}

/// The delivery of a device event to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DeviceDelivery")]
pub struct DeviceDeliveryView {
    /// Id of the destination.
    pub destination_id: DestinationId,
    /// `webhook-id` of the request.
    pub webhook_id: DeliveryId,
    /// Status of the delivery.
    pub status: StreamStatus,
    /// Number of attempts that count as steps of the retry schedule.
    pub attempts: i64,
    /// When the next attempt is due; null unless the delivery is pending.
    pub next_due_at: Option<Timestamp>,
    /// When the event was first sent; null if it has not been.
    pub first_tried_at: Option<Timestamp>,
    /// When the event was last sent.
    pub tried_at: Option<Timestamp>,
    /// Stable name of the last request's result.
    pub last_class: Option<String>,
    /// HTTP status of the last response, if there was one.
    pub last_status: Option<i64>,
    /// Duration of the last request in milliseconds.
    pub latency_ms: Option<i64>,
    /// Why the event is not delivered: why the last request failed, or why none was sent.
    pub last_error: Option<String>,
    /// When the delivery finished; null while it is pending.
    pub finished_at: Option<Timestamp>,
}

/// A device event with its deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DeviceEvent")]
pub struct DeviceEventView {
    /// The event.
    #[serde(flatten)]
    pub event: DeviceEventFacts,
    /// One delivery for each destination that was subscribed to the event when it was received.
    pub deliveries: Vec<DeviceDeliveryView>,
}

/// A device event with its body.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "DeviceEventWithBody")]
pub struct DeviceEventFull {
    /// The event.
    #[serde(flatten)]
    pub event: DeviceEventView,
    /// Body of the event, without the fields that depend on a destination.
    pub body: serde_json::Value,
}

/// The explanation of a device event.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceEventExplanation {
    pub event: DeviceEventView,
    pub app_id: AppId,
    pub addressees: Vec<Addressee>,
    pub now: Timestamp,
}

row! {
    struct EventRow {
        seq: i64,
        event: DeviceEventFacts,
    }
}

row! {
    struct FullRow {
        seq: i64,
        event: DeviceEventFacts,
        body: serde_json::Value,
        app_id: AppId,
    }
}

row! {
    struct DeliveryRow {
        event_seq: i64,
        destination_id: DestinationId,
        status: StreamStatus,
        attempts: i64,
        next_due_at: Timestamp,
        first_tried_at: Option<Timestamp>,
        tried_at: Option<Timestamp>,
        last_class: Option<String>,
        last_status: Option<i64>,
        latency_ms: Option<i64>,
        last_error: Option<String>,
        finished_at: Option<Timestamp>,
    }
}

const EVENT: &str = "e.seq, e.id, e.event_type, e.platform_id, e.device_id, e.client_id, e.session_id, e.environment, \
    e.occurred_at, e.created_at";

const LIST: Sql = statement! {"
    SELECT CAST(e.seq AS TEXT) AS cursor, {EVENT}
    FROM device_events e
    WHERE e.seq < ? AND e.seq >= ? AND {{which}}
    ORDER BY e.seq DESC
    LIMIT ?
"};
const FLOOR: Sql = statement! {"
    SELECT CAST(e.seq AS TEXT) AS value
    FROM device_events e
    WHERE e.seq < ?
    ORDER BY e.seq DESC
    LIMIT 1 OFFSET ?
"};
const LIST_OF_PLATFORM: Sql = statement! {"
    SELECT CAST(e.seq AS TEXT) AS cursor, {EVENT}
    FROM device_events e
    WHERE {LISTED_E} AND (e.platform_id, e.seq) < (?, ?) AND (e.platform_id, e.seq) >= (?, ?) AND {{which}}
    ORDER BY e.platform_id DESC, e.seq DESC
    LIMIT ?
"};
const FLOOR_OF_PLATFORM: Sql = statement! {hot "device_events_of_platform", "
    SELECT CAST(e.seq AS TEXT) AS value
    FROM device_events e
    WHERE {LISTED_E} AND (e.platform_id, e.seq) < (?, ?) AND (e.platform_id, e.seq) >= (?, 0)
    ORDER BY e.platform_id DESC, e.seq DESC
    LIMIT 1 OFFSET ?
"};
// A partial index for one status is used only by a statement that contains this status as a literal.
const LIST_OF_FAILED: Sql = statement! {"
    SELECT CAST(e.seq AS TEXT) AS cursor, {EVENT}
    FROM device_events e
    WHERE e.seq IN (
            SELECT d.event_seq
            FROM device_deliveries d
            WHERE d.status = 'failed' AND d.status = ? AND d.event_seq < ? AND d.status = ? AND d.event_seq >= ?
        )
        AND {{which}}
    ORDER BY e.seq DESC
    LIMIT ?
"};
const FLOOR_OF_FAILED: Sql = statement! {hot "device_deliveries_failed", "
    SELECT CAST(d.event_seq AS TEXT) AS value
    FROM device_deliveries d
    WHERE d.status = 'failed' AND d.status = ? AND d.event_seq < ? AND d.status = ?
    ORDER BY d.event_seq DESC
    LIMIT 1 OFFSET ?
"};
const LIST_OF_SKIPPED: Sql = statement! {"
    SELECT CAST(e.seq AS TEXT) AS cursor, {EVENT}
    FROM device_events e
    WHERE e.seq IN (
            SELECT d.event_seq
            FROM device_deliveries d
            WHERE d.status = 'skipped' AND d.status = ? AND d.event_seq < ? AND d.status = ? AND d.event_seq >= ?
        )
        AND {{which}}
    ORDER BY e.seq DESC
    LIMIT ?
"};
const FLOOR_OF_SKIPPED: Sql = statement! {hot "device_deliveries_skipped", "
    SELECT CAST(d.event_seq AS TEXT) AS value
    FROM device_deliveries d
    WHERE d.status = 'skipped' AND d.status = ? AND d.event_seq < ? AND d.status = ?
    ORDER BY d.event_seq DESC
    LIMIT 1 OFFSET ?
"};
const UNORDERED: Unordered = Unordered {
    list: LIST_UNORDERED,
    count: COUNT,
};
const LIST_UNORDERED: Sql = statement! {"
    SELECT CAST(e.seq AS TEXT) AS cursor, {EVENT}
    FROM device_events e
    WHERE e.seq + 0 < ? AND e.seq + 0 >= ? AND {{which}}
    ORDER BY e.seq + 0 DESC
    LIMIT ?
"};
const COUNT: Sql = statement! {"
    SELECT COUNT(*) AS value FROM (SELECT 1 FROM device_events e WHERE {{which}} LIMIT ?) x
"};
const OF_DEVICE: Clause =
    clause!(&[LIST_UNORDERED, COUNT], hot "device_events_identity", "e.device_id = ?");
const LISTS: &[Sql] = &[
    LIST,
    LIST_OF_PLATFORM,
    LIST_OF_FAILED,
    LIST_OF_SKIPPED,
    LIST_UNORDERED,
];
// Conditions that no index serves: those of indexed lists in another form, and further ones.
const ON_PLATFORMS: Clause = clause!(LISTS, "e.platform_id || '' IN (?*)");
const BY_DEVICE: Clause = clause!(LISTS, "e.device_id || '' IN (?*)");
const IN_STATUS: Clause = clause! {LISTS, "
    EXISTS (SELECT 1 FROM device_deliveries d WHERE d.event_seq = e.seq AND d.status || '' IN (?*))
"};
const OF_TYPE: Clause = clause!(LISTS, "e.event_type = ?");
const OF_CLIENT_ID: Clause = clause!(LISTS, "e.client_id || '' = ?");
const TO_DESTINATION: Clause = clause! {LISTS, "
    EXISTS (SELECT 1 FROM device_deliveries d WHERE d.event_seq = e.seq AND d.destination_id = ?)
"};
const TO_DESTINATION_IN_STATUS: Clause = clause! {LISTS, "
    EXISTS (SELECT 1 FROM device_deliveries d
        WHERE d.event_seq = e.seq AND d.destination_id || '/' || d.status = ?)
"};

const FIND: Sql = statement! {hot "device_events_id", "
    SELECT {EVENT}, e.body, f.app_id
    FROM device_events e
    JOIN platforms f ON f.id = e.platform_id
    WHERE e.id = ?
"};

const DELIVERIES: Sql = statement! {"
    SELECT d.event_seq, d.destination_id, d.status, d.attempts, d.next_due_at, d.first_tried_at, d.tried_at,
        d.last_class, d.last_status, d.latency_ms, d.last_error, d.finished_at
    FROM device_deliveries d
    WHERE d.event_seq IN (?*)
    ORDER BY d.event_seq, d.destination_id
"};

impl Store {
    /// Lists device events, newest first. A page can have fewer items than its limit even if another page follows.
    pub async fn device_events(
        &self,
        filter: DeviceEventFilter,
        page: Page,
    ) -> Result<Paged<DeviceEventView>, Error> {
        self.read(move |connection| {
            let platforms = filter.platforms(connection)?;
            let (indexed, others) = filter.conditions(platforms);
            let (first, range) = (Vec::new(), (0, i64::MAX));
            let walk = Walk {
                list: LIST,
                floor: FLOOR,
                first,
                indexed,
                others,
                range,
            };
            let Paged { items, next_cursor } = walk.page::<EventRow>(connection, &page)?;
            Ok(Paged {
                items: with_deliveries(connection, items)?,
                next_cursor,
            })
        })
        .await
    }

    /// Returns a device event with its body.
    pub async fn device_event(&self, id: EventId) -> Result<DeviceEventFull, Error> {
        self.read(move |connection| {
            let (event, body, _) = find(connection, id)?;
            Ok(DeviceEventFull { event, body })
        })
        .await
    }

    /// Explains a device event by the destinations of its app.
    pub async fn explain_device_event(&self, id: EventId) -> Result<DeviceEventExplanation, Error> {
        self.read_now(move |connection, now| {
            let (event, _, app_id) = find(connection, id)?;
            Ok(DeviceEventExplanation {
                event,
                app_id,
                addressees: of_app(connection, app_id)?,
                now,
            })
        })
        .await
    }
}

impl DeviceEventFilter {
    /// Returns the platforms to which the filter restricts events; `None` for all. A destination only gets events of
    /// its app.
    fn platforms(&self, connection: &mut AnyConnection) -> Result<Option<Vec<PlatformId>>, Error> {
        let app = match (self.app_id, self.platform_id, self.destination_id) {
            (None, None, Some(destination)) => match app_of_destination(connection, destination)? {
                None => return Ok(Some(Vec::new())),
                found => found,
            },
            (app, _, _) => app,
        };
        platforms(connection, app, self.platform_id)
    }

    /// Returns the filter's conditions: those with an index, and the others.
    fn conditions(self, platforms: Option<Vec<PlatformId>>) -> Conditions {
        let storable = |text: String| Value::from(clean(&text).into_owned());
        let both = self
            .destination_id
            .zip(self.status)
            .map(|(id, status)| format!("{id}/{}", status.as_str()));
        let any_destination = self.status.filter(|_| self.destination_id.is_none());
        let (of_status, other) = match any_destination {
            Some(status @ StreamStatus::Failed) => {
                (Some(([LIST_OF_FAILED, FLOOR_OF_FAILED], status)), None)
            }
            Some(status @ StreamStatus::Skipped) => {
                (Some(([LIST_OF_SKIPPED, FLOOR_OF_SKIPPED], status)), None)
            }
            other => (None, other),
        };
        let mut indexed: Vec<Indexed<'static>> = Vec::new();
        indexed.extend(
            platforms
                .map(|all| Indexed::by([LIST_OF_PLATFORM, FLOOR_OF_PLATFORM], ON_PLATFORMS, all)),
        );
        indexed.extend(
            self.device_id
                .map(|device| Indexed::unordered(UNORDERED, OF_DEVICE, BY_DEVICE, device)),
        );
        indexed
            .extend(of_status.map(|(lists, status)| Indexed::by_range(lists, IN_STATUS, status)));
        let others: [(Clause, Option<Value<'static>>); 5] = [
            (OF_TYPE, self.event_type.map(storable)),
            (OF_CLIENT_ID, self.client_id.map(storable)),
            (
                TO_DESTINATION,
                self.destination_id
                    .filter(|_| self.status.is_none())
                    .map(Into::into),
            ),
            (TO_DESTINATION_IN_STATUS, both.map(Into::into)),
            (IN_STATUS, other.and_then(|status| Value::list([status]))),
        ];
        (
            indexed,
            others
                .into_iter()
                .filter(|(_, value)| value.is_some())
                .collect(),
        )
    }
}

fn find(
    connection: &mut AnyConnection,
    id: EventId,
) -> Result<(DeviceEventView, serde_json::Value, AppId), Error> {
    let FullRow {
        seq,
        event,
        body,
        app_id,
    } = sql(FIND).bind(id).one(connection, "event")?;
    let with = with_deliveries(connection, vec![EventRow { seq, event }])?;
    let view = with
        .into_iter()
        .next()
        .ok_or(Error::Missing { what: "event" })?;
    Ok((view, body, app_id))
}

/// Adds its deliveries to each event.
fn with_deliveries(
    connection: &mut AnyConnection,
    events: Vec<EventRow>,
) -> Result<Vec<DeviceEventView>, Error> {
    let Some(seqs) = Value::list(events.iter().map(|row| row.seq)) else {
        return Ok(Vec::new());
    };
    let rows: Vec<DeliveryRow> = sql(DELIVERIES).uncached().bind(seqs).all(connection)?;
    let mut of_event: BTreeMap<i64, Vec<DeliveryRow>> = BTreeMap::new();
    for row in rows {
        of_event.entry(row.event_seq).or_default().push(row);
    }
    let with = |EventRow { seq, event }: EventRow| {
        let deliveries = of_event
            .remove(&seq)
            .unwrap_or_default()
            .into_iter()
            .map(|row| row.view(event.id))
            .collect();
        DeviceEventView { event, deliveries }
    };
    Ok(events.into_iter().map(with).collect())
}

impl DeliveryRow {
    fn view(self, event: EventId) -> DeviceDeliveryView {
        let Self {
            destination_id,
            status,
            attempts,
            first_tried_at,
            tried_at,
            last_class,
            last_status,
            ..
        } = self;
        DeviceDeliveryView {
            destination_id,
            webhook_id: DeliveryId::of(destination_id, event, 0),
            status,
            attempts,
            next_due_at: (status == StreamStatus::Pending).then_some(self.next_due_at),
            first_tried_at,
            tried_at,
            last_class,
            last_status,
            latency_ms: self.latency_ms,
            last_error: self.last_error,
            finished_at: self.finished_at,
        }
    }
}
