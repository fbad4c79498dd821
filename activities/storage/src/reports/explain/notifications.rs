//! Received notifications, with everything that they wait for.

use super::newest::MOST;
use crate::db::connection::{AnyConnection, MultiBackend};
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{Field, Statement, row, sql};
use crate::reports::notifications::{NotificationView, VIEW, WITH_PURCHASE, WaitingFor};
use const_format::formatcp;
use diesel::deserialize;
use diesel::row::NamedRow;
use domain::{CollapseKey, Timestamp};
use serde::Serialize;

/// Until when a purchase is held, who holds it and why.
type Held = (Timestamp, Option<String>, Option<String>);

row! {
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
        pub held: Option<Held>,
        /// While it waits for the store: since when that does not answer.
        pub unverified_since: Option<Timestamp>,
        /// While it waits for the store: when it is queried again.
        pub next_wake_at: Option<Timestamp>,
        /// While it waits for a topic's approval: which topic.
        pub topic_arn: Option<String>,
    }
}

impl Field for Option<Held> {
    fn read<'a>(row: &impl NamedRow<'a, MultiBackend>, _name: &str) -> deserialize::Result<Self> {
        let Some(until) = Field::read(row, "held_until")? else { return Ok(None) };
        Ok(Some((until, Field::read(row, "held_by")?, Field::read(row, "held_reason")?)))
    }
}

/// The values are now, and those of a condition.
const SELECT: &str = formatcp! {"
    SELECT {VIEW}, n.store_time, n.finished_at, n.pruned_at,
        (SELECT MAX(m.due_at) FROM notifications m WHERE m.collapse_key = n.collapse_key
        AND m.outcome IS NULL AND m.waiting_topic_id IS NULL) AS window_ends_at,
        p.held_until, p.held_by, p.held_reason, p.unverified_since, p.next_wake_at, t.arn AS topic_arn
    FROM {WITH_PURCHASE}
    LEFT JOIN topics t ON t.id = n.waiting_topic_id
"};

const OF_MESSAGE: Sql = statement!("{SELECT} WHERE n.message_id = ? ORDER BY n.seq");

/// The notifications of a message, one for each purchase.
pub fn of_message(
    connection: &mut AnyConnection,
    message_id: &str,
    now: Timestamp,
) -> Result<Vec<ReceivedNotification>, Error> {
    read(connection, sql(OF_MESSAGE).bind(now).bind(message_id))
}

const OF_PURCHASE: Sql = statement!("{SELECT} WHERE n.collapse_key = ? ORDER BY n.seq DESC LIMIT ?");

/// The newest notifications of a purchase, the newest first: one more than are shown, where there are more.
pub fn of_purchase(
    connection: &mut AnyConnection,
    key: CollapseKey,
    now: Timestamp,
) -> Result<Vec<ReceivedNotification>, Error> {
    read(connection, sql(OF_PURCHASE).bind(now).bind(key).bind(MOST + 1))
}

const OF_REVISION: Sql = statement! {"
    {SELECT}
    WHERE n.collapse_key = ? AND n.revision = ? AND n.outcome = 'settled'
    ORDER BY n.seq DESC
    LIMIT ?
"};

/// The newest notifications that were settled in a revision, the oldest of them first.
pub fn of_revision(
    connection: &mut AnyConnection,
    key: CollapseKey,
    revision: i64,
    now: Timestamp,
) -> Result<Vec<ReceivedNotification>, Error> {
    let mut newest = read(connection, sql(OF_REVISION).bind(now).bind(key).bind(revision).bind(MOST))?;
    newest.reverse();
    Ok(newest)
}

fn read(connection: &mut AnyConnection, select: Statement<'_>) -> Result<Vec<ReceivedNotification>, Error> {
    let rows: Vec<ReceivedNotification> = select.all(connection)?;
    Ok(rows.into_iter().map(ReceivedNotification::without_the_past).collect())
}

impl ReceivedNotification {
    /// Leaves out what it does not wait for.
    fn without_the_past(self) -> Self {
        let waits_for_window = self.view.waiting_for == Some(WaitingFor::Window);
        let is_held = self.view.waiting_for == Some(WaitingFor::Hold);
        let waits_for_store = self.view.waiting_for.is_some_and(WaitingFor::is_of_store);
        Self {
            window_ends_at: self.window_ends_at.filter(|_| waits_for_window),
            held: self.held.filter(|_| is_held),
            unverified_since: self.unverified_since.filter(|_| waits_for_store),
            next_wake_at: self.next_wake_at.filter(|_| waits_for_store),
            ..self
        }
    }
}
