//! The hot path of the inbox: inserts many notifications with few statements.
//!
//! Rows are inserted with `ON CONFLICT DO NOTHING`. Only rows that conflict are examined one by one. For the same
//! message again the result is `Repeated` and nothing is written; its row is returned if it is open, so that the
//! purchase is signalled once more. A duplicate notification (another message with the purchase of an earlier one and
//! with its store type, store time and order, or with its name of the fact: the unique index `notifications_of_key` over
//! `duplicate_key`) is stored with the outcome `duplicate`; it does not restart the window.

use crate::inbox::acceptances;
use crate::inbox::conceal;
use crate::inbox::notifications::{Accepted, Handling, NewNotification, OpenRow};
use crate::inbox::windows::{self, Window};
use crate::purchases::duties::DutyChanges;
use crate::purchases::replacements;
use crate::store::Store;
use db::error::Error;
use db::secrets::Secrets;
use db::sql::{Sql, statement};
use db::statement::{Value, batches, clean, row, sql};
use db::writer::{Faults, JobKind, Write};
use domain::notification::MAX_ID_BYTES;
use domain::{CollapseKey, Outcome, PlatformId, Timestamp, TopicId};
use std::borrow::Cow;
use std::collections::HashMap;
use uuid::Uuid;

/// Numbers of rows per statement. 512 rows of 17 values are below the limits of 32,766 values on SQLite and 65,535 on
/// PostgreSQL.
const SIZES: [usize; 4] = [512, 64, 8, 1];

/// The fail points around the commit of notifications.
const ACCEPT: Faults = Faults {
    before_commit: "accept.before_commit",
    after_commit: "accept.after_commit",
    early_answer: Some("accept.acknowledge_early"),
};

const INSERT: Sql = statement! {"
    INSERT INTO notifications (platform_id, message_id, receipt_id, collapse_key, store_type, store_time,
        app_user_id, body, traceparent, accepted_at, due_at, cap_at, duplicate_key, waiting_topic_id, outcome,
        reason, finished_at)
    VALUES ?*
    ON CONFLICT DO NOTHING
    RETURNING seq, message_id, receipt_id, store_type, platform_id
"};

row! {
    /// The identity of a notification: a message with the same identity is a repetition. It includes the store type,
    /// because a store's samples may have one message id and one purchase with two types
    /// (<https://developer.amazon.com/docs/in-app-purchasing/rtn-example.html>).
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Identity {
        message_id: String,
        receipt_id: String,
        store_type: String,
        platform_id: PlatformId,
    }
}

row! {
    struct Inserted {
        identity: Identity,
        seq: i64,
    }
}

/// A notification with the computed columns of its row.
#[derive(Clone)]
struct Incoming<'n> {
    notification: &'n NewNotification,
    identity: Identity,
    due_at: Timestamp,
    cap_at: Option<Timestamp>,
    duplicate_key: Option<i64>,
    outcome: Option<(Outcome, Cow<'n, str>)>,
}

impl Store {
    /// Accepts notifications and returns the result of each, in order. When this returns, they are durable: they
    /// survive a power cut.
    pub async fn accept(
        &self,
        notifications: Vec<NewNotification>,
    ) -> Result<Vec<Accepted>, Error> {
        if notifications.is_empty() {
            return Ok(Vec::new());
        }
        let secrets = self.database.secrets.clone();
        let work =
            move |write: &mut Write<'_>, all: &[&NewNotification]| insert(write, &secrets, all);
        self.database
            .writer
            .write_items(JobKind::Accept(ACCEPT), notifications.into(), work)
            .await
    }
}

/// Returns the key that a duplicate notification shares with the first one of its purchase: a hash of store time, store
/// type and order, with only 64 bits because each row stores it twice, in the table and in an index. `None` without a
/// store time: such a notification is never a duplicate.
pub fn duplicate_key(
    store_type: &str,
    store_time: Option<Timestamp>,
    order_id: Option<&str>,
) -> Option<i64> {
    let mut name = format!("{}/{}", store_time?.micros(), clean(store_type));
    if let Some(order_id) = order_id {
        name.push('/');
        name.push_str(order_id);
    }
    Some(hash(&name))
}

/// Returns the key of notifications whose store names the reported fact. No default key is of such a name, because
/// those begin with a number.
fn named_key(name: &str) -> i64 {
    hash(&format!("named/{}", clean(name)))
}

fn hash(name: &str) -> i64 {
    let (key, _) = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u64_pair();
    key.cast_signed()
}

/// Inserts notifications and returns the result of each, in order.
pub fn insert(
    write: &mut Write<'_>,
    secrets: &Secrets,
    all: &[&NewNotification],
) -> Result<Vec<Accepted>, Error> {
    let windows = windows::find(write, all)?;
    let concealed = conceal::conceal(write, secrets, &windows, all)?;
    let incoming = prepare(write, &concealed, &windows)?;
    let mut firsts = HashMap::with_capacity(incoming.len());
    for (index, row) in incoming.iter().enumerate() {
        firsts.entry(&row.identity).or_insert(index);
    }
    let mut in_order: Vec<&Incoming<'_>> = incoming.iter().collect();
    if write.connection.is_shared() {
        // All processes insert in the same order, so that two with the same rows do not deadlock.
        in_order.sort_by_key(|row| {
            (
                row.notification.collapse_key,
                row.duplicate_key,
                &row.identity,
            )
        });
    }
    let inserted = insert_all(write, &in_order)?;
    let mut accepted = Vec::with_capacity(incoming.len());
    for (index, row) in incoming.iter().enumerate() {
        accepted.push(match inserted.get(&row.identity) {
            _ if firsts.get(&row.identity) != Some(&index) => Accepted::Repeated { open: None },
            Some(&seq) => Accepted::New { seq },
            None => resolve_conflict(write, row)?,
        });
    }
    let (mut entries, mut links, mut duties) = (Vec::new(), Vec::new(), DutyChanges::default());
    for (row, accepted) in incoming.iter().zip(&accepted) {
        let notification = row.notification;
        if let Accepted::New { seq } | Accepted::Duplicate { seq } = accepted {
            entries.push((*seq, notification.collapse_key));
            let (platform, duty) = (notification.platform_id, notification.duty.as_ref());
            duties.add(platform, duty, notification.closes);
        }
        if matches!(accepted, Accepted::New { .. }) && row.is_open() {
            links.extend(replacements::link_in(
                notification.platform_id,
                &notification.body,
            ));
        }
    }
    acceptances::note(write, entries)?;
    replacements::insert(write, links)?;
    duties.store(write)?;
    Ok(accepted)
}

fn prepare<'n>(
    write: &mut Write<'_>,
    notifications: &'n [Cow<'_, NewNotification>],
    windows: &HashMap<PlatformId, Window>,
) -> Result<Vec<Incoming<'n>>, Error> {
    let mut incoming = Vec::with_capacity(notifications.len());
    for notification in notifications {
        check_lengths(notification)?;
        let window = windows
            .get(&notification.platform_id)
            .ok_or(Error::Missing { what: "platform" })?;
        incoming.push(Incoming::of(notification, window, write.now()?));
    }
    Ok(incoming)
}

/// Checks that the indexed values fit into a page of an index (<https://www.postgresql.org/docs/current/btree.html>).
fn check_lengths(notification: &NewNotification) -> Result<(), Error> {
    let customer = notification.app_user_id.as_deref().unwrap_or_default();
    let texts = [
        ("message_id", notification.message_id.as_str()),
        ("receipt_id", &notification.receipt_id),
        ("store_type", &notification.store_type),
    ];
    for (name, text) in texts.into_iter().chain([("app_user_id", customer)]) {
        if text.len() > MAX_ID_BYTES {
            let detail = format!(
                "`{name}` has {} bytes, at most {MAX_ID_BYTES} are expected",
                text.len()
            );
            return Err(Error::Conflict {
                what: "notification",
                detail,
            });
        }
    }
    Ok(())
}

impl<'n> Incoming<'n> {
    fn of(notification: &'n NewNotification, window: &Window, now: Timestamp) -> Self {
        let outcome = match &notification.handling {
            Handling::Final(outcome, reason) => Some((*outcome, clean(reason))),
            Handling::Open | Handling::AtOnce if notification.collapse_key.is_none() => {
                Some((Outcome::Unknown, Cow::Borrowed("it names no purchase")))
            }
            Handling::Open | Handling::AtOnce | Handling::WaitTopic(_) => None,
        };
        let mut incoming = Self {
            notification,
            identity: Identity {
                message_id: clean(&notification.message_id).into_owned(),
                receipt_id: clean(&notification.receipt_id).into_owned(),
                store_type: clean(&notification.store_type).into_owned(),
                platform_id: notification.platform_id,
            },
            due_at: if matches!(notification.handling, Handling::AtOnce) {
                now
            } else {
                now.plus(window.length)
            },
            cap_at: window.max_wait.map(|max_wait| now.plus(max_wait)),
            duplicate_key: None,
            outcome,
        };
        // A notification that is refused or not yet trusted must never make the genuine one a duplicate.
        if incoming.is_open() {
            let named = notification.duplicate_key.as_deref().map(named_key);
            incoming.duplicate_key = named.or_else(|| {
                duplicate_key(
                    &notification.store_type,
                    notification.store_time,
                    notification.order_id.as_deref(),
                )
            });
        }
        incoming
    }

    fn is_open(&self) -> bool {
        self.outcome.is_none() && self.topic().is_none()
    }

    /// Returns the topic whose approval the notification waits for.
    const fn topic(&self) -> Option<TopicId> {
        match self.notification.handling {
            Handling::WaitTopic(topic) => Some(topic),
            Handling::Open | Handling::AtOnce | Handling::Final(..) => None,
        }
    }

    /// Returns the body to store. That of a duplicate is empty, because it equals the body of the first notification.
    fn body(&self) -> &str {
        let is_duplicate = matches!(self.outcome, Some((Outcome::Duplicate, _)));
        if is_duplicate {
            "{}"
        } else {
            &self.notification.body
        }
    }

    /// Returns the trace context to store; `None` for a notification that already has its outcome, because no settling
    /// follows.
    fn traceparent(&self) -> Option<&str> {
        self.notification
            .traceparent
            .as_deref()
            .filter(|_| self.outcome.is_none())
    }

    fn values(&self, now: Timestamp) -> [Value<'_>; 17] {
        [
            self.notification.platform_id.into(),
            Value::from(self.identity.message_id.as_str()),
            Value::from(self.identity.receipt_id.as_str()),
            self.notification.collapse_key.into(),
            Value::from(self.identity.store_type.as_str()),
            self.notification.store_time.into(),
            self.notification.app_user_id.as_deref().into(),
            self.body().into(),
            self.traceparent().into(),
            now.into(),
            self.due_at.into(),
            self.cap_at.into(),
            self.duplicate_key.into(),
            self.topic().into(),
            Value::from(self.outcome.as_ref().map(|(outcome, _)| *outcome)),
            Value::from(self.outcome.as_ref().map(|(_, reason)| reason.as_ref())),
            Value::from(self.outcome.as_ref().map(|_| now)),
        ]
    }
}

fn insert_all(
    write: &mut Write<'_>,
    incoming: &[&Incoming<'_>],
) -> Result<HashMap<Identity, i64>, Error> {
    let mut seqs = HashMap::with_capacity(incoming.len());
    let now = write.now()?;
    for batch in batches(incoming, &SIZES) {
        let rows = batch.iter().map(|row| row.values(now));
        let inserted: Vec<Inserted> = sql(INSERT).bind_rows(rows).all(write.connection)?;
        seqs.extend(inserted.into_iter().map(|row| (row.identity, row.seq)));
    }
    Ok(seqs)
}

const FIND_FIRST: Sql = statement! {hot "notifications_of_key", "
    SELECT message_id AS value FROM notifications WHERE collapse_key = ? AND duplicate_key = ?
"};

/// Returns the id of the message whose notification has this purchase and duplicate key.
pub fn first_message(
    write: &mut Write<'_>,
    key: Option<CollapseKey>,
    duplicate_key: Option<i64>,
) -> Result<Option<String>, Error> {
    sql(FIND_FIRST)
        .bind(key)
        .bind(duplicate_key)
        .value(write.connection)
}

/// Returns the result of a row that conflicted: it is a repeated message, or it is stored as a duplicate of another
/// message.
fn resolve_conflict(write: &mut Write<'_>, row: &Incoming<'_>) -> Result<Accepted, Error> {
    if let Some(stored) = row.identity.stored(write)? {
        return stored.repeated(write);
    }
    let first = first_message(write, row.notification.collapse_key, row.duplicate_key)?;
    let reason = match first {
        Some(message_id) => format!("message {message_id} reported it first"),
        None => return Err(Error::unavailable(Raced)),
    };
    let outcome = Some((Outcome::Duplicate, Cow::Owned(reason)));
    let duplicate = Incoming {
        duplicate_key: None,
        outcome,
        ..row.clone()
    };
    let inserted: Option<Inserted> = sql(INSERT)
        .bind_rows([duplicate.values(write.now()?)])
        .first(write.connection)?;
    Ok(inserted.map_or(Accepted::Repeated { open: None }, |row| {
        Accepted::Duplicate { seq: row.seq }
    }))
}

/// `|| ''` keeps the planner from using the index of open notifications by the store's id.
const FIND_STORED: Sql = statement! {hot "notifications_identity", "
    SELECT n.seq, n.collapse_key, n.due_at, n.cap_at, n.traceparent, n.waiting_topic_id,
        n.outcome IS NULL AS is_unsettled, n.waits_since
    FROM notifications n
    WHERE n.message_id = ? AND n.receipt_id || '' = ? AND n.store_type = ? AND n.platform_id = ?
"};

row! {
    /// The stored row of a repeated message.
    struct StoredRow {
        seq: i64,
        collapse_key: Option<CollapseKey>,
        due_at: Timestamp,
        cap_at: Option<Timestamp>,
        traceparent: Option<String>,
        waiting_topic_id: Option<TopicId>,
        is_unsettled: bool,
        waits_since: Option<Timestamp>,
    }
}

impl StoredRow {
    fn repeated(self, write: &mut Write<'_>) -> Result<Accepted, Error> {
        if let Some(topic) = self.waiting_topic_id.filter(|_| self.is_unsettled) {
            return Ok(Accepted::Waiting { topic });
        }
        let Self {
            seq,
            due_at,
            cap_at,
            traceparent,
            ..
        } = self;
        let is_open = self.is_unsettled && self.waits_since.is_none();
        let open = self.collapse_key.filter(|_| is_open);
        let open = open.map(|collapse_key| OpenRow {
            seq,
            collapse_key,
            due_at,
            cap_at,
            traceparent,
        });
        let now = write.now()?;
        Ok(Accepted::Repeated {
            open: open.map(|open| open.open(now)),
        })
    }
}

impl Identity {
    fn stored(&self, write: &mut Write<'_>) -> Result<Option<StoredRow>, Error> {
        sql(FIND_STORED)
            .bind((
                self.message_id.as_str(),
                self.receipt_id.as_str(),
                self.store_type.as_str(),
                self.platform_id,
            ))
            .first(write.connection)
    }
}

/// The conflicting row cannot be found: another process is writing it, or rolled it back.
#[derive(Debug, thiserror::Error)]
#[error("another process wrote the same notification at the same time")]
struct Raced;
