//! What had been announced about a user at a time: the latest `user.*` recorded until then, and the latest
//! `purchase.updated` of each purchase that the user owned then. An event contains the user at its time, and is never
//! changed by a merge or a transfer.

use super::{CustomerStatus, Past};
use crate::purchases::users::StoreUser;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::user::{AnnouncedRecord, CustomerState, USER_ERASED};
use domain::{CollapseKey, Environment, EventId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Maximum number of moves in a result.
const MAX_MOVES: i64 = 100;

/// What is known about the announcement of a user's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnnouncementStatus {
    /// The announcement is stored and shown.
    Announced,
    /// The announcement's body was removed because of its age. Its time and type are still known.
    Pruned,
    /// No state of the user had been announced in this environment by that time.
    NothingAnnounced,
}

/// The announcement that a past state is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Announcement {
    /// What is known about the announcement.
    pub status: AnnouncementStatus,
    /// Id of the event; null if nothing had been announced.
    pub event_id: Option<EventId>,
    /// Type of the event.
    #[schemars(extend("examples" = ["user.subscription.renewed"]))]
    pub event_type: Option<String>,
    /// When the event was recorded.
    pub announced_at: Option<Timestamp>,
}

row! {
    /// A move of purchases between the user and another user.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct MoveSince {
        /// Id of the transfer.
        pub transfer_id: String,
        /// Id of the former owner.
        pub from_user_id: UserId,
        /// Id of the new owner.
        pub to_user_id: UserId,
        /// Cause of the move: `login`, `naming`, `admin` or `undo`.
        pub cause: String,
        /// When the purchases moved.
        pub moved_at: Timestamp,
    }
}

row! {
    struct AnnouncedState {
        event_id: EventId,
        event_type: String,
        user_revision: i64,
        announced_at: Timestamp,
        body: Value,
        state_apart: Option<Value>,
        pruned_at: Option<Timestamp>,
    }
}

row! {
    struct AnnouncedPurchase {
        collapse_key: CollapseKey,
        environment: Environment,
        announced_at: Timestamp,
        body: Value,
    }
}

// A purchase's store customer stays the same when the purchase moves to another user, and its events show that user.
// `|| ''` keeps SQLite, which has no statistics, from reading all purchases of the app.
const USER_THEN: Sql = statement! {hot "purchases_customer", "
    SELECT e.user_id AS value
    FROM purchases p
    JOIN events e ON e.collapse_key = p.collapse_key
    WHERE p.app_user_id = ? AND p.app_id || '' = ?
        AND (SELECT 1 FROM platforms f WHERE f.id = p.platform_id AND f.store = ?) IS NOT NULL
        AND e.user_id IS NOT NULL AND e.created_at <= ?
    ORDER BY e.created_at DESC, e.seq DESC
    LIMIT 1
"};

/// The user who a customer of the store was at a time; `None` when no event of that time says so.
pub fn user_of_customer(
    connection: &mut AnyConnection,
    customer: &StoreUser,
    at: Timestamp,
) -> Result<Option<UserId>, Error> {
    let StoreUser {
        app_id,
        store,
        app_user_id,
    } = customer;
    sql(USER_THEN)
        .bind((app_user_id.as_str(), *app_id, store.as_str(), at))
        .value(connection)
}

// All events of a settling carry the same state; one that still has its body is preferred.
const STATE_THEN: Sql = statement! {hot "events_of_user", "
    SELECT id AS event_id, event_type, user_revision, created_at AS announced_at, body, state_apart, pruned_at
    FROM events
    WHERE user_id = ? AND user_revision IS NOT NULL AND event_type LIKE 'user.%'
        AND event_type <> '{USER_ERASED}' AND environment = ?
        AND created_at <= ?
    ORDER BY user_revision DESC, pruned_at IS NOT NULL, seq DESC
    LIMIT 1
"};

// The latest record of each purchase, if the user owned the purchase by then and in this environment. `|| ''` keeps
// SQLite, which has no statistics, from reading all events of the type.
const PURCHASES_THEN: Sql = statement! {hot "events_of_user", "
    SELECT e.collapse_key, e.environment, e.created_at AS announced_at, e.body
    FROM events e
    WHERE e.user_id = ? AND e.event_type || '' = 'purchase.updated' AND e.environment = ? AND e.created_at <= ?
        AND (SELECT 1 FROM events n
            WHERE n.collapse_key = e.collapse_key AND n.event_type = 'purchase.updated' AND n.seq > e.seq
                AND n.created_at <= ?
            LIMIT 1) IS NULL
        AND e.collapse_key > ?
    ORDER BY e.collapse_key || ''
    LIMIT ?
"};

const MOVES: Sql = statement! {"
    SELECT id AS transfer_id, from_user_id, to_user_id, cause, created_at AS moved_at
    FROM transfers
    WHERE (from_user_id = ? OR to_user_id = ?) AND created_at > ?
    ORDER BY created_at, id
    LIMIT ?
"};

/// Completes the status of a user with what had been announced at that time.
pub fn status(
    connection: &mut AnyConnection,
    now: CustomerStatus,
    seen: Past,
    page: &Page,
) -> Result<CustomerStatus, Error> {
    let (user, Past { at, environment }) = (now.user_id, seen);
    let newest: Option<AnnouncedState> = sql(STATE_THEN)
        .bind((user, environment, at))
        .first(connection)?;
    let records = sql(PURCHASES_THEN).bind((user, environment, at, at, page.key()?));
    let records: Vec<AnnouncedPurchase> = records.bind(page.size() + 1).all(connection)?;
    let records = Paged::<AnnouncedPurchase>::cut(
        records,
        page.size(),
        |record| record.collapse_key.to_string(),
        Ok,
    )?;
    let moved_since = sql(MOVES)
        .bind((user, user, at, MAX_MOVES))
        .all(connection)?;
    let purchases = records
        .items
        .iter()
        .map(|record| record.announced().purchase())
        .collect();
    let user_revision = newest.as_ref().map_or(0, |newest| newest.user_revision);
    let state = newest.as_ref().and_then(AnnouncedState::state);
    let announcement = Some(newest.map_or(Announcement::NOTHING, AnnouncedState::announcement));
    let next_cursor = records.next_cursor;
    Ok(CustomerStatus {
        user_revision,
        state,
        purchases,
        next_cursor,
        announcement,
        moved_since,
        ..now
    })
}

impl Announcement {
    const NOTHING: Self = Self {
        status: AnnouncementStatus::NothingAnnounced,
        event_id: None,
        event_type: None,
        announced_at: None,
    };
}

impl AnnouncedState {
    /// Returns the state in the event's environment, as it was announced.
    fn state(&self) -> Option<CustomerState> {
        if self.pruned_at.is_some() {
            return None;
        }
        CustomerState::announced(self.body.clone(), self.state_apart.clone())
    }

    fn announcement(self) -> Announcement {
        let status = if self.pruned_at.is_some() {
            AnnouncementStatus::Pruned
        } else {
            AnnouncementStatus::Announced
        };
        Announcement {
            status,
            event_id: Some(self.event_id),
            event_type: Some(self.event_type),
            announced_at: Some(self.announced_at),
        }
    }
}

impl AnnouncedPurchase {
    const fn announced(&self) -> AnnouncedRecord<'_> {
        AnnouncedRecord {
            collapse_key: self.collapse_key,
            environment: self.environment,
            announced_at: self.announced_at,
            body: &self.body,
        }
    }
}
