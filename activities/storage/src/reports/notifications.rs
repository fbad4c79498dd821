//! Notifications, as the API shows them, each with the reason why it waits.

use crate::reports::scope::platforms;
use crate::reports::walk::{Condition, Conditions, Indexed, Unordered, Walk};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::partial::{LISTED_N, OPEN_BY_KEY};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, row, sql, stored};
use domain::device::claim::CLAIM_STORE_TYPE;
use domain::{AppId, CollapseKey, Outcome, PlatformId, Timestamp};
use serde::Serialize;
use std::time::Duration;

/// Transactions overlap: rows within this time of each other may not be in the order of their times.
const MARGIN: Duration = Duration::from_secs(60);

stored! {
    /// Why a notification has no outcome yet.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum WaitingFor {
        Window = "window",
        /// The end of a hold by an admin.
        Hold = "hold",
        #[serde(rename = "topic approval")]
        TopicApproval = "topic approval",
        Verification = "verification",
        /// A later response of the store that confirms what the last one did not show yet.
        Confirmation = "confirmation",
        /// A person's decision: the store does not know the purchase.
        Parked = "parked",
    }
}

/// Which notifications are listed, by their outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// Notifications without an outcome.
    Open,
    /// Notifications with this outcome.
    Is(Outcome),
}

/// Which notifications are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationFilter {
    pub app: Option<AppId>,
    pub platform: Option<PlatformId>,
    /// Only notifications with this outcome, or without one.
    pub outcome: Option<OutcomeFilter>,
    /// Only notifications accepted at or after this time.
    pub from: Option<Timestamp>,
    /// Only notifications accepted before this time.
    pub until: Option<Timestamp>,
}

impl NotificationView {
    /// Whether a device reported the purchase, instead of the store.
    pub fn is_of_device(&self) -> bool {
        self.store_type == CLAIM_STORE_TYPE
    }
}

impl WaitingFor {
    /// Whether the notification waits for the store.
    pub const fn is_of_store(self) -> bool {
        matches!(self, Self::Verification | Self::Confirmation | Self::Parked)
    }
}

row! {
    /// A notification, as the API shows it.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct NotificationView {
        pub seq: i64,
        /// The store's id of the message.
        pub message_id: String,
        /// The platform that the store notified.
        pub platform_id: PlatformId,
        /// The purchase; `None` if the notification could not be read.
        pub collapse_key: Option<CollapseKey>,
        /// The store's id of the purchase.
        pub receipt_id: String,
        /// The store's own type of the notification; [`CLAIM_STORE_TYPE`] if a device reported the purchase.
        pub store_type: String,
        pub accepted_at: Timestamp,
        /// Outcome of the notification; `None` while it is open.
        pub outcome: Option<Outcome>,
        /// Why the notification is open; `None` once it has an outcome.
        pub waiting_for: Option<WaitingFor>,
        /// The revision of the purchase in which the notification was settled.
        pub revision: Option<i64>,
        /// Reason for the outcome.
        pub reason: Option<String>,
    }
}

/// The columns of a [`NotificationView`]. Binds now.
pub const VIEW: &str = "
    n.seq, n.message_id, n.platform_id, n.collapse_key, n.receipt_id, n.store_type, n.accepted_at, n.outcome,
        n.revision, n.reason,
        CASE WHEN n.outcome IS NOT NULL THEN NULL
            WHEN n.waiting_topic_id IS NOT NULL THEN 'topic approval'
            WHEN p.held_until > ? THEN 'hold'
            WHEN p.waits_through >= n.seq THEN COALESCE(p.waits_for, 'verification')
            ELSE 'window' END AS waiting_for";
/// The notifications `n` with their purchases `p`.
pub const WITH_PURCHASE: &str =
    "notifications n LEFT JOIN purchases p ON p.collapse_key = n.collapse_key";

const LIST: Sql = statement! {"
    SELECT CAST(n.seq AS TEXT) AS cursor, {VIEW}
    FROM {WITH_PURCHASE}
    WHERE n.seq < ? AND n.seq >= ? AND {{which}}
    ORDER BY n.seq DESC
    LIMIT ?
"};
const FLOOR: Sql = statement! {"
    SELECT CAST(n.seq AS TEXT) AS value
    FROM notifications n
    WHERE n.seq < ?
    ORDER BY n.seq DESC
    LIMIT 1 OFFSET ?
"};
/// The first row from a sequence number on, for a binary search by time: sequence numbers follow the time.
const AT: Sql = statement!(
    "SELECT n.accepted_at AS value FROM notifications n WHERE n.seq >= ? ORDER BY n.seq LIMIT 1"
);
const NEWEST: Sql =
    statement!("SELECT n.seq AS value FROM notifications n ORDER BY n.seq DESC LIMIT 1");
const LIST_OF_PLATFORM: Sql = statement! {"
    SELECT CAST(n.seq AS TEXT) AS cursor, {VIEW}
    FROM {WITH_PURCHASE}
    WHERE {LISTED_N} AND (n.platform_id, n.seq) < (?, ?) AND (n.platform_id, n.seq) >= (?, ?) AND {{which}}
    ORDER BY n.platform_id DESC, n.seq DESC
    LIMIT ?
"};
const FLOOR_OF_PLATFORM: Sql = statement! {hot "notifications_of_platform", "
    SELECT CAST(n.seq AS TEXT) AS value
    FROM notifications n
    WHERE {LISTED_N} AND (n.platform_id, n.seq) < (?, ?) AND (n.platform_id, n.seq) >= (?, 0)
    ORDER BY n.platform_id DESC, n.seq DESC
    LIMIT 1 OFFSET ?
"};
/// Unsettled notifications. Repeats the condition of the partial index, which a bound value alone does not imply.
const LIST_NOT_SETTLED: Sql = statement! {"
    SELECT CAST(n.seq AS TEXT) AS cursor, {VIEW}
    FROM {WITH_PURCHASE}
    WHERE {NOT_SETTLED} AND (n.outcome, n.seq) < (?, ?) AND (n.outcome, n.seq) >= (?, ?) AND {{which}}
    ORDER BY n.outcome DESC, n.seq DESC
    LIMIT ?
"};
const FLOOR_NOT_SETTLED: Sql = statement! {hot "notifications_not_settled", "
    SELECT CAST(n.seq AS TEXT) AS value
    FROM notifications n
    WHERE {NOT_SETTLED} AND (n.outcome, n.seq) < (?, ?) AND (n.outcome, n.seq) >= (?, 0)
    ORDER BY n.outcome DESC, n.seq DESC
    LIMIT 1 OFFSET ?
"};
const NOT_SETTLED: &str = "n.outcome IN ('refused', 'discarded', 'unknown', 'given_up')";
const UNORDERED: Unordered = Unordered {
    list: LIST_UNORDERED,
    count: COUNT,
};
const LIST_UNORDERED: Sql = statement! {"
    SELECT CAST(n.seq AS TEXT) AS cursor, {VIEW}
    FROM {WITH_PURCHASE}
    WHERE n.seq + 0 < ? AND n.seq + 0 >= ? AND {{which}}
    ORDER BY n.seq + 0 DESC
    LIMIT ?
"};
const COUNT: Sql = statement! {"
    SELECT COUNT(*) AS value FROM (SELECT 1 FROM notifications n WHERE {{which}} LIMIT ?) x
"};
const OF_PURCHASE: Clause =
    clause!(&[LIST_UNORDERED, COUNT], hot "notifications_of_key", "n.collapse_key = ?");
// Conditions that no index serves: those of indexed lists in another form, and further ones.
const LISTS: &[Sql] = &[LIST, LIST_OF_PLATFORM, LIST_NOT_SETTLED, LIST_UNORDERED];
const ON_PLATFORMS: Clause = clause!(LISTS, "n.platform_id || '' IN (?*)");
const HAS_PURCHASE: Clause = clause!(LISTS, "n.collapse_key || '' IN (?*)");
const HAS_OUTCOME: Clause = clause!(LISTS, "n.outcome || '' IN (?*)");
/// The API's filter `open`: no outcome yet, including waiting notifications, which `OPEN` of the inbox excludes.
const OPEN: Clause = clause!(LISTS, "n.outcome {OPEN_BY_KEY}");
const SINCE: Clause = clause!(LISTS, "n.accepted_at + 0 >= ?");
const BEFORE: Clause = clause!(LISTS, "n.accepted_at + 0 < ?");

const OF_MESSAGE: Sql =
    statement!("SELECT {VIEW} FROM {WITH_PURCHASE} WHERE n.message_id = ? ORDER BY n.seq");

impl Store {
    /// Returns the notifications of one message of a store.
    pub async fn notifications_of(&self, message_id: &str) -> Result<Vec<NotificationView>, Error> {
        let message_id = message_id.to_owned();
        self.read_now(move |connection, now| {
            sql(OF_MESSAGE).bind(now).bind(message_id).all(connection)
        })
        .await
    }

    /// Lists the notifications of a purchase, newest first.
    pub async fn notifications_of_purchase(
        &self,
        key: CollapseKey,
        page: Page,
    ) -> Result<Paged<NotificationView>, Error> {
        let indexed = vec![Indexed::unordered(
            UNORDERED,
            OF_PURCHASE,
            HAS_PURCHASE,
            key,
        )];
        self.read_now(move |connection, now| {
            walk(now, indexed, Vec::new(), EVERYTHING).page(connection, &page)
        })
        .await
    }

    /// Lists notifications, newest first. A page can have fewer items than its limit even if another page follows.
    pub async fn notifications(
        &self,
        filter: NotificationFilter,
        page: Page,
    ) -> Result<Paged<NotificationView>, Error> {
        self.read_now(move |connection, now| {
            let range = (
                filter
                    .from
                    .map_or(Ok(0), |from| first_at(connection, from.minus(MARGIN)))?,
                filter.until.map_or(Ok(i64::MAX), |until| {
                    first_at(connection, until.plus(MARGIN))
                })?,
            );
            let platforms = platforms(connection, filter.app, filter.platform)?;
            let (indexed, others) = conditions(filter, platforms);
            walk(now, indexed, others, range).page(connection, &page)
        })
        .await
    }
}

/// The range of all sequence numbers.
const EVERYTHING: (i64, i64) = (0, i64::MAX);

fn walk<'a>(
    now: Timestamp,
    indexed: Vec<Indexed<'a>>,
    others: Vec<Condition<'a>>,
    range: (i64, i64),
) -> Walk<'a, i64> {
    Walk {
        list: LIST,
        floor: FLOOR,
        first: vec![now.into()],
        indexed,
        others,
        range,
    }
}

/// Returns the filter's conditions: those with an index, and the others. `platforms` are those to which the filter
/// restricts notifications, if any.
fn conditions(filter: NotificationFilter, platforms: Option<Vec<PlatformId>>) -> Conditions {
    let NotificationFilter {
        outcome,
        from,
        until,
        ..
    } = filter;
    let (mut indexed, mut others): (Vec<Indexed<'static>>, Vec<Condition<'static>>) =
        Default::default();
    indexed.extend(
        platforms.map(|all| Indexed::by([LIST_OF_PLATFORM, FLOOR_OF_PLATFORM], ON_PLATFORMS, all)),
    );
    match outcome {
        Some(OutcomeFilter::Open) => others.push((OPEN, None)),
        Some(OutcomeFilter::Is(
            outcome @ (Outcome::Settled | Outcome::NoChange | Outcome::Duplicate),
        )) => {
            others.push((HAS_OUTCOME, Value::list([outcome])));
        }
        Some(OutcomeFilter::Is(outcome)) => {
            indexed.push(Indexed::by(
                [LIST_NOT_SETTLED, FLOOR_NOT_SETTLED],
                HAS_OUTCOME,
                [outcome],
            ));
        }
        None => {}
    }
    let more: [(Clause, Option<Value<'static>>); 2] = [
        (SINCE, from.map(Into::into)),
        (BEFORE, until.map(Into::into)),
    ];
    others.extend(more.into_iter().filter(|(_, value)| value.is_some()));
    (indexed, others)
}

/// Returns the sequence number of the first row that was accepted at or after a time, assuming that the rows are in
/// order of their times. If all rows are older, it is the number after the newest one.
fn first_at(connection: &mut AnyConnection, at: Timestamp) -> Result<i64, Error> {
    let newest: i64 = sql(NEWEST).value(connection)?.unwrap_or(0);
    let (mut low, mut high) = (1, newest.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        let accepted: Option<Timestamp> = sql(AT).bind(middle).value(connection)?;
        if accepted.is_some_and(|accepted| accepted < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
