//! The inbox: one durable row per notification, duplicates folded for ever.

use crate::{Error, Page, Paged, Store};
use domain::{CollapseKey, Outcome, PlatformId, Timestamp, TopicId};
use serde::{Deserialize, Serialize};

/// A notification that is to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    /// Whom the store told.
    pub platform_id: PlatformId,
    /// The store's id of the message.
    pub message_id: String,
    /// The store's name of the purchase; empty when unreadable.
    pub receipt_id: String,
    /// The purchase; `None` when unreadable.
    pub collapse_key: Option<CollapseKey>,
    /// What happened, in the store's own word.
    pub said: String,
    /// When it happened, by the store's clock.
    pub store_time: Option<Timestamp>,
    /// The store's name of the customer.
    pub app_user_id: Option<String>,
    /// JSON of [`domain::Notification`], or the raw message when unreadable.
    pub body: String,
    /// What becomes of it.
    pub fate: Fate,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

/// What becomes of a notification when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It waits for its window.
    Open,
    /// It waits until a topic is approved.
    WaitTopic(TopicId),
    /// It has its final word already, and why.
    Ended(Outcome, String),
}

/// What became of one accepted notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It has a row of its own.
    New {
        /// The row's sequence number.
        seq: i64,
    },
    /// The same message for the same receipt is stored already; nothing was written.
    Repeated,
    /// Another message told the same; its row has the outcome `duplicate`.
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
    /// Milliseconds for which it still has to be quiet.
    pub quiet_ms: i64,
    /// Milliseconds until its longest wait is over, when the platform has one.
    pub cap_ms: Option<i64>,
}

/// A notification as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotificationView {
    /// Its sequence number.
    pub seq: i64,
    /// The store's id of the message.
    pub message_id: String,
    /// Whom the store told.
    pub platform_id: PlatformId,
    /// The purchase; `None` when unreadable.
    pub collapse_key: Option<CollapseKey>,
    /// The store's name of the purchase.
    pub receipt_id: String,
    /// What happened, in the store's own word.
    pub said: String,
    /// When we accepted it.
    pub accepted_at: Timestamp,
    /// Its final word, once it has one.
    pub outcome: Option<Outcome>,
    /// What it waits for: `window`, `hold` or `topic approval`.
    pub waiting_for: Option<String>,
    /// The revision it was settled in.
    pub revision: Option<i64>,
    /// Why it ended so.
    pub reason: Option<String>,
}

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// When it was raised.
    pub at: Timestamp,
    /// Which platform it is about.
    pub platform_id: Option<PlatformId>,
    /// A stable word.
    pub kind: String,
    /// A sentence for people, without secrets.
    pub detail: String,
}

impl Store {
    /// Accepts notifications, in order; they survive a power cut when this returns.
    pub async fn accept(&self, notifications: Vec<NewNotification>) -> Result<Vec<Accepted>, Error> {
        todo!()
    }

    /// Open rows with a sequence number above `seq`, in that order.
    pub async fn open_after(&self, seq: i64, limit: i64) -> Result<Vec<Open>, Error> {
        todo!()
    }

    /// Milliseconds since the oldest open row was accepted; `None` when there is none.
    pub async fn inbox_age(&self) -> Result<Option<i64>, Error> {
        todo!()
    }

    /// What became of a message.
    pub async fn notifications_of(&self, message_id: &str) -> Result<Vec<NotificationView>, Error> {
        todo!()
    }

    /// What was told about a purchase, the newest first.
    pub async fn notifications_of_purchase(
        &self,
        key: CollapseKey,
        page: Page,
    ) -> Result<Paged<NotificationView>, Error> {
        todo!()
    }

    /// Keeps something that a person should look at.
    pub async fn alarm(&self, platform: Option<PlatformId>, kind: &str, detail: &str) -> Result<(), Error> {
        todo!()
    }

    /// The alarms, the newest first.
    pub async fn alarms(&self, page: Page) -> Result<Paged<Alarm>, Error> {
        todo!()
    }
}
