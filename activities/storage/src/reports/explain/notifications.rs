//! Received notifications, with everything that they wait or waited for.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Value, row, sql};
use crate::inbox::notifications::{COLUMNS, NotificationView, ViewRow, WaitingFor};
use const_format::formatcp;
use domain::{CollapseKey, Timestamp};
use serde::Serialize;

/// A notification with what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceivedNotification {
    /// The notification.
    #[serde(flatten)]
    pub view: NotificationView,
    /// When it happened, by the store's clock.
    pub store_time: Option<Timestamp>,
    /// When it had its outcome.
    #[serde(rename = "ended_at")]
    pub finished_at: Option<Timestamp>,
    /// When its body was removed, for its age.
    pub pruned_at: Option<Timestamp>,
    /// While it waits for its window: when that ends, unless a new notification restarts it.
    pub window_ends_at: Option<Timestamp>,
    /// While it is held: until when, who holds it and why.
    pub held: Option<(Timestamp, Option<String>, Option<String>)>,
    /// While it waits for the store: since when that does not answer.
    pub unverified_since: Option<Timestamp>,
    /// While it waits for the store: when it is queried again.
    pub next_wake_at: Option<Timestamp>,
    /// While it waits for a topic's approval: which topic.
    pub topic_arn: Option<String>,
}

row! {
    struct ReceivedRow {
        ..view: ViewRow,
        store_time: Option<Timestamp>,
        finished_at: Option<Timestamp>,
        pruned_at: Option<Timestamp>,
        window_ends_at: Option<Timestamp>,
        topic_arn: Option<String>,
        held_by: Option<String>,
        held_reason: Option<String>,
        unverified_since: Option<Timestamp>,
        next_wake_at: Option<Timestamp>,
    }
}

const SELECT: &str = formatcp! {"
    SELECT {COLUMNS}, n.store_time, n.finished_at, n.pruned_at,
        (SELECT MAX(m.due_at) FROM notifications m WHERE m.collapse_key = n.collapse_key
        AND m.outcome IS NULL AND m.waiting_topic_id IS NULL) AS window_ends_at, t.arn AS topic_arn,
        p.held_by, p.held_reason, p.unverified_since, p.next_wake_at
    FROM notifications n
    LEFT JOIN purchases p ON p.collapse_key = n.collapse_key
    LEFT JOIN topics t ON t.id = n.waiting_topic_id"};

const OF_MESSAGE: Sql = statement!("{SELECT} WHERE n.message_id = ? ORDER BY n.seq");

/// The notifications of a message, one for each purchase.
pub fn of_message(
    connection: &mut AnyConnection,
    message_id: &str,
    now: Timestamp,
) -> Result<Vec<ReceivedNotification>, Error> {
    let rows: Vec<ReceivedRow> = sql(OF_MESSAGE).bind(message_id).all(connection)?;
    Ok(rows.into_iter().map(|row| row.notification(now)).collect())
}

/// The newest notifications of a purchase, the oldest of them first, and whether there are more.
pub fn of_purchase(
    connection: &mut AnyConnection,
    key: CollapseKey,
    (most, now): (i64, Timestamp),
) -> Result<(Vec<ReceivedNotification>, bool), Error> {
    newest(connection, (OF_KEY, vec![key.into()]), (most, now))
}

/// The notifications that were settled in a revision, the oldest first.
pub fn of_revision(
    connection: &mut AnyConnection,
    (key, revision): (CollapseKey, i64),
    (most, now): (i64, Timestamp),
) -> Result<Vec<ReceivedNotification>, Error> {
    newest(connection, (OF_REVISION, vec![key.into(), revision.into()]), (most, now)).map(|(found, _)| found)
}

const NEWEST: Sql = statement!("{SELECT} WHERE {{which}} ORDER BY n.seq DESC LIMIT ?");
const OF_KEY: Clause = clause!(&[NEWEST], "n.collapse_key = ?");
const OF_REVISION: Clause = clause!(&[NEWEST], "n.collapse_key = ? AND n.revision = ? AND n.outcome = 'settled'");

fn newest(
    connection: &mut AnyConnection,
    (which, values): (Clause, Vec<Value<'_>>),
    (most, now): (i64, Timestamp),
) -> Result<(Vec<ReceivedNotification>, bool), Error> {
    let mut rows: Vec<ReceivedRow> = sql(NEWEST.of(which)).bind_all(values).bind(most + 1).all(connection)?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let has_older = rows.len() > most;
    rows.truncate(most);
    Ok((rows.into_iter().rev().map(|row| row.notification(now)).collect(), has_older))
}

impl ReceivedRow {
    fn notification(self, now: Timestamp) -> ReceivedNotification {
        let held_until = self.view.held_until(now);
        let view = self.view.view(now);
        let is = |what| view.waiting_for == Some(what);
        let waits_for_store = matches!(view.waiting_for, Some(WaitingFor::Store(_)));
        ReceivedNotification {
            store_time: self.store_time,
            finished_at: self.finished_at,
            pruned_at: self.pruned_at,
            window_ends_at: self.window_ends_at.filter(|_| is(WaitingFor::Window)),
            held: held_until.filter(|_| is(WaitingFor::Hold)).map(|until| (until, self.held_by, self.held_reason)),
            unverified_since: self.unverified_since.filter(|_| waits_for_store),
            next_wake_at: self.next_wake_at.filter(|_| waits_for_store),
            topic_arn: self.topic_arn,
            view,
        }
    }
}
