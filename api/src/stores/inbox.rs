//! The part of an ingress that all stores share: it finds the platform of a request, stores a message's notifications,
//! passes them to the dispatcher, counts messages and raises alarms. The store's folder authenticates and parses the
//! request.

use super::ingress::{Answer, REFUSED_BY_DATABASE, StoreRequest, storage_failed};
use super::intake::Intake;
use super::recipient::{MISSING_KEY, NoRecipient, Recipients, UNKNOWN_KEY};
use domain::time::millis;
use domain::{PlatformId, Timestamp, TopicId};
use metrics::counter;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::{
    Accepted, Counted, FirstAttempt, Handling, NewDuty, NewNotification, Open, Platform, Recipient,
    Series, Store, chain,
};
use tokio::time::Instant;
use traces::{Span, SpanKind};

/// Reason under which accepted messages are counted.
const ACCEPTED: &str = "";
/// Alarm about messages that the database refuses permanently; and the minimum time until this process raises it again.
const NOT_STORED: Alarm = Alarm {
    kind: "accepting_fails",
    detail: "the database refuses the notifications of this platform, and its store repeats each for an hour at most: the log of \
             `serve` says why, and what to do",
};
const NOT_STORED_FOR: Duration = Duration::from_secs(60);

/// State of an ingress, shared by all requests.
pub struct Inbox {
    store: &'static str,
    recipients: Recipients,
    /// When [`NOT_STORED`] was last raised.
    not_stored_at: Mutex<Option<Instant>>,
}

/// Parsed content of a message.
pub struct Message {
    /// The store's id for the message.
    pub id: String,
    pub notifications: Vec<NewNotification>,
    /// Alarm to raise if one of the notifications is new.
    pub alarm: Option<Alarm>,
}

/// An alarm about a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    pub kind: &'static str,
    /// Reason for the refusal. Contains no text from the sender.
    pub detail: &'static str,
}

/// Result of storing a message's notifications.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Whether one of the notifications is new.
    pub is_new: bool,
    /// Topics whose approval earlier stored notifications of this message are waiting for.
    pub waiting: Vec<TopicId>,
}

impl Inbox {
    /// Creates the inbox for the store with this name.
    pub fn new(store: &'static str) -> Self {
        Self {
            store,
            recipients: Recipients::new(store),
            not_stored_at: Mutex::default(),
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
        self.recipients.find(store, ingress_key, now).await
    }

    /// Reads the platform of an ingress key from the database.
    ///
    /// # Errors
    /// The key is unknown, or the database does not respond.
    pub async fn read(
        &self,
        store: &Store,
        ingress_key: &str,
        now: Timestamp,
    ) -> Result<Arc<Recipient>, NoRecipient> {
        self.recipients.read(store, ingress_key, now).await
    }

    /// Receives a request whose message the store's folder can parse without reading the database. `accepted` is the
    /// response once all of the message is stored.
    pub async fn receive(
        &self,
        intake: Intake<'_>,
        request: StoreRequest<'_>,
        now: Timestamp,
        accepted: Answer,
        read: impl FnOnce(&Platform, StoreRequest<'_>) -> Result<Message, Answer>,
    ) -> Answer {
        let store = intake.store;
        let recipient = match self.find(store, request.ingress_key, now).await {
            Ok(recipient) => recipient,
            Err(missing) => return refused(self.store, missing.into()),
        };
        let platform = &recipient.platform;
        let stored = match read(platform, request) {
            Ok(message) => self.accept(intake, platform, message).await,
            Err(answer) => {
                self.count_refused(store, platform, answer.reason).await;
                return refused(self.store, answer);
            }
        };
        match stored {
            Ok(_) => {
                self.count_accepted(store, &recipient, now);
                accepted
            }
            Err(reason) => {
                self.count_refused(store, platform, reason).await;
                let status = 503;
                refused(self.store, Answer { status, reason })
            }
        }
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
        let found = self.find(store, ingress_key, now).await;
        found.map(drop).map_err(|missing| {
            store.count(Series::Refused, Counted::default());
            refused(self.store, missing.into())
        })
    }

    /// Counts an accepted request to a platform.
    pub fn count_accepted(&self, store: &Store, recipient: &Recipient, now: Timestamp) {
        store.count_arrival(recipient.platform.id, ACCEPTED);
        if recipient.ends_at.is_some() {
            self.recipients
                .note_old_key_used(store, recipient.platform.id, now);
        }
    }

    /// Counts a refused request to a platform. The reason is stable.
    pub async fn count_refused(&self, store: &Store, platform: &Platform, reason: &'static str) {
        store.count_arrival(platform.id, reason);
        if reason == REFUSED_BY_DATABASE && self.raises_not_stored(Instant::now()) {
            raise(store, platform.id, NOT_STORED.kind, NOT_STORED.detail).await;
        }
        store.count(Series::Refused, platform.app_id);
    }

    /// Stores the notifications of a message, then passes them to the dispatcher.
    ///
    /// # Errors
    /// Why the notifications are not stored; the store repeats the message.
    pub async fn accept(
        &self,
        intake: Intake<'_>,
        platform: &Platform,
        mut message: Message,
    ) -> Result<Stored, &'static str> {
        let Intake { store, dispatch } = intake;
        let fates: Vec<_> = message
            .notifications
            .iter()
            .map(|row| (row.collapse_key, row.handling.clone()))
            .collect();
        let is_due = |duty: &NewDuty| duty.attempt == FirstAttempt::AtOnce;
        let mut new_duties = message.notifications.iter();
        let has_due = new_duties.any(|row| row.duty.as_ref().is_some_and(is_due));
        let trace = traces::current();
        traces::annotate("messaging.message.id", || message.id.clone());
        for row in &mut message.notifications {
            row.traceparent = trace.map(|trace| trace.to_string());
        }
        fail::fail_point!("accept.acknowledge_early", |_| {
            let (store, rows) = (store.clone(), message.notifications.clone());
            tokio::spawn(async move { store.accept(rows).await });
            Ok(Stored {
                is_new: true,
                waiting: Vec::new(),
            })
        });
        let accepted = insert(store, message.notifications).await;
        let accepted = accepted.map_err(|error| storage_failed(self.store, &error))?;
        let settings = &platform.settings;
        let mut stored = Stored::default();
        for (accepted, row) in accepted.into_iter().zip(fates) {
            match accepted {
                Accepted::New { seq } => {
                    stored.is_new = true;
                    counter!("settle_notifications_accepted_total").increment(1);
                    store.count(Series::Accepted, platform.app_id);
                    match row {
                        (Some(key), Handling::Open) => {
                            dispatch.notify(key, seq, settings.window_ms, settings.max_wait_ms)
                        }
                        (Some(key), Handling::AtOnce) => dispatch.flush(key, seq),
                        _ => {}
                    }
                    continue;
                }
                Accepted::Repeated { open } => {
                    if let Some(Open {
                        seq,
                        collapse_key,
                        quiet,
                        cap,
                        ..
                    }) = open
                    {
                        dispatch.notify_again(collapse_key, seq, millis(quiet), cap.map(millis));
                    }
                }
                Accepted::Waiting { topic } => stored.waiting.push(topic),
                Accepted::Duplicate { .. } => {}
            }
            counter!("settle_notifications_duplicate_total").increment(1);
        }
        if has_due && stored.is_new {
            dispatch.engine().verify_claims(platform.id);
        }
        if let Some(alarm) = message.alarm.filter(|_| stored.is_new) {
            tracing::info!(message.id = %message.id, alarm.kind = alarm.kind, "a message gave cause for an alarm");
            raise(store, platform.id, alarm.kind, alarm.detail).await;
        }
        Ok(stored)
    }

    /// Returns whether the alarm about unstored messages is due, and if so, blocks it for a while.
    fn raises_not_stored(&self, now: Instant) -> bool {
        let mut raised_at = self
            .not_stored_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = raised_at.is_none_or(|at| now.duration_since(at) >= NOT_STORED_FOR);
        if is_due {
            *raised_at = Some(now);
        }
        is_due
    }
}

/// Counts and logs the refusal of a message to a store's ingress. Refusals of unknown keys are logged at a lower level,
/// because any number of such requests can be sent.
pub fn refused(store: &'static str, answer: Answer) -> Answer {
    let Answer { status, reason } = answer;
    counter!("settle_notifications_refused_total", "reason" => reason).increment(1);
    if [UNKNOWN_KEY, MISSING_KEY].contains(&reason) {
        tracing::debug!(store, status, reason, "a message to an ingress was refused");
    } else {
        tracing::info!(store, status, reason, "a message to an ingress was refused");
    }
    answer
}

/// Inserts the rows, with a span of its own.
async fn insert(
    store: &Store,
    rows: Vec<NewNotification>,
) -> Result<Vec<Accepted>, storage::Error> {
    let span = Span::child("INSERT notifications", SpanKind::Client);
    span.set("db.system.name", store.system());
    span.set("db.operation.name", "INSERT");
    span.set("db.collection.name", "notifications");
    span.describe(|span| {
        span.set(
            "db.operation.batch.size",
            i64::try_from(rows.len()).unwrap_or(i64::MAX),
        );
    });
    let accepted = span.within(store.accept(rows)).await;
    accepted.inspect_err(|_| span.fail("storage"))
}

/// Raises an alarm. If storing the alarm fails, the error is only logged, because the message itself is already stored.
pub async fn raise(store: &Store, platform: PlatformId, kind: &'static str, detail: &str) {
    tracing::warn!(alarm.kind = kind, platform.id = %platform, detail, "an alarm was raised");
    if let Err(error) = store.alarm(Some(platform), kind, detail).await {
        tracing::error!(error = chain(&error), alarm.kind = kind, platform.id = %platform, "an alarm could not be stored");
    }
}
