//! Events, as the API lists them.

use crate::reports::walk::{Conditions, Indexed, Unordered, Walk};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, row, sql};
use domain::{AppId, CollapseKey, Environment, EventId, PlatformId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;

/// Which events are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub id: Option<EventId>,
    pub app_id: Option<AppId>,
    /// Only events about purchases of this platform.
    pub platform_id: Option<PlatformId>,
    /// Only events about this purchase or this destination.
    pub collapse_key: Option<CollapseKey>,
    /// Only events about purchases that this user owned when the events were recorded.
    pub user_id: Option<UserId>,
    /// Only events of these types; an empty list means all.
    pub types: Vec<String>,
    /// Only events recorded in this environment.
    pub environment: Option<Environment>,
    /// Only events recorded at or after this time.
    pub from: Option<Timestamp>,
    /// Only events recorded before this time.
    pub until: Option<Timestamp>,
}

row! {
    /// An event.
    #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
    #[schemars(rename = "Event")]
    pub struct EventView {
        /// Id of the event.
        pub id: EventId,
        /// Type of the event.
        #[serde(rename = "type")]
        pub event_type: String,
        /// Key of the event's purchase.
        pub collapse_key: CollapseKey,
        /// Id of the event's app.
        pub app_id: Option<AppId>,
        /// Id of the user who owned the purchase when the event was recorded; null for an operator event.
        pub user_id: Option<UserId>,
        /// Environment of the purchase when the event was recorded; null for an operator event.
        pub environment: Option<Environment>,
        /// Revision of the purchase.
        pub revision: i64,
        /// When the event was recorded.
        pub created_at: Timestamp,
        /// Body of the event, without the fields that depend on a destination; null after pruning.
        pub body: serde_json::Value,
    }
}

const EVENT: &str = "id, collapse_key, app_id, user_id, environment, event_type, revision, created_at, body FROM events";
const EVENTS: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, {EVENT}
    WHERE seq < ? AND seq >= ? AND {{which}}
    ORDER BY seq DESC
    LIMIT ?
"};
const FLOOR: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS value
    FROM events
    WHERE seq < ?
    ORDER BY seq DESC
    LIMIT 1 OFFSET ?
"};
const EVENTS_OF_APP: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, {EVENT}
    WHERE (app_id, seq) < (?, ?) AND (app_id, seq) >= (?, ?) AND {{which}}
    ORDER BY app_id DESC, seq DESC
    LIMIT ?
"};
const FLOOR_OF_APP: Sql = statement! {hot "events_of_app", "
    SELECT CAST(seq AS TEXT) AS value
    FROM events
    WHERE (app_id, seq) < (?, ?) AND (app_id, seq) >= (?, 0)
    ORDER BY app_id DESC, seq DESC
    LIMIT 1 OFFSET ?
"};
const EVENTS_OF_TYPE: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, {EVENT}
    WHERE (event_type, seq) < (?, ?) AND (event_type, seq) >= (?, ?) AND {{which}}
    ORDER BY event_type DESC, seq DESC
    LIMIT ?
"};
const FLOOR_OF_TYPE: Sql = statement! {hot "events_of_type", "
    SELECT CAST(seq AS TEXT) AS value
    FROM events
    WHERE (event_type, seq) < (?, ?) AND (event_type, seq) >= (?, 0)
    ORDER BY event_type DESC, seq DESC
    LIMIT 1 OFFSET ?
"};
const SANDBOX_OF_APP: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, {EVENT}
    WHERE environment = 'sandbox' AND (app_id, seq) < (?, ?) AND (app_id, seq) >= (?, ?) AND {{which}}
    ORDER BY app_id DESC, seq DESC
    LIMIT ?
"};
const FLOOR_OF_SANDBOX: Sql = statement! {hot "events_sandbox", "
    SELECT CAST(seq AS TEXT) AS value
    FROM events
    WHERE environment = 'sandbox' AND (app_id, seq) < (?, ?) AND (app_id, seq) >= (?, 0)
    ORDER BY app_id DESC, seq DESC
    LIMIT 1 OFFSET ?
"};
const UNORDERED: Unordered = Unordered {
    list: EVENTS_UNORDERED,
    count: COUNT,
};
const EVENTS_UNORDERED: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, {EVENT}
    WHERE seq IN (
            SELECT x.seq
            FROM (SELECT events.seq
                FROM events
                WHERE events.seq + 0 < ? AND events.seq + 0 >= ? AND {{which}}
                ORDER BY events.seq + 0 DESC
                LIMIT ?) x
        )
    ORDER BY seq + 0 DESC
"};
const COUNT: Sql = statement! {"
    SELECT COUNT(*) AS value FROM (SELECT 1 FROM events WHERE {{which}} LIMIT ?) x
"};
const BY_INDEX: &[Sql] = &[EVENTS_UNORDERED, COUNT];
const OF_ID: Clause = clause!(BY_INDEX, hot "events_id", "id = ?");
const OF_KEY: Clause = clause!(BY_INDEX, hot "events_of_key", "collapse_key = ?");
const OF_USER: Clause = clause!(BY_INDEX, hot "events_of_user", "user_id = ?");
// Conditions that no index serves: those of indexed lists in another form, and further ones.
const LISTS: &[Sql] = &[
    EVENTS,
    EVENTS_OF_APP,
    EVENTS_OF_TYPE,
    SANDBOX_OF_APP,
    EVENTS_UNORDERED,
];
const HAS_ID: Clause = clause!(LISTS, "id || '' IN (?*)");
const HAS_KEY: Clause = clause!(LISTS, "collapse_key || '' IN (?*)");
const HAS_USER: Clause = clause!(LISTS, "user_id || '' IN (?*)");
const HAS_APP: Clause = clause!(LISTS, "app_id || '' IN (?*)");
const HAS_TYPE: Clause = clause!(LISTS, "event_type || '' IN (?*)");
const HAS_SANDBOX: Clause = clause!(
    LISTS,
    "environment || '' = 'sandbox' AND app_id || '' IN (?*)"
);
const OF_TYPES: Clause = clause!(LISTS, "event_type || '' IN (?*)");
const IN_ENVIRONMENT: Clause = clause!(LISTS, "environment || '' = ?");
const OF_PLATFORM: Clause = clause! {LISTS, "
    EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = events.collapse_key AND p.platform_id = ?)
"};
const SINCE: Clause = clause!(LISTS, "created_at + 0 >= ?");
const BEFORE: Clause = clause!(LISTS, "created_at + 0 < ?");

/// Sequence numbers follow the time, except where transactions overlap; far fewer than these 1000 rows overlap.
const HIGHEST: Sql = statement! {hot "events_created", "
    SELECT MAX(w.seq) AS value
    FROM (SELECT seq FROM events WHERE created_at < ? ORDER BY created_at DESC, seq DESC LIMIT 1000) w
"};
const LOWEST: Sql = statement! {hot "events_created", "
    SELECT MIN(w.seq) AS value
    FROM (SELECT seq FROM events WHERE created_at >= ? ORDER BY created_at, seq LIMIT 1000) w
"};

const PLATFORM_APP: Sql = statement!("SELECT app_id AS value FROM platforms WHERE id = ?");

const FIND: Sql = statement!("SELECT {EVENT} WHERE id = ?");

impl Store {
    pub async fn event(&self, id: EventId) -> Result<EventView, Error> {
        self.read(move |connection| sql(FIND).bind(id).one(connection, "event"))
            .await
    }

    /// Lists events, newest first. A page can have fewer items than its limit even if another page follows.
    pub async fn events(&self, filter: EventFilter, page: Page) -> Result<Paged<EventView>, Error> {
        self.read(move |connection| list(connection, filter, &page))
            .await
    }
}

fn list(
    connection: &mut AnyConnection,
    mut filter: EventFilter,
    page: &Page,
) -> Result<Paged<EventView>, Error> {
    if let (None, Some(platform)) = (filter.app_id, filter.platform_id) {
        filter.app_id = sql(PLATFORM_APP).bind(platform).value(connection)?;
    }
    let lowest = match filter.from {
        Some(from) => sql(LOWEST)
            .bind(from)
            .value::<Option<i64>>(connection)?
            .flatten()
            .unwrap_or(i64::MAX),
        None => 0,
    };
    let highest = match filter.until {
        Some(until) => sql(HIGHEST)
            .bind(until)
            .value::<Option<i64>>(connection)?
            .flatten()
            .unwrap_or(0),
        None => i64::MAX - 1,
    };
    let (indexed, others) = conditions(filter);
    let range = (lowest, highest + 1);
    Walk {
        list: EVENTS,
        floor: FLOOR,
        first: Vec::new(),
        indexed,
        others,
        range,
    }
    .page(connection, page)
}

/// Returns the filter's conditions: those with an index, and the others.
fn conditions(filter: EventFilter) -> Conditions {
    let EventFilter {
        id,
        app_id,
        platform_id,
        collapse_key,
        user_id,
        mut types,
        environment,
        from,
        until,
    } = filter;
    let in_sandbox = environment == Some(Environment::Sandbox) && app_id.is_some();
    let one_type = if types.len() == 1 { types.pop() } else { None };
    let lists = if in_sandbox {
        [SANDBOX_OF_APP, FLOOR_OF_SANDBOX]
    } else {
        [EVENTS_OF_APP, FLOOR_OF_APP]
    };
    let of_app =
        app_id.map(|app| Indexed::by(lists, if in_sandbox { HAS_SANDBOX } else { HAS_APP }, [app]));
    let entities: [(Clause, Clause, Option<Value<'static>>); 3] = [
        (OF_ID, HAS_ID, id.map(Into::into)),
        (OF_KEY, HAS_KEY, collapse_key.map(Into::into)),
        (OF_USER, HAS_USER, user_id.map(Into::into)),
    ];
    let others: [(Clause, Option<Value<'static>>); 5] = [
        (OF_TYPES, Value::list(types)),
        (
            IN_ENVIRONMENT,
            environment.filter(|_| !in_sandbox).map(Into::into),
        ),
        (OF_PLATFORM, platform_id.map(Into::into)),
        (SINCE, from.map(Into::into)),
        (BEFORE, until.map(Into::into)),
    ];
    let named = entities
        .into_iter()
        .filter_map(|(walked, checked, value)| Some((walked, checked, value?)));
    let named =
        named.map(|(walked, checked, value)| Indexed::unordered(UNORDERED, walked, checked, value));
    let of_type =
        one_type.map(|name| Indexed::by([EVENTS_OF_TYPE, FLOOR_OF_TYPE], HAS_TYPE, [name]));
    let indexed = of_app.into_iter().chain(named).chain(of_type).collect();
    (
        indexed,
        others
            .into_iter()
            .filter(|(_, value)| value.is_some())
            .collect(),
    )
}
