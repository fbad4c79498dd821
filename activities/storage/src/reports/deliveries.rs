//! Deliveries and their attempts, as the API shows them.

use crate::events::status::DeliveryStatus;
use crate::reports::scope::destinations;
use crate::reports::walk::{Condition, Conditions, Indexed, Unordered, Walk};
use crate::store::Store;
use db::connection::{AnyConnection, MultiBackend};
use db::error::Error;
use db::page::{Page, Paged};
use db::partial::{
    FAILED_IN_ORDER, FAILED_OF_DESTINATION, LISTED, PENDING_IN_ORDER, PENDING_OF_DESTINATION,
    SKIPPED_IN_ORDER, SKIPPED_OF_DESTINATION, WAITING_IN_ORDER, WAITING_OF_DESTINATION,
};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Field, Value, row, sql};
use diesel::deserialize;
use diesel::row::NamedRow;
use domain::{AppId, CollapseKey, DeliveryId, DestinationId, EventId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Which deliveries are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct DeliveryFilter {
    /// Only deliveries to destinations of this app.
    pub app_id: Option<AppId>,
    /// Only deliveries for this purchase.
    pub collapse_key: Option<CollapseKey>,
    /// Only deliveries to this destination.
    pub destination_id: Option<DestinationId>,
    /// Only deliveries with this status.
    #[schemars(
        with = "Option<String>",
        extend("enum" = ["pending", "waiting", "delivered", "superseded", "skipped", "failed", null])
    )]
    pub status: Option<DeliveryStatus>,
}

row! {
    /// A delivery of an event to a destination.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    #[schemars(rename = "Delivery")]
    pub struct DeliveryView {
        /// Id of the delivery, sent as `webhook-id`.
        pub id: DeliveryId,
        /// Id of the event.
        pub event_id: EventId,
        /// Type of the event.
        pub event_type: String,
        /// Key of the purchase.
        pub collapse_key: CollapseKey,
        /// Id of the destination.
        pub destination_id: DestinationId,
        /// Revision of the purchase that the event announces.
        pub revision: i64,
        /// Number of earlier deliveries of the event to this destination; 0 for the first.
        pub n: i64,
        /// `pending`, `waiting`, `delivered`, `superseded`, `skipped` or `failed`.
        #[schemars(
            with = "String",
            extend("enum" = ["pending", "waiting", "delivered", "superseded", "skipped", "failed"])
        )]
        pub status: DeliveryStatus,
        /// Number of attempts started. An attempt that sent no request, because of unusable settings or an expired
        /// lease, is replaced by the next one.
        pub attempts: i64,
        /// When the next attempt is due; null unless the delivery is pending.
        pub next_due_at: Option<Timestamp>,
        /// Why the last attempt failed or was not made.
        pub last_error: Option<String>,
        /// When the first request was sent. For a redelivery, this may be a request of an earlier delivery.
        pub first_tried_at: Option<Timestamp>,
        /// When the delivery finished; null while it is pending or waiting.
        pub finished_at: Option<Timestamp>,
        /// When the attempts were removed because of their age. `attempts` still counts them.
        pub pruned_at: Option<Timestamp>,
        /// When the delivery was recorded.
        pub created_at: Timestamp,
    }
}

row! {
    /// An attempt to deliver an event.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    #[schemars(rename = "Attempt")]
    pub struct AttemptView {
        /// Number of the attempt within its delivery, from 1.
        pub number: i64,
        /// Workflow that made the attempt: the purchase's (`lane`), or the destination's, which delivers its backlog
        /// (`drain`) or probes it (`probe`).
        pub mode: String,
        /// Whether the attempt used up a step of the retry schedule.
        pub counts: bool,
        /// When the attempt started.
        pub started_at: Timestamp,
        /// When the attempt finished; null if it is in flight, or if its worker died.
        pub finished_at: Option<Timestamp>,
        /// Duration in milliseconds.
        pub latency_ms: i64,
        /// HTTP status of the response, if there was one.
        #[schemars(with = "Option<i32>")]
        pub status: Option<i64>,
        /// Stable name of the result; `unfinished` if there is none.
        pub class: String,
        /// Description of the error, for people.
        pub error: Option<String>,
        /// Recorded headers of the response.
        pub headers: Vec<(String, String)> = headers,
        /// Beginning of the response body.
        pub response: Option<String>,
        /// When the next attempt was due, as planned after this one.
        pub next_due_at: Option<Timestamp>,
    }
}

row! {
    /// The body of a delivery as it is sent, and the values from which its headers are built.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SentBody {
        pub id: DeliveryId,
        pub destination_id: DestinationId,
        pub event_id: EventId,
        pub event_type: String,
        /// Revision of the purchase that the event announces.
        pub revision: i64,
        pub status: DeliveryStatus,
        /// The body, which is stored from its rendering until the delivery ends.
        pub body: Option<String>,
        /// When the first request was made.
        pub first_tried_at: Option<Timestamp>,
    }
}

row! {
    struct DeliveryAttempt {
        delivery_id: DeliveryId,
        attempt: AttemptView,
    }
}

const DELIVERY: &str = "
    id, event_id, event_type, collapse_key, destination_id, revision, n, status, attempts,
        CASE WHEN status = 'pending' THEN next_due_at END AS next_due_at, last_error, first_tried_at, finished_at,
        pruned_at, created_at
    FROM deliveries";
const ATTEMPT: &str = "
    SELECT a.delivery_id, a.number, a.mode, a.counts, a.started_at, a.finished_at,
        COALESCE(a.latency_ms, 0) AS latency_ms, a.status, COALESCE(a.class, 'unfinished') AS class, a.error,
        a.headers, a.response, a.next_due_at
    FROM attempts a";

const LIST: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, {DELIVERY}
    WHERE seq < ? AND seq >= ? AND {{which}}
    ORDER BY seq DESC
    LIMIT ?
"};
const FLOOR: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS value
    FROM deliveries
    WHERE seq < ? AND {{which}}
    ORDER BY seq DESC
    LIMIT 1 OFFSET ?
"};
// A partial index is used only by a statement that contains its condition as a literal. The status is also bound as a
// value, because each walk binds one.
const FAILED: Clause = clause! {
    &[LIST, FLOOR], hot "deliveries_failed_in_order", "status {FAILED_IN_ORDER} AND CAST(? AS TEXT) IS NOT NULL"
};
const PENDING: Clause = clause! {
    &[LIST, FLOOR], hot "deliveries_pending_in_order", "status {PENDING_IN_ORDER} AND CAST(? AS TEXT) IS NOT NULL"
};
const WAITING: Clause = clause! {
    &[LIST, FLOOR], hot "deliveries_unnamed_in_order", "status {WAITING_IN_ORDER} AND CAST(? AS TEXT) IS NOT NULL"
};
const SKIPPED: Clause = clause! {
    &[LIST, FLOOR], hot "deliveries_skipped_in_order", "status {SKIPPED_IN_ORDER} AND CAST(? AS TEXT) IS NOT NULL"
};
const FAILED_TO: Clause = clause! {
    &[LIST, FLOOR], hot "deliveries_failed_to_destination", "destination_id = ? AND status {FAILED_OF_DESTINATION}"
};
const PENDING_TO: Clause = clause! {
    &[LIST, FLOOR], hot "deliveries_pending_of_destination", "destination_id = ? AND status {PENDING_OF_DESTINATION}"
};
const WAITING_TO: Clause = clause! {
    &[LIST, FLOOR], hot "deliveries_unnamed_of_destination", "destination_id = ? AND status {WAITING_OF_DESTINATION}"
};
const SKIPPED_TO: Clause = clause! {
    &[LIST, FLOOR], hot "deliveries_skipped_to_destination", "destination_id = ? AND status {SKIPPED_OF_DESTINATION}"
};
const UNORDERED: Unordered = Unordered {
    list: LIST_UNORDERED,
    count: COUNT,
};
const LIST_UNORDERED: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, {DELIVERY}
    WHERE seq + 0 < ? AND seq + 0 >= ? AND {{which}}
    ORDER BY seq + 0 DESC
    LIMIT ?
"};
const COUNT: Sql = statement! {"
    SELECT COUNT(*) AS value FROM (SELECT 1 FROM deliveries WHERE {{which}} LIMIT ?) x
"};
const OF_KEY: Clause =
    clause!(&[LIST_UNORDERED, COUNT], hot "deliveries_of_key", "collapse_key = ?");
const LIST_TO_DESTINATION: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, {DELIVERY}
    WHERE {LISTED} AND (destination_id, seq) < (?, ?) AND (destination_id, seq) >= (?, ?) AND {{which}}
    ORDER BY destination_id DESC, seq DESC
    LIMIT ?
"};
const FLOOR_TO_DESTINATION: Sql = statement! {hot "deliveries_to_destination", "
    SELECT CAST(seq AS TEXT) AS value
    FROM deliveries
    WHERE {LISTED} AND (destination_id, seq) < (?, ?) AND (destination_id, seq) >= (?, 0)
    ORDER BY destination_id DESC, seq DESC
    LIMIT 1 OFFSET ?
"};
const LISTS: &[Sql] = &[LIST, LIST_TO_DESTINATION, LIST_UNORDERED];
// The same conditions as above, in a form that no index serves.
const IN_STATUS: Clause = clause!(LISTS, "status || '' IN (?*)");
const HAS_KEY: Clause = clause!(LISTS, "collapse_key || '' IN (?*)");
const TO_DESTINATIONS: Clause = clause!(LISTS, "destination_id || '' IN (?*)");

const FIND: Sql = statement!("SELECT {DELIVERY} WHERE id = ?");

const SENT: Sql = statement! {hot "deliveries_id", "
    SELECT id, destination_id, event_id, event_type, revision, status, body, first_tried_at
    FROM deliveries
    WHERE id = ?
"};

const ATTEMPTS_OF_DELIVERY: Sql = statement!("{ATTEMPT} WHERE a.delivery_id = ? ORDER BY a.number");

impl Store {
    /// Lists deliveries, newest first. A page can have fewer items than its limit even if another page follows.
    pub async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Result<Paged<DeliveryView>, Error> {
        self.read(move |connection| {
            let to = destinations(connection, filter.app_id, filter.destination_id)?;
            let (indexed, others) = conditions(&filter, to);
            let (first, range) = (Vec::new(), (0, i64::MAX));
            Walk {
                list: LIST,
                floor: FLOOR,
                first,
                indexed,
                others,
                range,
            }
            .page(connection, &page)
        })
        .await
    }

    pub async fn delivery(&self, id: DeliveryId) -> Result<DeliveryView, Error> {
        self.read(move |connection| sql(FIND).bind(id).one(connection, "delivery"))
            .await
    }

    /// Returns the newest delivery of each event type of these purchases to each destination, oldest first.
    pub async fn newest_deliveries(
        &self,
        keys: Vec<CollapseKey>,
    ) -> Result<Vec<DeliveryView>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let newest = move |connection: &mut AnyConnection| {
            sql(DELIVERIES_WHERE.of(NEWEST_OF_KEYS))
                .uncached()
                .bind_list(keys)
                .all(connection)
        };
        self.read(newest).await
    }

    /// Returns the body of a delivery as it is sent.
    pub async fn sent_body(&self, id: DeliveryId) -> Result<SentBody, Error> {
        self.read(move |connection| sql(SENT).bind(id).one(connection, "delivery"))
            .await
    }

    /// Returns the attempts of a delivery, oldest first. An attempt that is in flight, or whose worker crashed, has the
    /// class `unfinished`.
    pub async fn attempts(&self, id: DeliveryId) -> Result<Vec<AttemptView>, Error> {
        self.read(move |connection| sql(ATTEMPTS_OF_DELIVERY).bind(id).all(connection))
            .await
    }
}

/// Returns the conditions of a filter: those with an index, and the others. `to` are the destinations to which the
/// filter restricts deliveries, if any.
fn conditions(filter: &DeliveryFilter, to: Option<Vec<DestinationId>>) -> Conditions {
    let of_status = match filter.status {
        Some(DeliveryStatus::Failed) => Some((FAILED, FAILED_TO)),
        Some(DeliveryStatus::Pending) => Some((PENDING, PENDING_TO)),
        Some(DeliveryStatus::Waiting) => Some((WAITING, WAITING_TO)),
        Some(DeliveryStatus::Skipped) => Some((SKIPPED, SKIPPED_TO)),
        Some(DeliveryStatus::Delivered | DeliveryStatus::Superseded) | None => None,
    };
    let mut indexed: Vec<Indexed<'static>> = Vec::new();
    let mut others: Vec<Condition<'static>> = Vec::new();
    match (to, of_status.zip(filter.status)) {
        (Some(to), Some(((_, of_destination), _))) => {
            indexed.push(Indexed::new(of_destination, TO_DESTINATIONS, to));
        }
        (Some(to), None) => {
            indexed.push(Indexed::by(
                [LIST_TO_DESTINATION, FLOOR_TO_DESTINATION],
                TO_DESTINATIONS,
                to,
            ));
        }
        (None, Some(((in_order, _), status))) => {
            indexed.push(Indexed::new(in_order, IN_STATUS, [status]))
        }
        (None, None) => {}
    }
    // The index of a status is scanned, unless that of the purchase is.
    let is_walked = of_status.is_some() && filter.collapse_key.is_none();
    indexed.extend(
        filter
            .collapse_key
            .map(|key| Indexed::unordered(UNORDERED, OF_KEY, HAS_KEY, key)),
    );
    others.extend(
        filter
            .status
            .filter(|_| !is_walked)
            .map(|status| (IN_STATUS, Value::list([status]))),
    );
    (indexed, others)
}

/// Selects deliveries; a clause adds the condition and the order.
pub const DELIVERIES_WHERE: Sql = statement!("SELECT {DELIVERY} WHERE {{which}}");

const NEWEST_OF_KEYS: Clause = clause! {&[DELIVERIES_WHERE], hot "deliveries_of_key", "
    seq IN (
        SELECT MAX(n.seq)
        FROM deliveries n
        WHERE n.collapse_key IN (?*)
        GROUP BY n.collapse_key, n.destination_id, n.event_type
    )
    ORDER BY seq
"};

const NEWEST_ATTEMPTS: Sql = statement! {"
    {ATTEMPT}
    JOIN deliveries d ON d.id = a.delivery_id
    WHERE d.id IN (?*) AND a.number > d.attempts - ?
    ORDER BY a.delivery_id, a.number
"};

/// Returns the newest attempts of each of these deliveries, at most `limit` per delivery, oldest first.
pub fn newest_attempts(
    connection: &mut AnyConnection,
    deliveries: &[DeliveryId],
    limit: i64,
) -> Result<HashMap<DeliveryId, Vec<AttemptView>>, Error> {
    let mut all: HashMap<DeliveryId, Vec<AttemptView>> = HashMap::new();
    if deliveries.is_empty() {
        return Ok(all);
    }
    let rows: Vec<DeliveryAttempt> = sql(NEWEST_ATTEMPTS)
        .uncached()
        .bind_list(deliveries.iter().copied())
        .bind(limit)
        .all(connection)?;
    for row in rows {
        all.entry(row.delivery_id).or_default().push(row.attempt);
    }
    Ok(all)
}

/// Reads the headers of an attempt; none if they are not valid JSON.
fn headers<'a>(
    row: &impl NamedRow<'a, MultiBackend>,
) -> deserialize::Result<Vec<(String, String)>> {
    let stored = Option::<String>::read(row, "headers")?;
    Ok(stored
        .and_then(|stored| serde_json::from_str(&stored).ok())
        .unwrap_or_default())
}
