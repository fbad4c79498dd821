//! The inbox: one durable row per notification, duplicates folded for ever.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{clean, row, sql};
use crate::db::store::Store;
use domain::{CollapseKey, Outcome, PlatformId, Timestamp, TopicId};
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

row! {
    struct OpenRow {
        seq: i64,
        collapse_key: CollapseKey,
        due_at: Timestamp,
        cap_at: Option<Timestamp>,
    }
}

/// A receipt is of one platform, or of a few when apps share it.
const MAX_NAMED: i64 = 100;

/// The condition that a row `n` had its window and does not wait for something else.
const WAITS_FOR_NOTHING: &str = "
    NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key AND p.waits_through >= n.seq)";

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
