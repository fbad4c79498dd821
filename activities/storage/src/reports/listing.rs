//! Purchases, as the API shows them.

use crate::purchases::purchase::{self, WaitsFor};
use crate::reports::filtered::Filtered;
use crate::reports::scope::platforms;
use crate::reports::walk::{Condition, Conditions, Dated, Indexed, Unordered, Walk, Walked};
use crate::store::Store;
use db::connection::{AnyConnection, MultiBackend};
use db::error::Error;
use db::page::{Page, Paged};
use db::partial::{PENDING_OF_LANE, PENDING_TRIED};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Field, Value, clean, row, sql};
use diesel::deserialize;
use diesel::row::NamedRow;
use domain::{AppId, CollapseKey, DestinationId, PlatformId, State, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which purchases are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct PurchaseFilter {
    /// Only purchases of this app.
    pub app_id: Option<AppId>,
    /// Only purchases of this platform.
    pub platform_id: Option<PlatformId>,
    /// Only the purchase with this id of the store.
    pub receipt_id: Option<String>,
    /// Only purchases of this customer, by the store's id.
    pub app_user_id: Option<String>,
    /// Only purchases of this customer, by the app's own id.
    pub external_id: Option<String>,
    /// Only purchases of this user.
    pub user_id: Option<UserId>,
    /// Only purchases in this state.
    #[schemars(with = "Option<String>", extend("enum" = states()))]
    pub state: Option<State>,
    /// Only purchases that are held now (`true`), or only the others (`false`).
    pub held: Option<bool>,
    /// Only purchases with a delivery pending after a failed attempt (`true`), or only the others (`false`).
    pub failing: Option<bool>,
}

/// Returns the names of the states of a purchase.
fn states() -> Vec<&'static str> {
    State::ALL.iter().map(|state| state.as_str()).collect()
}

row! {
    /// A purchase with its latest state.
    #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
    #[schemars(rename = "Purchase")]
    pub struct PurchaseView {
        /// Key of the purchase.
        pub collapse_key: CollapseKey,
        /// Id of the purchase's platform.
        pub platform_id: PlatformId,
        /// Id of the purchase's app.
        pub app_id: AppId,
        /// The store's id for the purchase.
        pub receipt_id: String,
        /// The store's id for the customer.
        pub app_user_id: Option<String>,
        /// Revision of the purchase.
        pub revision: i64,
        /// State of the purchase.
        pub state: String,
        /// When the last hold ends or ended; null if there was none, or if it was released.
        pub held_until: Option<Timestamp>,
        /// Name of the person who set the hold; null if not known.
        pub held_by: Option<String>,
        /// Reason for the hold; null if none was given.
        pub held_reason: Option<String>,
        /// When the purchase was last settled.
        pub updated_at: Timestamp,
        /// User, verification and next check of the purchase.
        #[serde(flatten)]
        pub standing: PurchaseStatus,
        /// Body of the latest `purchase.updated`; null before the first.
        pub data: serde_json::Value,
    }
}

/// The user of a purchase, its verification by the store, and its next check. All fields are null by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PurchaseStatus {
    /// Id of the user who owns the purchase.
    pub user_id: Option<UserId>,
    /// When the store last confirmed the purchase.
    pub verified_at: Option<Timestamp>,
    /// Whether the store's last response confirms the current state. `verified` in an event refers to its revision.
    pub is_verified: Option<bool>,
    /// When the store stopped responding about the purchase; null while it responds.
    pub unverified_since: Option<Timestamp>,
    /// Why the last query was not answered; null while the store responds.
    pub unverified_because: Option<String>,
    /// Why unsettled notifications wait beyond their window.
    #[schemars(with = "Option<String>")]
    pub waiting_for: Option<WaitsFor>,
    /// When the purchase is next checked without a new notification.
    pub next_wake_at: Option<Timestamp>,
}

impl Field for PurchaseStatus {
    fn read<'a>(row: &impl NamedRow<'a, MultiBackend>, _name: &str) -> deserialize::Result<Self> {
        let known = purchase::read(&String::read(row, "purchase")?)?;
        Ok(Self {
            user_id: Field::read(row, "user_id")?,
            verified_at: known.last_verified(),
            is_verified: Some(!known.is_unverified()),
            unverified_since: Field::read(row, "unverified_since")?,
            unverified_because: Field::read(row, "unverified_because")?,
            waiting_for: Field::read(row, "waits_for")?,
            next_wake_at: Field::read(row, "next_wake_at")?,
        })
    }
}

const CURSOR: &str = "CAST(p.updated_at AS TEXT) || '_' || p.collapse_key";
const PURCHASE: &str = "
    p.collapse_key, p.platform_id, p.app_id, p.receipt_id, p.app_user_id, p.revision, p.state, p.held_until,
        NULLIF(p.held_by, '') AS held_by, NULLIF(p.held_reason, '') AS held_reason, p.updated_at,
        p.user_id, p.purchase, p.unverified_since, p.unverified_because, p.waits_for, p.next_wake_at,
        COALESCE((SELECT e.body FROM events e WHERE e.collapse_key = p.collapse_key
        AND e.event_type = 'purchase.updated' ORDER BY e.seq DESC LIMIT 1), 'null') AS data
    FROM purchases p";
const PURCHASES: Sql = statement! {"
    SELECT {CURSOR} AS cursor, {PURCHASE}
    WHERE (p.updated_at, p.collapse_key) < (?, ?) AND (p.updated_at, p.collapse_key) >= (?, ?) AND {{which}}
    ORDER BY p.updated_at DESC, p.collapse_key DESC
    LIMIT ?
"};
const FLOOR: Sql = statement! {"
    SELECT {CURSOR} AS value
    FROM purchases p
    WHERE (p.updated_at, p.collapse_key) < (?, ?)
    ORDER BY p.updated_at DESC, p.collapse_key DESC
    LIMIT 1 OFFSET ?
"};
const PURCHASES_OF_PLATFORM: Sql = statement! {"
    SELECT {CURSOR} AS cursor, {PURCHASE}
    WHERE (p.platform_id, p.updated_at, p.collapse_key) < (?, ?, ?)
        AND (p.platform_id, p.updated_at, p.collapse_key) >= (?, ?, ?) AND {{which}}
    ORDER BY p.platform_id DESC, p.updated_at DESC, p.collapse_key DESC
    LIMIT ?
"};
const FLOOR_OF_PLATFORM: Sql = statement! {hot "purchases_platform", "
    SELECT {CURSOR} AS value
    FROM purchases p
    WHERE (p.platform_id, p.updated_at, p.collapse_key) < (?, ?, ?)
        AND (p.platform_id, p.updated_at, p.collapse_key) >= (?, 0, '')
    ORDER BY p.platform_id DESC, p.updated_at DESC, p.collapse_key DESC
    LIMIT 1 OFFSET ?
"};
const PURCHASES_IN_STATE: Sql = statement! {"
    SELECT {CURSOR} AS cursor, {PURCHASE}
    WHERE (p.state, p.updated_at, p.collapse_key) < (?, ?, ?) AND (p.state, p.updated_at, p.collapse_key) >= (?, ?, ?)
        AND {{which}}
    ORDER BY p.state DESC, p.updated_at DESC, p.collapse_key DESC
    LIMIT ?
"};
const FLOOR_IN_STATE: Sql = statement! {hot "purchases_state", "
    SELECT {CURSOR} AS value
    FROM purchases p
    WHERE (p.state, p.updated_at, p.collapse_key) < (?, ?, ?)
        AND (p.state, p.updated_at, p.collapse_key) >= (?, 0, '')
    ORDER BY p.state DESC, p.updated_at DESC, p.collapse_key DESC
    LIMIT 1 OFFSET ?
"};
const UNORDERED: Unordered = Unordered {
    list: PURCHASES_UNORDERED,
    count: COUNT,
};
const PURCHASES_UNORDERED: Sql = statement! {"
    SELECT {CURSOR} AS cursor, {PURCHASE}
    WHERE p.collapse_key IN (
            SELECT x.collapse_key
            FROM (SELECT p.collapse_key
                FROM purchases p
                WHERE (p.updated_at + 0, p.collapse_key || '') < (?, ?)
                    AND (p.updated_at + 0, p.collapse_key || '') >= (?, ?) AND {{which}}
                ORDER BY p.updated_at + 0 DESC, p.collapse_key || '' DESC
                LIMIT ?) x
        )
    ORDER BY p.updated_at + 0 DESC, p.collapse_key || '' DESC
"};
const COUNT: Sql = statement! {"
    SELECT COUNT(*) AS value FROM (SELECT 1 FROM purchases p WHERE {{which}} LIMIT ?) x
"};
const BY_INDEX: &[Sql] = &[PURCHASES_UNORDERED, COUNT];
const OF_STORE_ID: Clause = clause!(BY_INDEX, hot "purchases_receipt", "p.receipt_id = ?");
const OF_CUSTOMER: Clause = clause!(BY_INDEX, hot "purchases_customer", "p.app_user_id = ?");
const OF_NAMED: Clause = clause! {BY_INDEX, hot "users_external", "
    p.user_id IN (SELECT u.id FROM users u WHERE u.external_id = ?)
"};
const OF_USER: Clause = clause!(BY_INDEX, hot "purchases_user", "p.user_id = ?");
const HELD: Clause = clause!(BY_INDEX, hot "purchases_held", "p.held_until > ?");
const OF_KEYS: Clause =
    clause!(BY_INDEX, hot "purchases_pkey or sqlite_autoindex_purchases", "p.collapse_key IN (?*)");
// Conditions that no index serves: those of indexed lists in another form, and further ones.
const ORDERED: &[Sql] = &[PURCHASES, PURCHASES_OF_PLATFORM, PURCHASES_IN_STATE];
const LISTS: &[Sql] = &[
    PURCHASES,
    PURCHASES_OF_PLATFORM,
    PURCHASES_IN_STATE,
    PURCHASES_UNORDERED,
];
const ON_PLATFORMS: Clause = clause!(LISTS, "p.platform_id || '' IN (?*)");
const HAS_STORE_ID: Clause = clause!(LISTS, "p.receipt_id || '' IN (?*)");
const HAS_CUSTOMER: Clause = clause!(LISTS, "p.app_user_id || '' IN (?*)");
const IS_NAMED: Clause = clause! {LISTS, "
    p.user_id || '' IN (SELECT u.id FROM users u WHERE u.external_id IN (?*))
"};
const HAS_USER: Clause = clause!(LISTS, "p.user_id || '' IN (?*)");
const HAS_STATE: Clause = clause!(LISTS, "p.state || '' IN (?*)");
const IS_HELD: Clause = clause!(LISTS, "p.held_until + 0 > (?*)");
const NOT_HELD: Clause = clause!(LISTS, "COALESCE(p.held_until, 0) <= ?");
const IS_FAILING: Clause = clause! {LISTS, "
    (SELECT 1 FROM deliveries d
        WHERE d.collapse_key = p.collapse_key AND d.status {PENDING_OF_LANE} AND d.tried_at > 0 LIMIT 1) IS NOT NULL
"};
const NOT_FAILING: Clause = clause! {ORDERED, hot "deliveries_pending_of_lane", "
    (SELECT 1 FROM deliveries d
        WHERE d.collapse_key = p.collapse_key AND d.status {PENDING_OF_LANE} AND d.tried_at > 0 LIMIT 1) IS NULL
"};

/// Maximum number of destinations whose failing deliveries are searched at once.
const MAX_DESTINATIONS: usize = 1_000;
/// Maximum number of failing deliveries of these destinations.
const MAX_FAILING: usize = 5_000;
const DESTINATIONS: Sql =
    statement!("SELECT id AS value FROM destinations WHERE {{which}} LIMIT ?");
const TO_APP: Clause = clause!(&[DESTINATIONS], "app_id = ?");
const FAILING: Sql = statement! {hot "deliveries_pending_tried", "
    SELECT d.collapse_key AS value
    FROM deliveries d
    WHERE d.destination_id IN (?*) AND d.status {PENDING_TRIED} AND d.tried_at > 0
    LIMIT ?
"};

const FIND_PURCHASE: Sql = statement!("SELECT {PURCHASE} WHERE p.collapse_key = ?");
const FIND_PURCHASES: Sql = statement! {hot "purchases_pkey or sqlite_autoindex_purchases", "
    SELECT {PURCHASE}
    WHERE p.collapse_key IN (?*)
    ORDER BY p.collapse_key
"};

impl Store {
    /// Lists purchases, the last settled one first. A page can have fewer items than its limit even if another page
    /// follows.
    pub async fn purchases(
        &self,
        filter: PurchaseFilter,
        page: Page,
    ) -> Result<Paged<PurchaseView>, Error> {
        self.read_now(move |connection, now| {
            let (indexed, others) = filter.conditions(connection, now)?;
            let range = (
                Dated {
                    at: 0,
                    id: String::new(),
                },
                Dated {
                    at: i64::MAX,
                    id: String::new(),
                },
            );
            Walk {
                list: PURCHASES,
                floor: FLOOR,
                first: Vec::new(),
                indexed,
                others,
                range,
            }
            .page(connection, &page)
        })
        .await
    }

    pub async fn purchase(&self, key: CollapseKey) -> Result<PurchaseView, Error> {
        self.read(move |connection| sql(FIND_PURCHASE).bind(key).one(connection, "purchase"))
            .await
    }

    /// Returns the purchases with these keys, in order of the keys; those that do not exist are left out.
    pub async fn purchases_of(&self, keys: Vec<CollapseKey>) -> Result<Vec<PurchaseView>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.read(move |connection| {
            sql(FIND_PURCHASES)
                .uncached()
                .bind_list(keys)
                .all(connection)
        })
        .await
    }
}

impl PurchaseFilter {
    /// Returns the filter's conditions: those with an index, and the others.
    fn conditions(
        self,
        connection: &mut AnyConnection,
        now: Timestamp,
    ) -> Result<Conditions, Error> {
        let storable = |text: String| Value::from(clean(&text).into_owned());
        let held = self.held.filter(|held| *held).map(|_| now);
        let entities: [(Clause, Clause, Option<Value<'static>>); 5] = [
            (OF_STORE_ID, HAS_STORE_ID, self.receipt_id.map(storable)),
            (OF_CUSTOMER, HAS_CUSTOMER, self.app_user_id.map(storable)),
            (OF_NAMED, IS_NAMED, self.external_id.map(storable)),
            (OF_USER, HAS_USER, self.user_id.map(Into::into)),
            (HELD, IS_HELD, held.map(Into::into)),
        ];
        let mut indexed: Vec<Indexed<'static>> = Vec::new();
        let platforms = platforms(connection, self.app_id, self.platform_id)?;
        let on_platforms = [PURCHASES_OF_PLATFORM, FLOOR_OF_PLATFORM];
        indexed.extend(platforms.map(|all| Indexed::by(on_platforms, ON_PLATFORMS, all)));
        let named = entities
            .into_iter()
            .filter_map(|(walked, checked, value)| Some((walked, checked, value?)));
        indexed.extend(
            named.map(|(walked, checked, value)| {
                Indexed::unordered(UNORDERED, walked, checked, value)
            }),
        );
        let mut others: Vec<Condition<'static>> = Vec::new();
        others.extend((self.held == Some(false)).then(|| (NOT_HELD, Some(now.into()))));
        match self.failing {
            Some(true) => match failing(connection, self.app_id)? {
                Some(failing) => indexed.push(failing),
                None => others.push((IS_FAILING, None)),
            },
            Some(false) => others.push((NOT_FAILING, None)),
            None => {}
        }
        indexed.extend(
            self.state
                .map(|one| Indexed::by([PURCHASES_IN_STATE, FLOOR_IN_STATE], HAS_STATE, [one])),
        );
        Ok((indexed, others))
    }
}

/// Returns the condition for purchases with failing deliveries, by their keys; `None` if there are too many.
fn failing(
    connection: &mut AnyConnection,
    app: Option<AppId>,
) -> Result<Option<Indexed<'static>>, Error> {
    let at_most = |number: usize| i64::try_from(number).unwrap_or(i64::MAX).saturating_add(1);
    let to = Filtered::new(DESTINATIONS, [])
        .and(TO_APP, app)
        .statement()
        .bind(at_most(MAX_DESTINATIONS));
    let to: Vec<DestinationId> = to.values(connection)?;
    if to.len() > MAX_DESTINATIONS {
        return Ok(None);
    }
    let mut keys: Vec<String> = Vec::new();
    if let Some(to) = Value::list(to) {
        keys = sql(FAILING)
            .uncached()
            .bind(to)
            .bind(at_most(MAX_FAILING))
            .values(connection)?;
    }
    if keys.len() > MAX_FAILING {
        return Ok(None);
    }
    let keys: BTreeSet<String> = keys.into_iter().collect();
    let values = Value::list(keys).into_iter().collect();
    Ok(Some(Indexed {
        walked: Walked::Unordered(UNORDERED, OF_KEYS),
        values,
        checked: (IS_FAILING, None),
    }))
}
