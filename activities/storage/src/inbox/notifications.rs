//! The inbox: one durable row per notification, duplicates folded for ever.

use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Sql, statement};
use crate::db::statement::{clean, row, sql};
use crate::db::store::Store;
use crate::purchases::purchase::WaitsFor;
use domain::{CollapseKey, Outcome, PlatformId, Timestamp, TopicId};
use serde::Serialize;
use std::time::Duration;

/// A notification that is to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    /// The platform that the store notified.
    pub platform_id: PlatformId,
    /// The store's id of the message.
    pub message_id: String,
    /// The store's name of the purchase; empty when unreadable.
    pub receipt_id: String,
    /// The purchase; `None` when unreadable.
    pub collapse_key: Option<CollapseKey>,
    /// The store's own type of the notification.
    pub store_type: String,
    /// When it happened, by the store's clock.
    pub store_time: Option<Timestamp>,
    /// The store's name of the customer.
    pub app_user_id: Option<String>,
    /// JSON of [`domain::Notification`], or the raw message when unreadable.
    pub body: String,
    /// How it is treated when it is accepted.
    pub fate: Fate,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

/// How a notification is treated when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It waits for its window.
    Open,
    /// It is settled at once, with what else is open.
    AtOnce,
    /// It waits until a topic is approved.
    WaitTopic(TopicId),
    /// It has its outcome already, and why.
    Final(Outcome, String),
}

/// The result of accepting one notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It has a row of its own.
    New {
        /// The row's sequence number.
        seq: i64,
    },
    /// This message is stored already for this receipt; nothing was written.
    Repeated,
    /// Another message reported the same; its row has the outcome `duplicate`.
    Duplicate {
        /// The row's sequence number.
        seq: i64,
    },
}

/// An open row, as the dispatcher needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Its sequence number.
    pub seq: i64,
    /// Its purchase.
    pub collapse_key: CollapseKey,
    /// How long its purchase still has to be quiet.
    pub quiet: Duration,
    /// How long until its longest wait is over, when the platform has one.
    pub cap: Option<Duration>,
}

/// A notification as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotificationView {
    /// Its sequence number.
    pub seq: i64,
    /// The store's id of the message.
    pub message_id: String,
    /// The platform that the store notified.
    pub platform_id: PlatformId,
    /// The purchase; `None` when unreadable.
    pub collapse_key: Option<CollapseKey>,
    /// The store's name of the purchase.
    pub receipt_id: String,
    /// The store's own type of the notification.
    pub store_type: String,
    /// When we accepted it.
    pub accepted_at: Timestamp,
    /// Its outcome, once it has one.
    pub outcome: Option<Outcome>,
    /// What it waits for: `window`, `hold`, `topic approval`, `verification` or `parked`.
    pub waiting_for: Option<String>,
    /// The revision it was settled in.
    pub revision: Option<i64>,
    /// Why it ended so.
    pub reason: Option<String>,
}

row! {
    struct OpenRow {
        seq: i64,
        collapse_key: CollapseKey,
        due_at: Timestamp,
        cap_at: Option<Timestamp>,
    }
}

row! {
    struct ViewRow {
        seq: i64,
        message_id: String,
        platform_id: PlatformId,
        collapse_key: Option<CollapseKey>,
        receipt_id: String,
        store_type: String,
        accepted_at: Timestamp,
        waiting_topic_id: Option<TopicId>,
        outcome: Option<Outcome>,
        revision: Option<i64>,
        reason: Option<String>,
        held_until: Option<Timestamp>,
        waits_for: Option<WaitsFor>,
        waits_through: Option<i64>,
    }
}

/// A receipt is of one platform, or of a few when apps share it.
const MAX_NAMED: i64 = 100;

/// The condition that a row `n` had its window and does not wait for something else.
const WAITS_FOR_NOTHING: &str = "
    NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key AND p.waits_through >= n.seq)";

const VIEW: &str = "
    SELECT n.seq, n.message_id, n.platform_id, n.collapse_key, n.receipt_id, n.store_type, n.accepted_at,
        n.waiting_topic_id, n.outcome, n.revision, n.reason, p.held_until, p.waits_for, p.waits_through
    FROM notifications n
    LEFT JOIN purchases p ON p.collapse_key = n.collapse_key";

const OPEN_AFTER: Sql = statement! {hot "notifications_open", "
    SELECT n.seq, n.collapse_key, n.due_at, n.cap_at
    FROM notifications n
    WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL AND n.seq > ? AND {WAITS_FOR_NOTHING}
    ORDER BY n.seq
    LIMIT ?
"};

const OLDEST_OPEN: Sql = statement! {hot "notifications_open", "
    SELECT n.accepted_at AS value
    FROM notifications n
    WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL AND {WAITS_FOR_NOTHING}
    ORDER BY n.seq
    LIMIT 1
"};

const LIST: Sql = statement!("{VIEW} WHERE n.seq < ? ORDER BY n.seq DESC LIMIT ?");
const LIST_OF_PLATFORM: Sql = statement! {"
    {VIEW}
    WHERE n.seq < ? AND n.platform_id = ?
    ORDER BY n.seq DESC
    LIMIT ?
"};

const OF_MESSAGE: Sql = statement!("{VIEW} WHERE n.message_id = ? ORDER BY n.seq");

const OF_PURCHASE: Sql = statement!("{VIEW} WHERE n.collapse_key = ? AND n.seq < ? ORDER BY n.seq DESC LIMIT ?");

const OPEN_OF_RECEIPT: Sql = statement! {hot "notifications_receipt", "
    SELECT DISTINCT collapse_key AS value
    FROM notifications
    WHERE receipt_id = ? AND outcome IS NULL AND collapse_key IS NOT NULL
    ORDER BY collapse_key
    LIMIT ?
"};

impl Store {
    /// Open rows with a sequence number above `seq`, in that order, without those that had their window and wait for
    /// something else: those are settled by a wake.
    pub async fn open_after(&self, seq: i64, limit: i64) -> Result<Vec<Open>, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let rows: Vec<OpenRow> = sql(OPEN_AFTER).bind(seq).bind(limit).all(connection)?;
            Ok(rows.into_iter().map(|row| row.open(now)).collect())
        })
        .await
    }

    /// How long ago the oldest of these rows was accepted; `None` when there is none.
    pub async fn inbox_age(&self) -> Result<Option<Duration>, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let oldest: Option<Timestamp> = sql(OLDEST_OPEN).value(connection)?;
            Ok(oldest.map(|oldest| now.since(oldest)))
        })
        .await
    }

    /// The notifications of a message.
    pub async fn notifications_of(&self, message_id: &str) -> Result<Vec<NotificationView>, Error> {
        let (clock, message_id) = (self.clock, message_id.to_owned());
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let rows: Vec<ViewRow> = sql(OF_MESSAGE).bind(message_id).all(connection)?;
            Ok(rows.into_iter().map(|row| row.view(now)).collect())
        })
        .await
    }

    /// The notifications of a purchase,, the newest first.
    pub async fn notifications_of_purchase(
        &self,
        key: CollapseKey,
        page: Page,
    ) -> Result<Paged<NotificationView>, Error> {
        let (clock, below) = (self.clock, page.number_or(i64::MAX)?);
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let rows: Vec<ViewRow> = sql(OF_PURCHASE).bind(key).bind(below).bind(page.size() + 1).all(connection)?;
            Paged::cut(rows, page.size(), |row| row.seq.to_string(), |row| Ok(row.view(now)))
        })
        .await
    }

    /// Notifications of a platform, or of all, the newest first.
    pub async fn notifications(
        &self,
        platform: Option<PlatformId>,
        page: Page,
    ) -> Result<Paged<NotificationView>, Error> {
        let (clock, below) = (self.clock, page.number_or(i64::MAX)?);
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let list = match platform {
                Some(platform) => sql(LIST_OF_PLATFORM).bind(below).bind(platform),
                None => sql(LIST).bind(below),
            };
            let rows: Vec<ViewRow> = list.bind(page.size() + 1).all(connection)?;
            Paged::cut(rows, page.size(), |row| row.seq.to_string(), |row| Ok(row.view(now)))
        })
        .await
    }

    /// The purchases that open notifications of a receipt name, whatever the platform.
    pub async fn open_of_receipt(&self, receipt_id: &str) -> Result<Vec<CollapseKey>, Error> {
        let receipt_id = clean(receipt_id).into_owned();
        self.read(move |connection| sql(OPEN_OF_RECEIPT).bind(receipt_id).bind(MAX_NAMED).values(connection)).await
    }
}

impl OpenRow {
    fn open(&self, now: Timestamp) -> Open {
        Open {
            seq: self.seq,
            collapse_key: self.collapse_key,
            quiet: self.due_at.since(now),
            cap: self.cap_at.map(|cap_at| cap_at.since(now)),
        }
    }
}

impl ViewRow {
    fn view(self, now: Timestamp) -> NotificationView {
        let had_its_window = self.waits_through.is_some_and(|through| self.seq <= through);
        let waiting_for = match self.outcome {
            Some(_) => None,
            None if self.waiting_topic_id.is_some() => Some("topic approval".to_owned()),
            None if self.held_until.is_some_and(|until| until > now) => Some("hold".to_owned()),
            None if had_its_window => Some(self.waits_for.unwrap_or(WaitsFor::Verification).as_str().to_owned()),
            None => Some("window".to_owned()),
        };
        NotificationView {
            seq: self.seq,
            message_id: self.message_id,
            platform_id: self.platform_id,
            collapse_key: self.collapse_key,
            receipt_id: self.receipt_id,
            store_type: self.store_type,
            accepted_at: self.accepted_at,
            outcome: self.outcome,
            waiting_for,
            revision: self.revision,
            reason: self.reason,
        }
    }
}
