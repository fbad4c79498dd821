//! The ledger as the API shows it: purchases and events here, deliveries and their attempts beside.

use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Statement, Value, row, sql};
use crate::db::store::Store;
use crate::purchases::purchase::{self, WaitsFor};
use domain::{AppId, CollapseKey, EventId, PlatformId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;

/// Which purchases are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurchaseFilter {
    /// Of this platform.
    pub platform_id: Option<PlatformId>,
    /// With this receipt.
    pub receipt_id: Option<String>,
    /// Of this customer, as the store names them.
    pub app_user_id: Option<String>,
    /// Of the user with this customer's own id.
    pub external_id: Option<String>,
}

/// Which events are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this purchase; with the id of a destination in its place, about that destination.
    pub collapse_key: Option<CollapseKey>,
    /// Of this type.
    pub event_type: Option<String>,
}

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
    /// The store's name of it.
    pub receipt_id: String,
    /// The store's name of the customer.
    pub app_user_id: Option<String>,
    /// Its revision.
    pub revision: i64,
    /// Its state.
    pub state: String,
    /// Until when it is held.
    pub held_until: Option<Timestamp>,
    /// When it was settled last.
    pub updated_at: Timestamp,
    /// Its owner, and how far the store confirmed it.
    #[serde(flatten)]
    pub standing: Standing,
    /// The body of its newest `purchase.updated`; null before the first.
    pub data: serde_json::Value,
}

/// The owner of a purchase, how far its store confirmed it, and what happens next. The default knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Standing {
    /// Its owner.
    pub user_id: Option<UserId>,
    /// When the store showed it last.
    pub verified_at: Option<Timestamp>,
    /// Since when the store does not answer about it.
    pub unverified_since: Option<Timestamp>,
    /// What notifications of it wait for after their window: `verification` or `parked`.
    pub waiting_for: Option<String>,
    /// When it is checked next without a new notification.
    pub next_wake_at: Option<Timestamp>,
}

/// An event as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventView {
    /// Its id.
    pub id: EventId,
    /// Its purchase.
    pub collapse_key: CollapseKey,
    /// Its type.
    pub event_type: String,
    /// The purchase's revision that it announces.
    pub revision: i64,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Its body before it is rendered for a destination.
    pub body: serde_json::Value,
}

row! {
    struct PurchaseRow {
        collapse_key: CollapseKey,
        platform_id: PlatformId,
        app_id: AppId,
        receipt_id: String,
        app_user_id: Option<String>,
        revision: i64,
        state: String,
        held_until: Option<Timestamp>,
        updated_at: Timestamp,
        user_id: Option<UserId>,
        purchase: String,
        unverified_since: Option<Timestamp>,
        waits_for: Option<WaitsFor>,
        next_wake_at: Option<Timestamp>,
        body: Option<String>,
    }
}

row! {
    struct EventRow {
        seq: i64,
        id: EventId,
        collapse_key: CollapseKey,
        event_type: String,
        revision: i64,
        created_at: Timestamp,
        body: String,
    }
}

const PURCHASE: &str = "
    SELECT p.collapse_key, p.platform_id, p.app_id, p.receipt_id, p.app_user_id, p.revision, p.state,
        p.held_until, p.updated_at, p.user_id, p.purchase, p.unverified_since, p.waits_for, p.next_wake_at,
        (SELECT e.body FROM events e WHERE e.collapse_key = p.collapse_key
        AND e.event_type = 'purchase.updated' ORDER BY e.seq DESC LIMIT 1) AS body
    FROM purchases p";
const PURCHASES: Sql = statement! {"
    {PURCHASE}
    WHERE (p.updated_at, p.collapse_key) < (?, ?) AND {{which}}
    ORDER BY p.updated_at DESC, p.collapse_key DESC
    LIMIT ?
"};
const OF_PLATFORM: Clause = clause!(&[PURCHASES], "p.platform_id = ?");
const OF_RECEIPT: Clause = clause!(&[PURCHASES], "p.receipt_id = ?");
const OF_CUSTOMER: Clause = clause!(&[PURCHASES], "p.app_user_id = ?");
const OF_NAMED: Clause = clause! {&[PURCHASES], hot "users_external", "
    p.user_id IN (SELECT u.id FROM users u WHERE u.external_id = ?)
"};

const EVENT: &str = "SELECT seq, id, collapse_key, event_type, revision, created_at, body FROM events";
const EVENTS: Sql = statement!("{EVENT} WHERE seq < ? AND {{which}} ORDER BY seq DESC LIMIT ?");
const OF_KEY: Clause = clause!(&[EVENTS], "collapse_key = ?");
const OF_TYPE: Clause = clause!(&[EVENTS], "event_type = ?");

/// A list with optional conditions: a statement with a place for them.
pub struct Filtered<'a> {
    list: Sql,
    conditions: Vec<&'static str>,
    values: Vec<Value<'a>>,
}

impl<'a> Filtered<'a> {
    /// These values come before those of the conditions.
    pub fn new(list: Sql, values: impl IntoIterator<Item = Value<'a>>) -> Self {
        Self { list, conditions: Vec::new(), values: values.into_iter().collect() }
    }

    /// Adds a condition that has a value.
    pub fn and<V: Into<Value<'a>>>(mut self, condition: Clause, value: Option<V>) -> Self {
        if let Some(value) = value {
            self.conditions.push(condition.text);
            self.values.push(value.into());
        }
        self
    }

    /// Adds a condition that has none.
    pub fn when(mut self, condition: Option<Clause>) -> Self {
        self.conditions.extend(condition.map(|condition| condition.text));
        self
    }

    /// One row more than the page has.
    pub fn page(self, page: &Page) -> Statement<'a> {
        sql(self.list.with(&self.conditions)).bind_all(self.values).bind(page.size() + 1)
    }
}

const FIND_PURCHASE: Sql = statement!("{PURCHASE} WHERE p.collapse_key = ?");

const FIND_EVENT: Sql = statement!("{EVENT} WHERE id = ?");

impl Store {
    /// Purchases, the last settled first.
    pub async fn purchases(&self, filter: PurchaseFilter, page: Page) -> Result<Paged<PurchaseView>, Error> {
        let (before, key) = page.pair_or(i64::MAX)?;
        self.read(move |connection| {
            let rows: Vec<PurchaseRow> = Filtered::new(PURCHASES, [before.into(), key.as_str().into()])
                .and(OF_PLATFORM, filter.platform_id)
                .and(OF_RECEIPT, filter.receipt_id.map(storable))
                .and(OF_CUSTOMER, filter.app_user_id.map(storable))
                .and(OF_NAMED, filter.external_id.map(storable))
                .page(&page)
                .all(connection)?;
            let cursor = |row: &PurchaseRow| format!("{}_{}", row.updated_at.micros(), row.collapse_key);
            Paged::cut(rows, page.size(), cursor, PurchaseRow::view)
        })
        .await
    }

    /// One purchase.
    pub async fn purchase(&self, key: CollapseKey) -> Result<PurchaseView, Error> {
        self.read(move |connection| {
            let row: Option<PurchaseRow> = sql(FIND_PURCHASE).bind(key).first(connection)?;
            row.ok_or(Error::Missing { what: "purchase" })?.view()
        })
        .await
    }

    /// One event.
    pub async fn event(&self, id: EventId) -> Result<EventView, Error> {
        self.read(move |connection| {
            let found: Option<EventRow> = sql(FIND_EVENT).bind(id).first(connection)?;
            found.ok_or(Error::Missing { what: "event" })?.view()
        })
        .await
    }

    /// Events, the newest first.
    pub async fn events(&self, filter: EventFilter, page: Page) -> Result<Paged<EventView>, Error> {
        let below = page.number_or(i64::MAX)?;
        self.read(move |connection| {
            let rows: Vec<EventRow> = Filtered::new(EVENTS, [below.into()])
                .and(OF_KEY, filter.collapse_key)
                .and(OF_TYPE, filter.event_type.map(storable))
                .page(&page)
                .all(connection)?;
            Paged::cut(rows, page.size(), |row| row.seq.to_string(), EventRow::view)
        })
        .await
    }
}

/// No stored text has a NUL.
pub fn storable(text: String) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn json(body: &str) -> Result<serde_json::Value, Error> {
    serde_json::from_str(body).map_err(|cause| Error::corrupt_by("an event's body is not JSON", cause))
}

impl PurchaseRow {
    fn view(self) -> Result<PurchaseView, Error> {
        Ok(PurchaseView {
            collapse_key: self.collapse_key,
            platform_id: self.platform_id,
            app_id: self.app_id,
            receipt_id: self.receipt_id,
            app_user_id: self.app_user_id,
            revision: self.revision,
            state: self.state,
            held_until: self.held_until,
            updated_at: self.updated_at,
            standing: Standing {
                user_id: self.user_id,
                verified_at: purchase::read(&self.purchase)?.last_verified(),
                unverified_since: self.unverified_since,
                waiting_for: self.waits_for.map(|what| what.as_str().to_owned()),
                next_wake_at: self.next_wake_at,
            },
            data: self.body.as_deref().map_or(Ok(serde_json::Value::Null), json)?,
        })
    }
}

impl EventRow {
    fn view(self) -> Result<EventView, Error> {
        Ok(EventView {
            id: self.id,
            collapse_key: self.collapse_key,
            event_type: self.event_type,
            revision: self.revision,
            created_at: self.created_at,
            body: json(&self.body)?,
        })
    }
}
