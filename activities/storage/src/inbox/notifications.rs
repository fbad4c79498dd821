//! The types of the inbox: notifications to accept, the results of acceptance, and open notifications.

use crate::purchases::duties::NewDuty;
use crate::store::Store;
use db::error::Error;
use db::partial::{OPEN_IN_ORDER, OPEN_OF_KEY, OPEN_OF_KEY_M, OPEN_OF_KEY_N, OPEN_OF_STORE_ID};
use db::sql::{Sql, statement};
use db::statement::{clean, row, sql};
use db::writer::Write;
use domain::{
    CollapseKey, DutyId, Notification, Outcome, PlatformId, Timestamp, TopicId, TraceContext,
};
use serde_json::{Map, Value};
use std::time::Duration;

/// A notification that is to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    /// The platform that the store notified.
    pub platform_id: PlatformId,
    /// The store's id of the message.
    pub message_id: String,
    /// The store's id of the purchase; empty when unreadable.
    pub receipt_id: String,
    /// The purchase; `None` when unreadable.
    pub collapse_key: Option<CollapseKey>,
    /// The store's own type of the notification.
    pub store_type: String,
    /// Time of the reported fact, by the store's clock.
    pub store_time: Option<Timestamp>,
    /// The store's id of the user.
    pub app_user_id: Option<String>,
    /// JSON of [`domain::Notification`], or the raw message when unreadable.
    pub body: String,
    /// What happens to the notification after its acceptance.
    pub handling: Handling,
    pub traceparent: Option<String>,
    /// The duty to the store that it causes.
    pub duty: Option<NewDuty>,
    /// The duty to the store that it shows done, such as a question that the store has decided.
    pub closes: Option<DutyId>,
    /// The order that it reports, if the purchase has several that can be reported at the same time. It is not stored:
    /// notifications about different orders are no duplicates of each other.
    pub order_id: Option<String>,
    /// The store's name of the reported fact: notifications of a purchase with the same name are duplicates, and others
    /// are none, whatever their types, times and orders. It is not stored. `None` if the store names no facts.
    pub duplicate_key: Option<String>,
}

/// Member of a stored notification's body with the content that the store signed, decoded.
pub const SIGNED: &str = "signed";

impl NewNotification {
    /// Returns the row of a notification, open until its purchase's window ends.
    pub fn of(platform_id: PlatformId, notification: Notification) -> Self {
        Self {
            platform_id,
            // The fields are texts, numbers and flags, so this never fails.
            body: serde_json::to_string(&notification).unwrap_or_default(),
            message_id: notification.message_id,
            receipt_id: notification.receipt_id,
            collapse_key: Some(notification.collapse_key),
            store_type: notification.store_type,
            store_time: Some(notification.store_time),
            app_user_id: notification.app_user_id,
            handling: Handling::Open,
            traceparent: None,
            duty: None,
            closes: None,
            order_id: None,
            duplicate_key: None,
        }
    }

    /// Adds the content that the store signed to the body, as its member [`SIGNED`].
    #[must_use]
    pub fn with_signed(self, signed: Value) -> Self {
        let body: Option<Map<String, Value>> = serde_json::from_str(&self.body).ok();
        let mut body = body.unwrap_or_default();
        body.insert(SIGNED.to_owned(), signed);
        Self {
            body: Value::Object(body).to_string(),
            ..self
        }
    }
}

/// What happens to a notification after it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handling {
    /// Open until the window of its purchase ends; restarts that window.
    Open,
    /// Ends the window: settled at once, with the other open notifications of its purchase.
    AtOnce,
    /// Waits for the decision about its topic.
    WaitTopic(TopicId),
    /// Has this outcome from the start, for this reason.
    Final(Outcome, String),
}

/// The result of accepting one notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Stored in a row of its own.
    New { seq: i64 },
    /// A repetition: this message is stored already for this purchase, store type and platform. Nothing was written.
    Repeated {
        /// The stored row, if it is open: the process that stored it may have stopped before it signalled the purchase.
        open: Option<Open>,
    },
    /// A repetition: the stored row waits for the decision about a topic, or still waits although the topic is decided.
    Waiting { topic: TopicId },
    /// A duplicate notification: another message reported the same earlier. The new row has the outcome `duplicate`.
    Duplicate { seq: i64 },
}

/// An open notification, as the dispatcher needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    pub seq: i64,
    pub collapse_key: CollapseKey,
    /// Time until its window ends, unless another notification restarts it.
    pub quiet: Duration,
    /// Time until the platform's `max_wait` ends the window anyway; `None` when the platform has no `max_wait`.
    pub cap: Option<Duration>,
    pub trace: Option<TraceContext>,
}

row! {
    pub struct OpenRow {
        pub seq: i64,
        pub collapse_key: CollapseKey,
        pub due_at: Timestamp,
        pub cap_at: Option<Timestamp>,
        pub traceparent: Option<String>,
    }
}

/// Maximum number of purchases that are found by one id of a store. An id belongs to one platform, or to a few that
/// share it.
const MAX_NAMED: i64 = 100;

/// Whether a notification is open: it has no outcome, and waits neither for a topic nor for the next wake of its
/// purchase. For statements that find notifications by their purchase.
pub const IS_OPEN: &str =
    const_format::formatcp!("{OPEN_OF_KEY} AND waiting_topic_id IS NULL AND waits_since IS NULL");
/// [`IS_OPEN`], of the notification `n`.
pub const IS_OPEN_N: &str = const_format::formatcp!(
    "{OPEN_OF_KEY_N} AND n.waiting_topic_id IS NULL AND n.waits_since IS NULL"
);

const OPEN_AFTER: Sql = statement! {hot "notifications_open_in_order", "
    SELECT n.seq, n.collapse_key, n.due_at, n.cap_at, n.traceparent
    FROM notifications n
    WHERE {OPEN_IN_ORDER} AND n.seq > ?
    ORDER BY n.seq
    LIMIT ?
"};

/// Selects the newest open notification of each purchase, newest first. Leaves out held purchases, and notifications
/// that a settling left open: the workflow runs knew of them, and the sweep wakes their purchases.
const NEWEST_OPEN: Sql = statement! {hot "notifications_open_in_order", "
    SELECT n.seq, n.collapse_key, n.due_at, (
            SELECT MIN(m.cap_at + 0)
            FROM notifications m
            WHERE m.collapse_key = n.collapse_key AND {OPEN_OF_KEY_M} AND m.waiting_topic_id IS NULL
                AND m.waits_since IS NULL
        ) AS cap_at, n.traceparent
    FROM notifications n
    WHERE {OPEN_IN_ORDER} AND n.seq < ?
        AND (
            SELECT 1
            FROM notifications m
            WHERE m.collapse_key = n.collapse_key AND {OPEN_OF_KEY_M} AND m.waiting_topic_id IS NULL
                AND m.seq + 0 > n.seq
            LIMIT 1) IS NULL
        AND (SELECT p.held_until > ? FROM purchases p WHERE p.collapse_key = n.collapse_key) IS NOT TRUE
    ORDER BY n.seq DESC
    LIMIT ?
"};

const OLDEST_OPEN: Sql = statement! {hot "notifications_open_in_order", "
    SELECT n.accepted_at AS value
    FROM notifications n
    WHERE {OPEN_IN_ORDER}
    ORDER BY n.seq
    LIMIT 1
"};

const OF_STORE_ID: Sql = statement! {hot "notifications_open_of_receipt", "
    SELECT DISTINCT collapse_key AS value
    FROM notifications
    WHERE receipt_id = ? AND {OPEN_OF_STORE_ID} AND collapse_key IS NOT NULL
    ORDER BY collapse_key
    LIMIT ?
"};

impl Store {
    /// Returns at most `limit` open notifications with a sequence number above `seq`, in that order. Leaves out those
    /// that a settling left open: they are settled at the purchase's next wake.
    pub async fn open_after(&self, seq: i64, limit: i64) -> Result<Vec<Open>, Error> {
        let clock = self.database.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let rows: Vec<OpenRow> = sql(OPEN_AFTER).bind(seq).bind(limit).all(connection)?;
            Ok(rows.into_iter().map(|row| row.open(now)).collect())
        })
        .await
    }

    /// Returns the newest open notification of each purchase, with a sequence number below `seq`, newest first. Leaves
    /// out held purchases, and notifications that a settling left open.
    pub async fn newest_open_before(&self, seq: i64, limit: i64) -> Result<Vec<Open>, Error> {
        let clock = self.database.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let rows: Vec<OpenRow> = sql(NEWEST_OPEN).bind((seq, now, limit)).all(connection)?;
            Ok(rows.into_iter().map(|row| row.open(now)).collect())
        })
        .await
    }

    /// Returns how long ago the oldest open notification was accepted that no settling left open; `None` when there is
    /// none.
    pub async fn inbox_age(&self) -> Result<Option<Duration>, Error> {
        let clock = self.database.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let oldest: Option<Timestamp> = sql(OLDEST_OPEN).value(connection)?;
            Ok(oldest.map(|oldest| now.since(oldest)))
        })
        .await
    }

    /// Returns the purchases of the open notifications about a store's id, on any platform.
    pub async fn open_of_store_id(&self, receipt_id: &str) -> Result<Vec<CollapseKey>, Error> {
        let receipt_id = clean(receipt_id).into_owned();
        self.read(move |connection| {
            sql(OF_STORE_ID)
                .bind(receipt_id)
                .bind(MAX_NAMED)
                .values(connection)
        })
        .await
    }
}

impl OpenRow {
    pub fn open(&self, now: Timestamp) -> Open {
        Open {
            seq: self.seq,
            collapse_key: self.collapse_key,
            quiet: self.due_at.since(now),
            cap: self.cap_at.map(|cap_at| cap_at.since(now)),
            trace: self
                .traceparent
                .as_deref()
                .and_then(|text| text.parse().ok()),
        }
    }
}

const BEGIN_WAIT: Sql = statement! {hot "notifications_open_of_key", "
    UPDATE notifications
    SET waits_since = ?
    WHERE collapse_key = ? AND seq + 0 IN (?*) AND {IS_OPEN}
"};

const END_WAIT: Sql = statement! {hot "notifications_open_of_key", "
    UPDATE notifications
    SET waits_since = NULL, sweep_at = NULL, wakes = NULL
    WHERE collapse_key = ? AND seq + 0 > ? AND {OPEN_OF_KEY} AND waits_since IS NOT NULL
"};

/// Notes that these notifications of a purchase wait for its next wake, and that those with a sequence number above
/// `through` no longer wait. One with a lower number may have become visible since they were loaded: it does not wait.
pub fn wait(
    write: &mut Write<'_>,
    key: CollapseKey,
    waiting: impl IntoIterator<Item = i64>,
    through: Option<i64>,
) -> Result<(), Error> {
    let mut waiting = waiting.into_iter().peekable();
    if waiting.peek().is_some() {
        sql(BEGIN_WAIT)
            .uncached()
            .bind(write.now()?)
            .bind(key)
            .bind_list(waiting)
            .run(write.connection)?;
    }
    sql(END_WAIT)
        .bind(key)
        .bind(through.unwrap_or(0))
        .run(write.connection)
        .map(drop)
}

const SWEEP_ANEW: Sql = statement! {hot "notifications_open_of_key", "
    UPDATE notifications
    SET sweep_at = NULL, wakes = NULL
    WHERE collapse_key = ? AND {OPEN_OF_KEY} AND sweep_at IS NOT NULL
"};

/// Lets the sweep find the open notifications of a purchase as if it had not found them before, because the purchase's
/// hold changed.
pub fn sweep_anew(write: &mut Write<'_>, key: CollapseKey) -> Result<(), Error> {
    sql(SWEEP_ANEW).bind(key).run(write.connection).map(drop)
}
