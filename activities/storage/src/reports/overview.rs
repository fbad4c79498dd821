//! The overview: waiting, pending and failed work, counted up to a maximum by partial indexes, so that the cost does
//! not grow with the tables.

use crate::events::deliveries::MAX_COUNTED;
use crate::reports::duties::{self, DutyCounts};
use crate::reports::filtered::Filtered;
use crate::reports::processes::{self, RunningProcess};
use crate::reports::scope::platforms;
use crate::reports::shown_state::{SHOWN_STATE, ShownState, since};
use crate::reports::silent::{self, SilentStore};
use crate::store::Store;
use const_format::formatcp;
use db::connection::{AnyConnection, MultiBackend};
use db::error::Error;
use db::partial::{
    FAILED_IN_ORDER, FAILED_OF_DESTINATION, IS_HELD_OF_APP, LISTED_N, OPEN_DUE, OPEN_IN_ORDER,
    OPEN_OF_KEY_M, PENDING_IN_ORDER, PENDING_OF_DESTINATION,
};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Field, Statement, row, sql};
use diesel::deserialize;
use diesel::row::NamedRow;
use domain::device::claim::CLAIM_STORE_TYPE;
use domain::health::State;
use domain::{AppId, CollapseKey, DestinationId, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// Maximum number of destinations that are shown, those in trouble first.
const MAX_DESTINATIONS: i64 = 50;
/// Maximum number of open windows that are shown: the next ones to end.
const MAX_WINDOWS: usize = 5;
/// Number of notifications in which these windows are searched: in a burst, many are of one purchase.
const SEARCHED: i64 = 50;
/// Number of an app's newest notifications in which its open windows are searched.
const SEARCHED_OF_APP: i64 = 5_000;

/// Overview of current activity. Counts stop at 10,000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Overview {
    /// Time of the overview.
    pub now: Timestamp,
    /// When the latest notification was accepted; null before the first.
    pub last_accepted_at: Option<Timestamp>,
    /// Number of purchases with an open window. For one app, only its latest 5,000 notifications are considered.
    pub windows: i64,
    /// Next windows to end, earliest first.
    pub next_windows: Vec<OpenWindow>,
    /// Number of held purchases.
    pub held: i64,
    /// Number of purchases that wait for their store, or for a person because the store does not know them.
    pub waiting: i64,
    /// Stores that do not respond, by platform, longest silence first.
    pub silent_stores: Vec<SilentStore>,
    /// Number of pending deliveries.
    pub pending: i64,
    /// When the oldest pending delivery was queued; null if there is none.
    pub oldest_pending_at: Option<Timestamp>,
    /// Number of failed deliveries.
    pub failed: i64,
    /// Destinations, those with problems first; at most 50.
    pub destinations: Vec<DestinationOverview>,
    /// Open duties to stores; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duties: Option<DutyCounts>,
    /// Running processes, without those of release 0.1.0; absent in the overview of one app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<RunningProcess>>,
}

row! {
    /// An open window of a purchase.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct OpenWindow {
        /// Key of the purchase.
        pub collapse_key: CollapseKey,
        /// When the window ends, unless another notification restarts it.
        pub ends_at: Timestamp,
    }
}

row! {
    /// A destination with its pending deliveries.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct DestinationOverview {
        /// Id, name and settings state of the destination.
        #[serde(flatten)]
        pub destination: NamedDestination,
        /// State of the destination, as displayed.
        pub shown_state: ShownState,
        /// Number of pending deliveries.
        pub pending: i64,
        /// When the oldest pending delivery was queued; null if there is none.
        pub oldest_pending_at: Option<Timestamp>,
        /// Number of failed deliveries.
        pub failed: i64,
        /// When a request last succeeded, accurate to a minute.
        pub last_success_at: Option<Timestamp>,
        /// When the first request failed since the last success; null while requests succeed.
        pub first_failure_at: Option<Timestamp>,
        /// When a request last failed.
        pub last_failure_at: Option<Timestamp>,
        /// Error of the last failed request.
        pub last_error: Option<String>,
    }
}

/// A destination with its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NamedDestination {
    /// Id of the destination.
    pub id: DestinationId,
    /// Id of the destination's app.
    pub app_id: AppId,
    /// Kind of the destination.
    pub kind: String,
    /// Name of the destination.
    pub name: String,
    /// State of the destination.
    #[schemars(with = "String", extend("enum" = ["healthy", "failing", "open", "disabled"]))]
    pub state: State,
    /// When the destination entered its state.
    pub since: Timestamp,
    /// When the destination was created.
    #[serde(skip)]
    pub created_at: Timestamp,
    /// Reason for the state.
    pub reason: Option<String>,
}

impl Field for NamedDestination {
    fn read<'a>(row: &impl NamedRow<'a, MultiBackend>, _name: &str) -> deserialize::Result<Self> {
        Ok(Self {
            id: Field::read(row, "id")?,
            app_id: Field::read(row, "app_id")?,
            kind: Field::read(row, "kind")?,
            name: Field::read(row, "name")?,
            state: Field::read(row, "state")?,
            since: Field::read(row, "since")?,
            created_at: Field::read(row, "created_at")?,
            reason: Field::read(row, "reason")?,
        })
    }
}

/// When a store last sent a notification: among the newest notifications, some of which devices reported, or else
/// according to the counted responses to stores.
const LAST_ACCEPTED: Sql = statement! {"
    SELECT COALESCE((SELECT n.accepted_at
            FROM (SELECT m.seq, m.accepted_at, m.store_type FROM notifications m ORDER BY m.seq DESC LIMIT 1000) n
            WHERE n.store_type <> '{CLAIM_STORE_TYPE}'
            ORDER BY n.seq DESC
            LIMIT 1),
        (SELECT MAX(a.last_at) FROM arrivals a WHERE a.reason = '')) AS value
"};
/// When a store last sent a notification to an app, according to the counted responses to its platforms' stores. This
/// needs no scan over the notifications of other apps.
const LAST_ACCEPTED_BY: Sql = statement! {"
    SELECT MAX(a.last_at) AS value
    FROM arrivals a
    WHERE a.reason = '' AND a.platform_id IN (SELECT f.id FROM platforms f WHERE f.app_id = ?)
"};

/// The condition that the purchase of an open notification is not held, so that only its window is open.
const IN_WINDOW: &str = "(p.held_until IS NULL OR p.held_until <= ?)";

const WINDOWS: Sql = statement! {"
    SELECT COUNT(DISTINCT n.collapse_key) AS value
    FROM (SELECT n.collapse_key FROM notifications n WHERE {OPEN_IN_ORDER} ORDER BY n.seq DESC LIMIT {MAX_COUNTED}) n
    LEFT JOIN purchases p ON p.collapse_key = n.collapse_key
    WHERE {IN_WINDOW}
"};

const ENDS: &str =
    "COALESCE(n.sweep_at, CASE WHEN n.cap_at < n.due_at THEN n.cap_at ELSE n.due_at END)";
const WINDOW: &str = formatcp!(
    "n.collapse_key, (SELECT MAX(m.due_at) FROM notifications m WHERE m.collapse_key = n.collapse_key
        AND {OPEN_OF_KEY_M} AND m.waiting_topic_id IS NULL) AS ends_at"
);
const NEXT_WINDOWS: Sql = statement! {"
    SELECT {WINDOW}
    FROM (SELECT n.collapse_key, {ENDS} AS first_at
        FROM notifications n
        WHERE {OPEN_DUE} AND n.wakes IS NULL AND n.collapse_key IS NOT NULL
        ORDER BY {ENDS}
        LIMIT {MAX_COUNTED}) n
    LEFT JOIN purchases p ON p.collapse_key = n.collapse_key
    WHERE {IN_WINDOW}
    ORDER BY n.first_at
    LIMIT {SEARCHED}
"};

/// The newest notifications of a platform, which is bound twice. Because the order contains all columns of the index,
/// the planner uses that index, and reads no notifications of other platforms.
const NEWEST_ON: &str = formatcp!(
    "
    SELECT n.seq, n.collapse_key, n.outcome, n.waiting_topic_id, n.waits_since, n.wakes, n.sweep_at, n.cap_at, n.due_at
        FROM notifications n
        WHERE {LISTED_N} AND n.platform_id >= ? AND n.platform_id <= ?
        ORDER BY n.platform_id DESC, n.seq DESC
        LIMIT ?"
);
const IS_OPEN: &str = "n.outcome IS NULL AND n.waiting_topic_id IS NULL AND n.waits_since IS NULL";
const WINDOWS_ON: Sql = statement! {"
    SELECT COUNT(DISTINCT n.collapse_key) AS value
    FROM ({NEWEST_ON}) n
    LEFT JOIN purchases p ON p.collapse_key = n.collapse_key
    WHERE {IS_OPEN} AND {IN_WINDOW}
"};
const NEXT_WINDOWS_ON: Sql = statement! {"
    SELECT {WINDOW}
    FROM ({NEWEST_ON}) n
    LEFT JOIN purchases p ON p.collapse_key = n.collapse_key
    WHERE {IS_OPEN} AND n.wakes IS NULL AND {IN_WINDOW} AND n.collapse_key IS NOT NULL
    ORDER BY {ENDS}
    LIMIT {SEARCHED}
"};

const HELD: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM purchases p WHERE {{which}} LIMIT {MAX_COUNTED}) x
"};
const HELD_NOW: Clause = clause!(&[HELD], hot "purchases_held", "p.held_until > ?");
const HELD_OF_APP: Clause = clause! {
    &[HELD], hot "purchases_held_of_app", "p.app_id = ? AND {IS_HELD_OF_APP} AND COALESCE(p.held_until, 0) > ?"
};
const WAITING: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT p.waits_for, p.unverified_since
        FROM purchases p
        WHERE (p.waits_for IS NOT NULL OR p.waits_through IS NOT NULL) AND {{which}}
        LIMIT {MAX_COUNTED}) w
    WHERE w.waits_for IS NOT NULL OR w.unverified_since IS NOT NULL
"};
const ON_PLATFORMS: Clause = clause!(&[WAITING], hot "purchases_waiting", "p.platform_id IN (?*)");

/// The pending deliveries to the destination `t`. As in [`NEWEST_ON`], a range and an order by all columns make the
/// planner use this index, even if its statistics are from a time when the destination had many rows.
const PENDING_TO: &str = formatcp!(
    "d.destination_id >= t.id AND d.destination_id <= t.id AND d.status {PENDING_OF_DESTINATION}
            ORDER BY d.destination_id, d.seq"
);
const FAILED_TO: &str = formatcp!(
    "d.destination_id >= t.id AND d.destination_id <= t.id AND d.status {FAILED_OF_DESTINATION}
            ORDER BY d.destination_id, d.seq"
);

const PENDING: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM deliveries d WHERE d.status {PENDING_IN_ORDER} LIMIT {MAX_COUNTED}) x
"};
const PENDING_BY: Sql = statement! {"
    SELECT CAST(COALESCE(SUM((
        SELECT COUNT(*)
        FROM (SELECT 1
            FROM deliveries d
            WHERE {PENDING_TO}
            LIMIT {MAX_COUNTED}) x)), 0) AS BIGINT) AS value
    FROM destinations t
    WHERE t.app_id = ?
"};
const OLDEST_PENDING: Sql = statement! {"
    SELECT d.created_at AS value
    FROM deliveries d
    WHERE d.status {PENDING_IN_ORDER}
    ORDER BY d.seq
    LIMIT 1
"};
const OLDEST_PENDING_BY: Sql = statement! {"
    SELECT MIN((
        SELECT d.created_at
        FROM deliveries d
        WHERE {PENDING_TO}
        LIMIT 1)) AS value
    FROM destinations t
    WHERE t.app_id = ?
"};
const FAILED: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM deliveries d WHERE d.status {FAILED_IN_ORDER} LIMIT {MAX_COUNTED}) x
"};
const FAILED_BY: Sql = statement! {"
    SELECT CAST(COALESCE(SUM((
        SELECT COUNT(*)
        FROM (SELECT 1
            FROM deliveries d
            WHERE {FAILED_TO}
            LIMIT {MAX_COUNTED}) x)), 0) AS BIGINT) AS value
    FROM destinations t
    WHERE t.app_id = ?
"};

/// Each destination with its pending deliveries, in one statement for all destinations.
const DESTINATIONS: Sql = statement! {"
    SELECT t.id, t.app_id, t.kind, t.name, t.state, t.since, t.created_at, t.reason,
        (SELECT COUNT(*) FROM (SELECT 1 FROM deliveries d
            WHERE {PENDING_TO} LIMIT {MAX_COUNTED}) x) AS pending,
        (SELECT d.created_at FROM deliveries d
            WHERE {PENDING_TO} LIMIT 1) AS oldest_pending_at,
        (SELECT COUNT(*) FROM (SELECT 1 FROM deliveries d
            WHERE {FAILED_TO} LIMIT {MAX_COUNTED}) x) AS failed,
        h.last_success_at, h.first_failure_at, h.last_failure_at, h.last_error, {SHOWN_STATE} AS shown_state
    FROM (SELECT *
        FROM destinations t
        WHERE t.deleted_at IS NULL AND {{which}}
        ORDER BY {TROUBLE}
        LIMIT {MAX_DESTINATIONS}) t
    JOIN health h ON h.destination_id = t.id
    ORDER BY {TROUBLE}
"};
const TROUBLE: &str = "CASE t.state WHEN 'open' THEN 0 WHEN 'failing' THEN 1 WHEN 'disabled' THEN 2 ELSE 3 END, t.name, t.id";
const OWNED: Clause = clause!(&[DESTINATIONS], "t.app_id = ?");

impl Store {
    /// Returns the overview of an app, or of all apps.
    pub async fn overview(&self, app: Option<AppId>) -> Result<Overview, Error> {
        self.read_now(move |connection, now| {
            let platforms = platforms(connection, app, None)?;
            let all_or_by =
                |all: Sql, by: Sql| app.map_or_else(|| sql(all), |app| sql(by).bind(app));
            let last_accepted = all_or_by(LAST_ACCEPTED, LAST_ACCEPTED_BY);
            let oldest = all_or_by(OLDEST_PENDING, OLDEST_PENDING_BY);
            let held = match app {
                Some(app) => sql(HELD.of(HELD_OF_APP)).bind(app).bind(now),
                None => sql(HELD.of(HELD_NOW)).bind(now),
            };
            let destinations =
                Filtered::new(DESTINATIONS, since(now).map(Into::into)).and(OWNED, app);
            let (windows, next_windows) = windows(connection, platforms.as_deref(), now)?;
            let processes = match app {
                Some(_) => None,
                None => Some(processes::running(processes::signs(connection)?, now)),
            };
            Ok(Overview {
                now,
                last_accepted_at: last_accepted
                    .value::<Option<Timestamp>>(connection)?
                    .flatten(),
                windows,
                next_windows,
                held: number(connection, held)?,
                waiting: waiting(connection, platforms.as_deref())?,
                silent_stores: silent::of(connection, platforms.as_deref(), now)?,
                pending: number(connection, all_or_by(PENDING, PENDING_BY))?.min(MAX_COUNTED),
                oldest_pending_at: oldest.value::<Option<Timestamp>>(connection)?.flatten(),
                failed: number(connection, all_or_by(FAILED, FAILED_BY))?.min(MAX_COUNTED),
                destinations: destinations.statement().all(connection)?,
                duties: duties::counts(connection, platforms.as_deref(), now)?,
                processes,
            })
        })
        .await
    }
}

fn number(connection: &mut AnyConnection, count: Statement<'_>) -> Result<i64, Error> {
    Ok(count.value(connection)?.unwrap_or(0))
}

/// Counts the purchases with an open window, and returns the next windows to end: of these platforms, or of all.
fn windows(
    connection: &mut AnyConnection,
    platforms: Option<&[PlatformId]>,
    now: Timestamp,
) -> Result<(i64, Vec<OpenWindow>), Error> {
    let Some(platforms) = platforms else {
        let next = sql(NEXT_WINDOWS).bind(now).all(connection)?;
        return Ok((
            number(connection, sql(WINDOWS).bind(now))?,
            next_windows(next),
        ));
    };
    let each = (SEARCHED_OF_APP
        / i64::try_from(platforms.len())
            .unwrap_or(SEARCHED_OF_APP)
            .max(1))
    .max(1);
    let (mut open, mut next) = (0, Vec::new());
    for platform in platforms {
        let on = |list: Sql| sql(list).bind((*platform, *platform, each, now));
        open += number(connection, on(WINDOWS_ON))?;
        next.extend(on(NEXT_WINDOWS_ON).all::<OpenWindow>(connection)?);
    }
    Ok((open, next_windows(next)))
}

fn waiting(connection: &mut AnyConnection, platforms: Option<&[PlatformId]>) -> Result<i64, Error> {
    match platforms {
        Some([]) => Ok(0),
        Some(all) => number(
            connection,
            sql(WAITING.of(ON_PLATFORMS))
                .uncached()
                .bind_list(all.iter().copied()),
        ),
        None => number(connection, sql(WAITING.with(&[]))),
    }
}

/// Removes duplicate purchases, and sorts by the end of the window, earliest first.
fn next_windows(found: Vec<OpenWindow>) -> Vec<OpenWindow> {
    let by_key: BTreeMap<CollapseKey, Timestamp> = found
        .into_iter()
        .map(|one| (one.collapse_key, one.ends_at))
        .collect();
    let mut all: Vec<_> = by_key
        .into_iter()
        .map(|(collapse_key, ends_at)| OpenWindow {
            collapse_key,
            ends_at,
        })
        .collect();
    all.sort_by_key(|one| one.ends_at);
    all.truncate(MAX_WINDOWS);
    all
}

const LATEST: Sql = statement! {"
    SELECT (SELECT MAX(seq) FROM notifications) AS notifications,
        (SELECT MAX(updated_at) FROM purchases) AS purchases,
        (SELECT MAX(seq) FROM events) AS events,
        (SELECT MAX(seq) FROM device_events) AS device_events,
        (SELECT MAX(seq) FROM deliveries) AS pending,
        (SELECT MAX(finished_at) FROM deliveries WHERE pruned_at IS NULL AND finished_at IS NOT NULL) AS finished,
        (SELECT MAX(last_failure_at) FROM health) AS failed,
        (SELECT MAX(since) FROM destinations) AS destinations,
        (SELECT MAX(COALESCE(decided_at, requested_at)) FROM topics) AS topics,
        (SELECT MAX(last_at) FROM arrivals) AS arrivals,
        (SELECT MAX(last_at) FROM alarms) AS alarms,
        (SELECT MAX(seq) FROM audit_log) AS audit_log
"};

row! {
    /// The newest row of each kind, by which a change is noticed. It is not a watermark: on PostgreSQL, a lower number
    /// can be committed after a higher one, and is then only noticed together with the next change.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct LatestChanges {
        pub notifications: Option<i64>,
        pub purchases: Option<i64>,
        pub events: Option<i64>,
        pub device_events: Option<i64>,
        pub pending: Option<i64>,
        pub finished: Option<i64>,
        pub failed: Option<i64>,
        pub destinations: Option<i64>,
        pub topics: Option<i64>,
        pub arrivals: Option<i64>,
        pub alarms: Option<i64>,
        pub audit_log: Option<i64>,
    }
}

impl LatestChanges {
    /// Returns each kind of change, with the values that change with it.
    pub const fn kinds(&self) -> [(&'static str, [Option<i64>; 3]); 10] {
        [
            ("notifications", [self.notifications, None, None]),
            ("purchases", [self.purchases, None, None]),
            ("events", [self.events, None, None]),
            ("device_events", [self.device_events, None, None]),
            ("deliveries", [self.pending, self.finished, self.failed]),
            ("destinations", [self.destinations, self.failed, None]),
            ("topics", [self.topics, None, None]),
            ("arrivals", [self.arrivals, None, None]),
            ("alarms", [self.alarms, None, None]),
            ("audit_log", [self.audit_log, None, None]),
        ]
    }
}

impl Store {
    /// Returns the newest row of each kind.
    pub async fn latest_changes(&self) -> Result<LatestChanges, Error> {
        self.read(|connection| sql(LATEST).one(connection, "installation"))
            .await
    }
}
