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

/// A hold of a purchase: its end, its author, and the reason.
type Held = (Timestamp, Option<String>, Option<String>);

row! {
    /// A notification, with what it waits for.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct ReceivedNotification {
        #[serde(flatten)]
        pub view: NotificationView,
        /// When the notified change happened, by the store's clock.
        pub store_time: Option<Timestamp>,
        /// The time stated in the message, if that cannot be true; `store_time` is then when the message was published.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub stated_time: Option<Stated> = stated_time,
        /// When the notification got its outcome.
        #[serde(rename = "ended_at")]
        pub finished_at: Option<Timestamp>,
        /// When the notification's body was removed because of its age.
        pub pruned_at: Option<Timestamp>,
        /// The end of its window, while it waits for that end; a new notification restarts the window.
        pub window_ends_at: Option<Timestamp>,
        /// The hold of its purchase, while it waits for the end of the hold.
        pub held: Option<Held> = held,
        /// When the store stopped responding, while the notification waits for the store.
        pub unverified_since: Option<Timestamp>,
        /// Why the last query was not answered, while the notification waits for the store.
        pub unverified_because: Option<String>,
        /// When the store is queried again, while the notification waits for the store.
        pub next_wake_at: Option<Timestamp>,
        /// The store that sent the notification, such as `amazon`.
        pub store: String,
        /// The topic that must be approved, while the notification waits for the approval.
        pub topic_arn: Option<String>,
    }
}

/// The field of a notification's body that contains a time that cannot be true.
pub const STATED_TIME: &str = "stated_time";

/// The time in [`STATED_TIME`], as text from the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Stated(pub String);

fn stated_time<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Option<Stated>> {
    let body = String::read(row, "body")?;
    // Most bodies do not contain this field, and need not be parsed.
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

/// Binds now, followed by the values of the condition that is appended.
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

/// Returns the notifications of a store's message, one for each purchase.
pub fn of_message(
    connection: &mut AnyConnection,
    message_id: &str,
    now: Timestamp,
) -> Result<Vec<ReceivedNotification>, Error> {
    read(connection, sql(OF_MESSAGE).bind(now).bind(message_id))
}

const OF_PURCHASE: Sql =
    statement!("{SELECT} WHERE n.collapse_key = ? ORDER BY n.seq DESC LIMIT ?");

/// Returns the newest notifications of a purchase, newest first: at most one more than is shown.
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

/// Returns the newest notifications that were settled in a revision, oldest first.
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
    /// Removes the facts about things for which the notification does not wait.
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
