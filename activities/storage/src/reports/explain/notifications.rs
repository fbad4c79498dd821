//! Received notifications, with everything that they wait or waited for.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Value, row, sql};
use crate::inbox::notifications::NotificationView;
use crate::purchases::purchase::WaitsFor;
use domain::{CollapseKey, Outcome, PlatformId, Timestamp};
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
        seq: i64,
        message_id: String,
        platform_id: PlatformId,
        collapse_key: Option<CollapseKey>,
        receipt_id: String,
        store_type: String,
        store_time: Option<Timestamp>,
        accepted_at: Timestamp,
        outcome: Option<Outcome>,
        revision: Option<i64>,
        reason: Option<String>,
        finished_at: Option<Timestamp>,
        pruned_at: Option<Timestamp>,
        window_ends_at: Option<Timestamp>,
        topic_arn: Option<String>,
        waits_for_topic: bool,
        held_until: Option<Timestamp>,
        held_by: Option<String>,
        held_reason: Option<String>,
        waits_for: Option<WaitsFor>,
        waits_through: Option<i64>,
        unverified_since: Option<Timestamp>,
        next_wake_at: Option<Timestamp>,
    }
}

const SELECT: &str = "
    SELECT n.seq, n.message_id, n.platform_id, n.collapse_key, n.receipt_id, n.store_type, n.store_time,
        n.accepted_at, n.outcome, n.revision, n.reason, n.finished_at, n.pruned_at,
        (SELECT MAX(m.due_at) FROM notifications m WHERE m.collapse_key = n.collapse_key
        AND m.outcome IS NULL AND m.waiting_topic_id IS NULL) AS window_ends_at, t.arn AS topic_arn,
        (n.waiting_topic_id IS NOT NULL) AS waits_for_topic, p.held_until, p.held_by, p.held_reason,
        p.waits_for, p.waits_through, p.unverified_since, p.next_wake_at
    FROM notifications n
    LEFT JOIN purchases p ON p.collapse_key = n.collapse_key
    LEFT JOIN topics t ON t.id = n.waiting_topic_id";

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
        let held_until = self.held_until.filter(|until| *until > now);
        let had_its_window = self.waits_through.is_some_and(|through| self.seq <= through);
        let waiting_for = match self.outcome {
            Some(_) => None,
            None if self.waits_for_topic => Some("topic approval".to_owned()),
            None if held_until.is_some() => Some("hold".to_owned()),
            None if had_its_window => Some(self.waits_for.unwrap_or(WaitsFor::Verification).as_str().to_owned()),
            None => Some("window".to_owned()),
        };
        let is = |what: &str| waiting_for.as_deref() == Some(what);
        let waits_for_store = waiting_for.as_deref().is_some_and(|what| what.parse::<WaitsFor>().is_ok());
        ReceivedNotification {
            store_time: self.store_time,
            finished_at: self.finished_at,
            pruned_at: self.pruned_at,
            window_ends_at: self.window_ends_at.filter(|_| is("window")),
            held: held_until.filter(|_| is("hold")).map(|until| (until, self.held_by, self.held_reason)),
            unverified_since: self.unverified_since.filter(|_| waits_for_store),
            next_wake_at: self.next_wake_at.filter(|_| waits_for_store),
            topic_arn: self.topic_arn,
            view: NotificationView {
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
            },
        }
    }
}
