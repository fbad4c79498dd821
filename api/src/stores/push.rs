//! The inbox of a store that repeats a message until it gets a success status.
//!
//! A message of such a store that can never be accepted is stored as refused and answered with success: otherwise the
//! store would repeat it for days. The store's folder decides which messages these are.

use super::alarms::HourlyAlarms;
use super::inbox::{self, Alarm, Inbox, Message};
use super::ingress::Answer;
use super::intake::Intake;
use super::recipient::NoRecipient;
use domain::{Outcome, Timestamp};
use std::sync::Arc;
use storage::{Handling, NewNotification, Platform, Recipient, Store};

/// A message of the platform's store, as the store's folder maps it.
pub enum Push {
    /// A notification, and the alarm that it causes, if any.
    Accepted(Box<NewNotification>, Option<Alarm>),
    /// A message that can never be valid.
    Declined(Box<NewNotification>, Declined),
}

/// Why a message is stored as refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declined {
    /// Stable reason, used as a metric's label.
    pub reason: &'static str,
    /// Alarm about the message, raised at most once an hour.
    pub alarm: Alarm,
}

impl Push {
    /// Returns a message that is stored as refused, in this row.
    pub fn declined(row: NewNotification, why: Declined) -> Self {
        Self::Declined(Box::new(row), why)
    }
}

/// State of the ingress of such a store, shared by all requests.
pub struct PushInbox {
    store: &'static str,
    /// Response to a stored message.
    accepted: Answer,
    inbox: Inbox,
    alarms: HourlyAlarms,
}

impl PushInbox {
    /// Creates the inbox for the store with this name. Its response to a stored message is `accepted`.
    pub fn new(store: &'static str, accepted: Answer) -> Self {
        Self {
            store,
            accepted,
            inbox: Inbox::new(store),
            alarms: HourlyAlarms::default(),
        }
    }

    /// Returns the platform of an ingress key, at most a second old.
    ///
    /// # Errors
    /// The key is unknown, or the database does not respond.
    pub async fn find(
        &self,
        store: &Store,
        ingress_key: &str,
        now: Timestamp,
    ) -> Result<Arc<Recipient>, NoRecipient> {
        self.inbox.find(store, ingress_key, now).await
    }

    /// Checks that a platform has an ingress key, before the body of a request is read.
    ///
    /// # Errors
    /// The response to a message with this key. The refusal is counted.
    pub async fn check_key(
        &self,
        store: &Store,
        ingress_key: &str,
        now: Timestamp,
    ) -> Result<(), Answer> {
        self.inbox.check_key(store, ingress_key, now).await
    }

    /// Stores a message. A success response means that it is durably stored.
    pub async fn store(
        &self,
        intake: Intake<'_>,
        recipient: &Recipient,
        push: Push,
        now: Timestamp,
    ) -> Answer {
        match push {
            Push::Accepted(row, alarm) => self.accept(intake, recipient, *row, alarm, now).await,
            Push::Declined(row, why) => self.decline(intake, recipient, *row, why, now).await,
        }
    }

    /// Stores and counts an accepted message. Its alarm is raised if the row is new.
    pub async fn accept(
        &self,
        intake: Intake<'_>,
        recipient: &Recipient,
        row: NewNotification,
        alarm: Option<Alarm>,
        now: Timestamp,
    ) -> Answer {
        match self.insert(intake, &recipient.platform, row, alarm).await {
            Ok(_) => {
                self.inbox.count_accepted(intake.store, recipient, now);
                self.accepted
            }
            Err(answer) => self.refuse(intake, recipient, answer).await,
        }
    }

    /// Stores and counts a message that can never be valid. Its hourly alarm is raised if the row is new.
    pub async fn decline(
        &self,
        intake: Intake<'_>,
        recipient: &Recipient,
        row: NewNotification,
        why: Declined,
        now: Timestamp,
    ) -> Answer {
        let platform = &recipient.platform;
        let answer = match self.insert(intake, platform, row, None).await {
            Ok(is_new) => {
                if is_new {
                    self.raise(intake, platform, why.alarm, now).await;
                }
                Answer {
                    reason: why.reason,
                    ..self.accepted
                }
            }
            Err(answer) => answer,
        };
        self.refuse(intake, recipient, answer).await
    }

    /// Raises an alarm for a platform, unless one of the same kind was raised within the last hour.
    pub async fn raise(
        &self,
        intake: Intake<'_>,
        platform: &Platform,
        alarm: Alarm,
        now: Timestamp,
    ) {
        if self.alarms.is_due(platform.id, alarm.kind, now) {
            inbox::raise(intake.store, platform.id, alarm.kind, alarm.detail).await;
        }
    }

    /// Counts and logs a refused request, and returns the response.
    pub async fn refuse(
        &self,
        intake: Intake<'_>,
        recipient: &Recipient,
        answer: Answer,
    ) -> Answer {
        self.inbox
            .count_refused(intake.store, &recipient.platform, answer.reason)
            .await;
        inbox::refused(self.store, answer)
    }

    /// Stores a row. Returns whether it is new; else the response, after which the store repeats the message.
    async fn insert(
        &self,
        intake: Intake<'_>,
        platform: &Platform,
        row: NewNotification,
        alarm: Option<Alarm>,
    ) -> Result<bool, Answer> {
        let message = Message {
            id: row.message_id.clone(),
            notifications: vec![row],
            alarm,
        };
        match self.inbox.accept(intake, platform, message).await {
            Ok(stored) => Ok(stored.is_new),
            Err(reason) => Err(Answer {
                status: 503,
                reason,
            }),
        }
    }
}

/// Returns a row without a body that already has its outcome and belongs to no purchase. It has no store time, so that
/// no other notification counts as its duplicate.
pub fn closed_row(
    platform: &Platform,
    message_id: String,
    outcome: Outcome,
    reason: String,
) -> NewNotification {
    NewNotification {
        platform_id: platform.id,
        message_id,
        receipt_id: String::new(),
        collapse_key: None,
        store_type: String::new(),
        store_time: None,
        app_user_id: None,
        body: "{}".to_owned(),
        handling: Handling::Final(outcome, reason),
        traceparent: None,
        duty: None,
        closes: None,
        order_id: None,
        duplicate_key: None,
    }
}
