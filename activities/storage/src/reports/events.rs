//! Events as the API lists them.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Value, row, sql};
use crate::db::store::Store;
use crate::reports::walk::{Condition, Indexed, Walk};
use domain::{AppId, CollapseKey, Environment, EventId, PlatformId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;

/// Which events are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub id: Option<EventId>,
    pub app_id: Option<AppId>,
    /// Only those about purchases of this platform.
    pub platform_id: Option<PlatformId>,
    /// Only those of this purchase, or about this destination.
    pub collapse_key: Option<CollapseKey>,
    /// Only those of this user: about purchases that the user owned when they were recorded.
    pub user_id: Option<UserId>,
    /// Only those of these types; an empty list means all.
    pub types: Vec<String>,
    /// Only those recorded in this environment.
    pub environment: Option<Environment>,
    /// Only those recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Only those recorded before this time.
    pub until: Option<Timestamp>,
}

row! {
    /// An event.
    #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
    #[schemars(rename = "Event")]
    pub struct EventView {
        /// Its id.
        pub id: EventId,
        /// Its type.
        #[serde(rename = "type")]
        pub event_type: String,
        /// Its purchase.
        pub collapse_key: CollapseKey,
        /// Its app.
        pub app_id: Option<AppId>,
        /// The user who owned its purchase when it was recorded; null for an event for operators.
        pub user_id: Option<UserId>,
        /// The environment of its purchase when it was recorded; null for an event for operators.
        pub environment: Option<Environment>,
        /// The revision of the purchase.
        pub revision: i64,
        /// When it was recorded.
        pub created_at: Timestamp,
        /// Its body, without the fields that depend on a destination; null when it was pruned.
        pub body: serde_json::Value,
    }
}

const EVENT: &str =
    "id, collapse_key, app_id, user_id, environment, event_type, revision, created_at, body FROM events";
const EVENTS: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, {EVENT}
    WHERE seq < ? AND seq >= ? AND {{which}}
    ORDER BY seq DESC
    LIMIT ?
"};
const FLOOR: Sql = statement! {"
    SELECT seq AS value
    FROM events
    WHERE seq < ? AND {{which}}
    ORDER BY seq DESC
    LIMIT 1 OFFSET 20000
"};
const OF_ID: Clause = clause!(&[EVENTS, FLOOR], hot "events_id", "id = ?");
const OF_KEY: Clause = clause!(&[EVENTS, FLOOR], hot "events_of_key", "collapse_key = ?");
const OF_USER: Clause = clause!(&[EVENTS, FLOOR], hot "events_of_user", "user_id = ?");
const OF_APP: Clause = clause!(&[EVENTS, FLOOR], hot "events_of_app", "app_id = ?");
const OF_TYPE: Clause = clause!(&[EVENTS, FLOOR], hot "events_of_type", "event_type = ?");
const IN_SANDBOX: Clause = clause!(&[EVENTS, FLOOR], hot "events_sandbox", "environment = 'sandbox' AND app_id = ?");
// The same without an index.
const HAS_ID: Clause = clause!(&[EVENTS], "id || '' = ?");
const HAS_KEY: Clause = clause!(&[EVENTS], "collapse_key || '' = ?");
const HAS_USER: Clause = clause!(&[EVENTS], "user_id || '' = ?");
const HAS_APP: Clause = clause!(&[EVENTS], "app_id || '' = ?");
const HAS_TYPE: Clause = clause!(&[EVENTS], "event_type || '' = ?");
const HAS_SANDBOX: Clause = clause!(&[EVENTS], "environment || '' = 'sandbox' AND app_id || '' = ?");
const OF_TYPES: Clause = clause!(&[EVENTS], "event_type || '' IN (?*)");
const IN_ENVIRONMENT: Clause = clause!(&[EVENTS], "environment || '' = ?");
const OF_PLATFORM: Clause = clause! {&[EVENTS], "
    EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = events.collapse_key AND p.platform_id = ?)
"};
const SINCE: Clause = clause!(&[EVENTS], "created_at + 0 >= ?");
const BEFORE: Clause = clause!(&[EVENTS], "created_at + 0 < ?");

/// Sequence numbers follow the time but for transactions that overlap: far fewer than these rows do.
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
        self.read(move |connection| sql(FIND).bind(id).one(connection, "event")).await
    }

    /// Events, the newest first. A page may have fewer than its limit, and yet a next one.
    pub async fn events(&self, filter: EventFilter, page: Page) -> Result<Paged<EventView>, Error> {
        self.read(move |connection| list(connection, filter, &page)).await
    }
}

fn list(connection: &mut AnyConnection, mut filter: EventFilter, page: &Page) -> Result<Paged<EventView>, Error> {
    if let (None, Some(platform)) = (filter.app_id, filter.platform_id) {
        filter.app_id = sql(PLATFORM_APP).bind(platform).value(connection)?;
    }
    let lowest = match filter.from {
        Some(from) => sql(LOWEST).bind(from).value::<Option<i64>>(connection)?.flatten().unwrap_or(i64::MAX),
        None => 0,
    };
    let highest = match filter.until {
        Some(until) => sql(HIGHEST).bind(until).value::<Option<i64>>(connection)?.flatten().unwrap_or(0),
        None => i64::MAX - 1,
    };
    let (indexed, others) = conditions(filter);
    let range = (lowest, highest + 1);
    Walk { list: EVENTS, floor: FLOOR, first: Vec::new(), indexed, others, range }.page(connection, page)
}

/// The conditions of a filter: those with an index, and the others.
fn conditions(filter: EventFilter) -> (Vec<Indexed<'static>>, Vec<Condition<'static>>) {
    let EventFilter { id, app_id, platform_id, collapse_key, user_id, mut types, environment, from, until } = filter;
    let in_sandbox = environment == Some(Environment::Sandbox) && app_id.is_some();
    let one_type = if types.len() == 1 { types.pop() } else { None };
    let indexed: [(Clause, Clause, Option<Value<'static>>); 6] = [
        (OF_ID, HAS_ID, id.map(Into::into)),
        (OF_KEY, HAS_KEY, collapse_key.map(Into::into)),
        (OF_USER, HAS_USER, user_id.map(Into::into)),
        (IN_SANDBOX, HAS_SANDBOX, app_id.filter(|_| in_sandbox).map(Into::into)),
        (OF_APP, HAS_APP, app_id.filter(|_| !in_sandbox).map(Into::into)),
        (OF_TYPE, HAS_TYPE, one_type.map(Into::into)),
    ];
    let others: [(Clause, Option<Value<'static>>); 5] = [
        (OF_TYPES, Value::list(types)),
        (IN_ENVIRONMENT, environment.filter(|_| !in_sandbox).map(Into::into)),
        (OF_PLATFORM, platform_id.map(Into::into)),
        (SINCE, from.map(Into::into)),
        (BEFORE, until.map(Into::into)),
    ];
    let indexed =
        indexed.into_iter().filter_map(|(walked, checked, value)| Some(Indexed { walked, checked, value: value? }));
    (indexed.collect(), others.into_iter().filter(|(_, value)| value.is_some()).collect())
}
