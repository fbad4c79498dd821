//! Notifications, with the reasons why they wait.

use super::newest::MAX_ROWS;
use crate::reports::notifications::{NotificationView, VIEW, WITH_PURCHASE, WaitingFor};
use const_format::formatcp;
use db::connection::{AnyConnection, MultiBackend};
use db::error::Error;
use db::partial::OPEN_OF_KEY_M;
use db::sql::{Sql, statement};
use db::statement::{Field, Statement, row, sql};
use diesel::deserialize;
use diesel::row::NamedRow;
use domain::{CollapseKey, Timestamp};
use serde::Serialize;

/// A hold of a purchase: its end, who holds it, and the reason.
type Held = (Timestamp, Option<String>, Option<String>);

row! {
    /// A notification with what it waits for.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct ReceivedNotification {
        #[serde(flatten)]
        pub view: NotificationView,
        /// When it happened, by the store's clock.
        pub store_time: Option<Timestamp>,
        /// The time that its message states, if that cannot be true: then `store_time` is when it was published.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub stated_time: Option<Stated> = stated_time,
        /// When it got its outcome.
        #[serde(rename = "ended_at")]
        pub finished_at: Option<Timestamp>,
        /// When its body was removed because of its age.
        pub pruned_at: Option<Timestamp>,
        /// The end of its window, while it waits for that; a new notification restarts the window.
        pub window_ends_at: Option<Timestamp>,
        /// The hold of its purchase, while it waits for the end of that.
        pub held: Option<Held> = held,
        /// When the store stopped answering, while it waits for the store.
        pub unverified_since: Option<Timestamp>,
        /// Why the last query had no answer, while it waits for the store.
        pub unverified_because: Option<String>,
        /// When the store is queried again, while it waits for the store.
        pub next_wake_at: Option<Timestamp>,
        /// The store that notified, such as `amazon`.
        pub store: String,
        /// The topic that must be approved, while it waits for that.
        pub topic_arn: Option<String>,
    }
}

/// The field of a notification's body with a time that cannot be true.
pub const STATED_TIME: &str = "stated_time";

/// The time in [`STATED_TIME`], as the body has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Stated(pub String);

fn stated_time<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Option<Stated>> {
    let body = String::read(row, "body")?;
    // Most bodies have none, and need not be parsed.
    let body = Some(body).filter(|body| body.contains(STATED_TIME));
    let fields: Option<serde_json::Value> = body.and_then(|body| serde_json::from_str(&body).ok());
    Ok(fields.and_then(|fields| Some(Stated(fields.get(STATED_TIME)?.as_str()?.to_owned()))))
}

fn held<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Option<Held>> {
    let Some(until) = Field::read(row, "held_until")? else {
        return Ok(None);
    };
    Ok(Some((
        until,
        Field::read(row, "held_by")?,
        Field::read(row, "held_reason")?,
    )))
}

/// Binds now, and then the values of the condition that follows.
const SELECT: &str = formatcp! {"
    SELECT {VIEW}, n.body, n.store_time, n.finished_at, n.pruned_at,
        (SELECT MAX(m.due_at) FROM notifications m WHERE m.collapse_key = n.collapse_key
        AND {OPEN_OF_KEY_M} AND m.waiting_topic_id IS NULL) AS window_ends_at,
        p.held_until, p.held_by, p.held_reason, p.unverified_since, p.unverified_because, p.next_wake_at, f.store,
        t.arn AS topic_arn
    FROM {WITH_PURCHASE}
    JOIN platforms f ON f.id = n.platform_id
    LEFT JOIN topics t ON t.id = n.waiting_topic_id
"};

const OF_MESSAGE: Sql = statement!("{SELECT} WHERE n.message_id = ? ORDER BY n.seq");

/// The notifications of a message of a store, one for each purchase.
pub fn of_message(
    connection: &mut AnyConnection,
    message_id: &str,
    now: Timestamp,
) -> Result<Vec<ReceivedNotification>, Error> {
    read(connection, sql(OF_MESSAGE).bind(now).bind(message_id))
}

const OF_PURCHASE: Sql =
    statement!("{SELECT} WHERE n.collapse_key = ? ORDER BY n.seq DESC LIMIT ?");

/// The newest notifications of a purchase, from new to old: at most one more than is shown.
pub fn of_purchase(
    connection: &mut AnyConnection,
    key: CollapseKey,
    now: Timestamp,
) -> Result<Vec<ReceivedNotification>, Error> {
    read(connection, sql(OF_PURCHASE).bind((now, key, MAX_ROWS + 1)))
}

const OF_REVISION: Sql = statement! {"
    {SELECT}
    WHERE n.collapse_key = ? AND n.revision = ? AND n.outcome = 'settled'
    ORDER BY n.seq DESC
    LIMIT ?
"};

/// The newest notifications that were settled in a revision, from old to new.
pub fn of_revision(
    connection: &mut AnyConnection,
    key: CollapseKey,
    revision: i64,
    now: Timestamp,
) -> Result<Vec<ReceivedNotification>, Error> {
    let mut newest = read(
        connection,
        sql(OF_REVISION).bind((now, key, revision, MAX_ROWS)),
    )?;
    newest.reverse();
    Ok(newest)
}

fn read(
    connection: &mut AnyConnection,
    select: Statement<'_>,
) -> Result<Vec<ReceivedNotification>, Error> {
    let rows: Vec<ReceivedNotification> = select.all(connection)?;
    Ok(rows
        .into_iter()
        .map(ReceivedNotification::with_present_waits)
        .collect())
}

impl ReceivedNotification {
    /// Removes the facts about everything that the notification does not wait for.
    fn with_present_waits(self) -> Self {
        let waits_for_window = self.view.waiting_for == Some(WaitingFor::Window);
        let is_held = self.view.waiting_for == Some(WaitingFor::Hold);
        let waits_for_store = self.view.waiting_for.is_some_and(WaitingFor::is_of_store);
        Self {
            window_ends_at: self.window_ends_at.filter(|_| waits_for_window),
            held: self.held.filter(|_| is_held),
            unverified_since: self.unverified_since.filter(|_| waits_for_store),
            unverified_because: self.unverified_because.filter(|_| waits_for_store),
            next_wake_at: self.next_wake_at.filter(|_| waits_for_store),
            ..self
        }
    }
}
