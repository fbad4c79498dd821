//! Duties to stores, as the API lists them and explanations show them.

use crate::events::deliveries::MAX_COUNTED;
use crate::purchases::duties::{DutyKind, DutyResult};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{row, sql};
use domain::{CollapseKey, DutyId, PlatformId, Purchase, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

row! {
    /// A duty to a store.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct DutyView {
        /// Id of the duty.
        pub id: DutyId,
        /// What has to be done.
        pub kind: DutyKind,
        /// Id of the platform whose store requires it.
        pub platform_id: PlatformId,
        /// Key of the purchase; null if the store's question names only an order.
        pub collapse_key: Option<CollapseKey>,
        /// The store's id of the order in question; null for a purchase.
        pub order_id: Option<String>,
        /// When settle learned of it.
        pub created_at: Timestamp,
        /// The deadline.
        pub answer_by: Timestamp,
        /// When the next attempt of settle is due; null if it attempts nothing now.
        pub due_at: Option<Timestamp>,
        /// Number of settle's attempts.
        pub attempts: i64,
        /// Why the last attempt failed.
        pub failure: Option<String>,
        /// When the alarm before the deadline was raised.
        pub warned_at: Option<Timestamp>,
        /// When it was closed; null while it is open.
        pub done_at: Option<Timestamp>,
        /// How it was closed.
        pub result: Option<DutyResult>,
    }
}

row! {
    /// Numbers of open duties to stores.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct DutyCounts {
        /// Number of open duties.
        pub open: i64,
        /// Number of open duties whose deadline has passed.
        pub overdue: i64,
    }
}

const COLUMNS: &str = "id, kind, platform_id, collapse_key, order_id, created_at, answer_by, due_at, attempts, failure, \
     warned_at, done_at, result";

const FIND: Sql = statement!("SELECT {COLUMNS} FROM duties WHERE id = ?");

const LIST: Sql = statement! {"
    SELECT CAST(answer_by AS TEXT) || '_' || id AS cursor, {COLUMNS}
    FROM duties
    WHERE platform_id = ? AND done_at IS NULL AND (answer_by, id) > (?, ?)
    ORDER BY answer_by, id
    LIMIT ?
"};

const OF_ORDERS: Sql = statement! {"
    SELECT {COLUMNS}
    FROM duties
    WHERE platform_id = ? AND order_id IN (?*)
    ORDER BY created_at, id
"};

/// The order is that of the index of open duties, so that the planner uses it even if its statistics are old.
const COUNTS: Sql = statement! {"
    SELECT COUNT(*) AS open, COUNT(CASE WHEN x.answer_by <= ? THEN 1 END) AS overdue
    FROM (SELECT d.answer_by
        FROM duties d
        WHERE d.done_at IS NULL AND {{which}}
        ORDER BY d.platform_id, d.answer_by, d.id
        LIMIT {MAX_COUNTED}) x
"};
const ON_PLATFORMS: Clause = clause!(&[COUNTS], "d.platform_id IN (?*)");

impl Store {
    /// Lists the open duties of a platform, in the order of their deadlines.
    pub async fn open_duties(
        &self,
        platform: PlatformId,
        page: Page,
    ) -> Result<Paged<DutyView>, Error> {
        let (after, id) = page.pair_or(i64::MIN)?;
        self.read(move |connection| page.read(connection, sql(LIST).bind((platform, after, id))))
            .await
    }
}

/// Returns a duty.
pub fn find(connection: &mut AnyConnection, id: DutyId) -> Result<Option<DutyView>, Error> {
    sql(FIND).bind(id).first(connection)
}

/// Counts the open duties to the stores of these platforms, or of all, up to [`MAX_COUNTED`]; `None` if there are none.
pub fn counts(
    connection: &mut AnyConnection,
    platforms: Option<&[PlatformId]>,
    now: Timestamp,
) -> Result<Option<DutyCounts>, Error> {
    let counts: Option<DutyCounts> = match platforms {
        Some([]) => None,
        Some(all) => sql(COUNTS.of(ON_PLATFORMS))
            .uncached()
            .bind(now)
            .bind_list(all.iter().copied())
            .first(connection)?,
        None => sql(COUNTS.with(&[])).bind(now).first(connection)?,
    };
    Ok(counts.filter(|counts| counts.open > 0))
}

/// Returns the duties about a purchase and about its known orders.
pub fn of_purchase(
    connection: &mut AnyConnection,
    platform: PlatformId,
    key: CollapseKey,
    known: &Purchase,
) -> Result<Vec<DutyView>, Error> {
    let mut duties: Vec<DutyView> = Vec::new();
    duties.extend(find(connection, DutyId::acknowledgement(key))?);
    let orders = known.periods().iter();
    let orders: Vec<&str> = orders
        .map(|period| period.transaction_id.as_str())
        .collect();
    if !orders.is_empty() {
        let of_orders: Vec<DutyView> = sql(OF_ORDERS)
            .uncached()
            .bind(platform)
            .bind_list(orders)
            .all(connection)?;
        duties.extend(of_orders);
    }
    Ok(duties)
}
