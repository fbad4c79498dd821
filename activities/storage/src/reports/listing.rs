//! Purchases as the API shows them.

use crate::db::connection::MultiBackend;
use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::partial::PENDING_OF_LANE;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Field, Statement, Value, row, sql};
use crate::db::store::Store;
use crate::purchases::purchase::{self, WaitsFor};
use diesel::deserialize;
use diesel::row::NamedRow;
use domain::{AppId, CollapseKey, PlatformId, State, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which purchases are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct PurchaseFilter {
    /// Only those of this app.
    pub app_id: Option<AppId>,
    /// Only those of this platform.
    pub platform_id: Option<PlatformId>,
    /// Only those of this receipt.
    pub receipt_id: Option<String>,
    /// Only those of this customer, by the store's id.
    pub app_user_id: Option<String>,
    /// Only those of this customer, by the app's own id.
    pub external_id: Option<String>,
    /// Only those of this user.
    pub user_id: Option<UserId>,
    /// Only those in this state.
    #[schemars(with = "Option<String>", extend("enum" = states()))]
    pub state: Option<State>,
    /// Only those that are held now (`true`), or only the others (`false`).
    pub held: Option<bool>,
    /// Only those with a delivery pending after a failed attempt (`true`), or only the others (`false`).
    pub failing: Option<bool>,
}

/// The states of a purchase, by name.
fn states() -> Vec<&'static str> {
    State::ALL.iter().map(|state| state.as_str()).collect()
}

row! {
    /// A purchase as the API shows it.
    #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
    #[schemars(rename = "Purchase")]
    pub struct PurchaseView {
        /// Its key.
        pub collapse_key: CollapseKey,
        /// Its platform.
        pub platform_id: PlatformId,
        /// Its app.
        pub app_id: AppId,
        /// The store's id of it.
        pub receipt_id: String,
        /// The store's id of the customer.
        pub app_user_id: Option<String>,
        /// Its revision.
        pub revision: i64,
        /// Its state.
        pub state: String,
        /// The end of its last hold by an admin; null if it was never held, or released.
        pub held_until: Option<Timestamp>,
        /// Who set that hold; null if that is not known.
        pub held_by: Option<String>,
        /// Why; null without a reason.
        pub held_reason: Option<String>,
        /// When it was settled last.
        pub updated_at: Timestamp,
        /// Its user, its verification, and its next check.
        #[serde(flatten)]
        pub standing: PurchaseStatus,
        /// The body of its newest `purchase.updated`; null before the first.
        pub data: serde_json::Value,
    }
}

/// The user of a purchase, its verification by the store, and its next check. All fields are null by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PurchaseStatus {
    /// The user who owns it.
    pub user_id: Option<UserId>,
    /// When the store showed it last.
    pub verified_at: Option<Timestamp>,
    /// Whether the store's last answer confirms its state now; the `verified` of an event is as of its revision.
    pub is_verified: Option<bool>,
    /// When the store stopped answering about it; null while it answers.
    pub unverified_since: Option<Timestamp>,
    /// Why the last query had no answer; null while the store answers.
    pub unverified_because: Option<String>,
    /// What its notifications wait for after their window.
    #[schemars(with = "Option<String>")]
    pub waiting_for: Option<WaitsFor>,
    /// Its next wake: when it is checked without a new notification.
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

const PURCHASE: &str = "
    p.collapse_key, p.platform_id, p.app_id, p.receipt_id, p.app_user_id, p.revision, p.state, p.held_until,
        NULLIF(p.held_by, '') AS held_by, NULLIF(p.held_reason, '') AS held_reason, p.updated_at,
        p.user_id, p.purchase, p.unverified_since, p.unverified_because, p.waits_for, p.next_wake_at,
        COALESCE((SELECT e.body FROM events e WHERE e.collapse_key = p.collapse_key
        AND e.event_type = 'purchase.updated' ORDER BY e.seq DESC LIMIT 1), 'null') AS data
    FROM purchases p";
const PURCHASES: Sql = statement! {"
    SELECT CAST(p.updated_at AS TEXT) || '_' || p.collapse_key AS cursor, {PURCHASE}
    WHERE (p.updated_at, p.collapse_key) < (?, ?) AND {{which}}
    ORDER BY p.updated_at DESC, p.collapse_key DESC
    LIMIT ?
"};
const OF_APP: Clause = clause!(&[PURCHASES], "p.app_id = ?");
const OF_PLATFORM: Clause = clause!(&[PURCHASES], "p.platform_id = ?");
const OF_RECEIPT: Clause = clause!(&[PURCHASES], "p.receipt_id = ?");
const OF_CUSTOMER: Clause = clause!(&[PURCHASES], "p.app_user_id = ?");
const OF_NAMED: Clause = clause! {&[PURCHASES], hot "users_external", "
    p.user_id IN (SELECT u.id FROM users u WHERE u.external_id = ?)
"};
const OF_USER: Clause = clause!(&[PURCHASES], hot "purchases_user", "p.user_id = ?");
const IN_STATE: Clause = clause!(&[PURCHASES], hot "purchases_state or purchases_order", "p.state = ?");
const HELD: Clause = clause!(&[PURCHASES], hot "purchases_held", "p.held_until > ?");
const NOT_HELD: Clause = clause!(&[PURCHASES], "COALESCE(p.held_until, 0) <= ?");
/// What is pending is little, and in partial indexes.
const FAILING: Clause = clause! {
    &[PURCHASES], hot "deliveries_pending_of_lane", "
    p.collapse_key IN (SELECT d.collapse_key FROM deliveries d WHERE d.status {PENDING_OF_LANE} AND d.tried_at > 0)
"};
const NOT_FAILING: Clause = clause! {&[PURCHASES], hot "deliveries_pending_of_lane", "
    (SELECT 1 FROM deliveries d
        WHERE d.collapse_key = p.collapse_key AND d.status {PENDING_OF_LANE} AND d.tried_at > 0 LIMIT 1) IS NULL
"};

/// A statement with a place for optional conditions, and the values to bind.
pub struct Filtered<'a> {
    list: Sql,
    conditions: Vec<&'static str>,
    values: Vec<Value<'a>>,
}

impl<'a> Filtered<'a> {
    /// A list whose own values are bound before those of the conditions.
    pub fn new(list: Sql, values: impl IntoIterator<Item = Value<'a>>) -> Self {
        Self { list, conditions: Vec::new(), values: values.into_iter().collect() }
    }

    /// Adds a condition with a value, if there is a value.
    pub fn and<V: Into<Value<'a>>>(mut self, condition: Clause, value: Option<V>) -> Self {
        if let Some(value) = value {
            self.conditions.push(condition.text);
            self.values.push(value.into());
        }
        self
    }

    /// Adds a condition without a value.
    pub fn when(mut self, condition: Option<Clause>) -> Self {
        self.conditions.extend(condition.map(|condition| condition.text));
        self
    }

    /// The statement; the caller binds the limit.
    pub fn statement(self) -> Statement<'a> {
        sql(self.list.with(&self.conditions)).bind_all(self.values)
    }
}

const FIND_PURCHASE: Sql = statement!("SELECT {PURCHASE} WHERE p.collapse_key = ?");
const FIND_PURCHASES: Sql = statement! {hot "purchases_pkey or sqlite_autoindex_purchases", "
    SELECT {PURCHASE}
    WHERE p.collapse_key IN (?*)
    ORDER BY p.collapse_key
"};

impl Store {
    pub async fn purchases(&self, filter: PurchaseFilter, page: Page) -> Result<Paged<PurchaseView>, Error> {
        let (before, key) = page.pair_or(i64::MAX)?;
        self.read_now(move |connection, now| {
            let held = filter.held.map(|held| if held { HELD } else { NOT_HELD });
            let failing = filter.failing.map(|failing| if failing { FAILING } else { NOT_FAILING });
            let list = Filtered::new(PURCHASES, [before.into(), key.as_str().into()])
                .and(OF_APP, filter.app_id)
                .and(OF_PLATFORM, filter.platform_id)
                .and(OF_RECEIPT, filter.receipt_id.map(storable))
                .and(OF_CUSTOMER, filter.app_user_id.map(storable))
                .and(OF_NAMED, filter.external_id.map(storable))
                .and(OF_USER, filter.user_id)
                .and(IN_STATE, filter.state)
                .when(failing);
            let list = held.into_iter().fold(list, |list, held| list.and(held, Some(now)));
            page.read(connection, list.statement())
        })
        .await
    }

    pub async fn purchase(&self, key: CollapseKey) -> Result<PurchaseView, Error> {
        self.read(move |connection| sql(FIND_PURCHASE).bind(key).one(connection, "purchase")).await
    }

    /// The purchases with these keys, in their order; those that do not exist are left out.
    pub async fn purchases_of(&self, keys: Vec<CollapseKey>) -> Result<Vec<PurchaseView>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.read(move |connection| sql(FIND_PURCHASES).uncached().bind_list(keys).all(connection)).await
    }
}

/// Replaces NUL characters, as in every stored text; PostgreSQL refuses them.
fn storable(text: String) -> String {
    text.replace('\0', "\u{FFFD}")
}
