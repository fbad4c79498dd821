//! The repairs of platforms: what is read from their stores at intervals, because a notification may be lost.
//!
//! A repair is read in passes. A pass begins when the repair is due, and takes one run or several; each takes the
//! repair with a lease. Its place moves only after the notifications that it found are stored, and their message ids
//! are the store's or follow from what they report. So a run that dies repeats a page at most, whose notifications are
//! then repeated messages.

use crate::inbox::notifications::{Accepted, NewNotification, Open, OpenRow};
use crate::purchases::duties::NewDuty;
use crate::purchases::purchase;
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Statement, clean, row, sql, stored};
use db::writer::Write;
use domain::period::Period;
use domain::time::DAY;
use domain::{CollapseKey, DutyId, Notification, PlatformId, Timestamp};
use serde_json::Value;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

/// When a pass is due that a person waits for: before all others.
const AT_ONCE: Timestamp = Timestamp::from_micros(0);

/// A repair that is due later than this was scheduled before the clock was set back.
const LATEST: Duration = DAY.saturating_mul(2);

stored! {
    /// What a repair reads.
    pub enum RepairKind {
        /// The list of voided payments.
        Voids = "voids",
        /// The state of recorded orders.
        Orders = "orders",
        /// The store's history of notifications.
        Notifications = "notifications",
        /// Nothing: a request that the store sends a test notification. It is due only after a person's request.
        Test = "test",
    }
}

/// Whether a repair reads a list of the store, whose first request shows whether the store accepts the credentials.
/// Without orders, a pass over them sends no request.
pub const READS_LIST: &str = "kind IN ('voids', 'notifications')";

/// Whether a repair is repeated at intervals, or a person requested it. A requested pass begins with the request.
const IS_WANTED: &str = "(kind <> 'test' OR began_at IS NOT NULL)";

/// A notification that a repair found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundNotification {
    pub notification: Notification,
    /// The content of the store's own message, which is stored with the notification; `None` if the notification follows
    /// from what the store lists.
    pub own: Option<Value>,
    /// The duty to the store that it causes.
    pub duty: Option<NewDuty>,
    /// The duty to the store that it shows done.
    pub closes: Option<DutyId>,
}

row! {
    /// A repair that is due.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct DueRepair {
        pub platform_id: PlatformId,
        pub kind: RepairKind,
    }
}

row! {
    /// A repair that a run has taken.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RepairLease {
        pub platform_id: PlatformId,
        pub kind: RepairKind,
        /// Number of the run. Once another run has taken the repair, this one changes nothing.
        runs: i64,
        /// The beginning of the last pass that is complete; `None` before the first one.
        pub repaired_through: Option<Timestamp>,
        /// The beginning of the pass in progress.
        pub began_at: Timestamp,
        /// Where the run continues; `None` for the beginning of the pass.
        pub place: Option<String>,
        /// Number of failures since the last success.
        pub failures: i64,
    }
}

row! {
    /// An order that the ledger has.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RecordedOrder {
        /// The store's id of the order.
        pub store_transaction: String,
        pub collapse_key: CollapseKey,
        pub receipt_id: String,
        /// Number of the payment in the ledger of its purchase.
        pub number: i64,
        pub occurred_at: Timestamp,
        /// Whether the last entry about the payment returned all of it at once.
        pub is_refunded: bool,
    }
}

impl From<Notification> for FoundNotification {
    fn from(notification: Notification) -> Self {
        Self {
            notification,
            own: None,
            duty: None,
            closes: None,
        }
    }
}

impl FoundNotification {
    /// Returns the row of the notification. It is a duplicate of no other message.
    fn row(self, platform: PlatformId) -> NewNotification {
        let row = NewNotification {
            duty: self.duty,
            closes: self.closes,
            ..NewNotification::of(platform, self.notification)
        };
        match self.own {
            Some(own) => NewNotification {
                order_id: Some(row.message_id.clone()),
                ..row.with_signed(own)
            },
            // Two orders of a purchase can be voided at once. With a store time, one would be a duplicate of the other.
            None => NewNotification {
                store_time: None,
                ..row
            },
        }
    }
}

/// The payment after which a repair of orders continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPlace {
    pub at: Timestamp,
    number: i64,
    /// The purchase, as text; empty before the first payment of a time.
    collapse_key: String,
}

/// A text that is no place of a repair of orders.
#[derive(Debug, thiserror::Error)]
#[error("not a place among orders")]
pub struct InvalidPlace;

impl OrderPlace {
    /// Returns the place before all payments of this time.
    pub const fn before(at: Timestamp) -> Self {
        Self {
            at,
            number: i64::MIN,
            collapse_key: String::new(),
        }
    }

    /// Returns the place after the payment of this order.
    pub fn after(order: &RecordedOrder) -> Self {
        Self {
            at: order.occurred_at,
            number: order.number,
            collapse_key: order.collapse_key.to_string(),
        }
    }
}

impl fmt::Display for OrderPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            number,
            collapse_key,
        } = self;
        write!(f, "{}/{number}/{collapse_key}", at.micros())
    }
}

impl FromStr for OrderPlace {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let mut parts = text.splitn(3, '/');
        let mut number = || -> Option<i64> { parts.next()?.parse().ok() };
        let (micros, number) = (number(), number());
        Ok(Self {
            at: Timestamp::from_micros(micros.ok_or(InvalidPlace)?),
            number: number.ok_or(InvalidPlace)?,
            collapse_key: parts.next().ok_or(InvalidPlace)?.to_owned(),
        })
    }
}

/// Finds a platform of a store that has no row for a kind of repair.
const MISSING: Sql = statement! {"
    SELECT f.id AS value
    FROM platforms f
    LEFT JOIN repairs r ON r.platform_id = f.id AND r.kind = ?
    WHERE f.store = ? AND f.deleted_at IS NULL AND r.platform_id IS NULL
    LIMIT 1
"};

const CREATE: Sql = statement! {"
    INSERT INTO repairs (platform_id, kind, runs, due_at, failures)
    SELECT f.id, CAST(? AS TEXT), 0, CAST(? AS BIGINT), 0
    FROM platforms f
    WHERE f.store = ? AND f.deleted_at IS NULL
    ON CONFLICT (platform_id, kind) DO NOTHING
"};

const DUE: Sql = statement! {"
    SELECT r.platform_id, r.kind
    FROM repairs r
    JOIN platforms f ON f.id = r.platform_id AND f.deleted_at IS NULL
    WHERE (r.due_at <= ? OR r.due_at > ?) AND r.kind IN (?*) AND {IS_WANTED}
    ORDER BY r.due_at, r.platform_id, r.kind
    LIMIT ?
"};

const LEASE: Sql = statement! {"
    UPDATE repairs
    SET runs = runs + 1, due_at = ?, began_at = COALESCE(began_at, ?)
    WHERE platform_id = ? AND kind = ? AND (due_at <= ? OR due_at > ?) AND {IS_WANTED}
    RETURNING platform_id, kind, runs, repaired_through, began_at, place, failures
"};

const ADVANCE: Sql = statement! {"
    UPDATE repairs
    SET place = ?, due_at = ?, failures = 0, failure = NULL, failed_at = NULL
    WHERE platform_id = ? AND kind = ? AND runs = ?
"};

const FINISH: Sql = statement! {"
    UPDATE repairs
    SET repaired_through = began_at, began_at = NULL, place = NULL, due_at = ?, failures = 0, failure = NULL,
        failed_at = NULL
    WHERE platform_id = ? AND kind = ? AND runs = ?
"};

const POSTPONE: Sql = statement! {"
    UPDATE repairs
    SET due_at = ?, failures = failures + 1, failure = ?, failed_at = ?
    WHERE platform_id = ? AND kind = ? AND runs = ?
"};

const RESTART: Sql = statement! {"
    UPDATE repairs
    SET began_at = NULL, place = NULL, due_at = ?, failures = failures + 1, failure = ?, failed_at = ?
    WHERE platform_id = ? AND kind = ? AND runs = ?
"};

const BEGIN_AGAIN: Sql = statement! {"
    UPDATE repairs
    SET runs = runs + 1, began_at = NULL, place = NULL, due_at = ?, failures = 0, failure = NULL, failed_at = NULL
    WHERE platform_id = ? AND {READS_LIST}
"};

const REQUEST_TEST: Sql = statement! {"
    INSERT INTO repairs (platform_id, kind, runs, began_at, due_at, failures)
    VALUES (?, 'test', 0, ?, ?, 0)
    ON CONFLICT (platform_id, kind)
    DO UPDATE SET runs = repairs.runs + 1, began_at = excluded.began_at, due_at = excluded.due_at, failures = 0,
        failure = NULL, failed_at = NULL
"};

const REQUESTED: Sql = statement! {"
    SELECT platform_id, kind
    FROM repairs
    WHERE platform_id = ? AND due_at <= ? AND {IS_WANTED}
    ORDER BY kind
"};

const ORDERS: Sql = statement! {"
    SELECT p.store_transaction, p.collapse_key, u.receipt_id, p.number, p.occurred_at, (
            SELECT l.kind = 'refund' AND COALESCE(l.amount = '-' || p.amount, p.amount IS NULL)
            FROM payments l
            WHERE l.collapse_key = p.collapse_key AND l.number = p.number
            ORDER BY l.entry DESC
            LIMIT 1) AS is_refunded
    FROM payments p
    JOIN purchases u ON u.collapse_key = p.collapse_key
    WHERE p.app_id = (SELECT f.app_id FROM platforms f WHERE f.id = ?) AND u.platform_id = ?
        AND p.store_transaction IS NOT NULL AND p.entry = 0 AND p.occurred_at >= ? AND p.occurred_at < ?
        AND (p.occurred_at, p.collapse_key, p.number) > (?, ?, ?)
    ORDER BY p.occurred_at, p.collapse_key, p.number
    LIMIT ?
"};

const OPENED: Sql = statement! {"
    SELECT n.seq, n.collapse_key, n.due_at, n.cap_at, n.traceparent
    FROM notifications n
    WHERE n.seq IN (?*) AND n.collapse_key IS NOT NULL
"};

impl Store {
    /// Returns at most `limit` repairs of these kinds that are due, those that wait longest first. The repairs of a
    /// platform that has none yet are due at once.
    pub async fn due_repairs(
        &self,
        offered: Vec<(&'static str, RepairKind)>,
        limit: i64,
    ) -> Result<Vec<DueRepair>, Error> {
        if offered.is_empty() {
            return Ok(Vec::new());
        }
        self.create_repairs(&offered).await?;
        self.read_now(move |connection, now| {
            let mut kinds: Vec<&str> = offered.iter().map(|(_, kind)| kind.as_str()).collect();
            kinds.sort_unstable();
            kinds.dedup();
            let due = sql(DUE).bind((now, now.plus(LATEST)));
            due.bind_list(kinds).bind(limit).all(connection)
        })
        .await
    }

    /// Creates the rows of platforms that have none yet.
    async fn create_repairs(&self, offered: &[(&'static str, RepairKind)]) -> Result<(), Error> {
        let all = offered.to_vec();
        let missing = self.read(move |connection| {
            let mut missing = Vec::new();
            for (store, kind) in all {
                let first: Option<PlatformId> =
                    sql(MISSING).bind(kind).bind(store).value(connection)?;
                missing.extend(first.map(|_| (store, kind)));
            }
            Ok(missing)
        });
        for (store, kind) in missing.await? {
            self.write(move |write| {
                let now = write.now()?;
                sql(CREATE).bind((kind, now, store)).run(write.connection)
            })
            .await?;
        }
        Ok(())
    }

    /// Takes a due repair for a run, which counts as lost after `lease`; `None` if another run took it.
    pub async fn lease_repair(
        &self,
        due: DueRepair,
        lease: Duration,
    ) -> Result<Option<RepairLease>, Error> {
        self.write(move |write| {
            let now = write.now()?;
            sql(LEASE)
                .bind((now.plus(lease), now, due.platform_id, due.kind))
                .bind((now, now.plus(LATEST)))
                .first(write.connection)
        })
        .await
    }

    /// Takes a repair for a run, if a person requested its next pass and no run has taken it since.
    pub async fn lease_requested_repair(
        &self,
        platform: PlatformId,
        lease: Duration,
    ) -> Result<Option<RepairLease>, Error> {
        let requested: Option<DueRepair> = self
            .read(move |connection| sql(REQUESTED).bind((platform, AT_ONCE)).first(connection))
            .await?;
        match requested {
            Some(due) => self.lease_repair(due, lease).await,
            None => Ok(None),
        }
    }

    /// Moves a repair to a place, and extends its lease. Returns whether the run still has the repair, like the
    /// functions below.
    pub async fn advance_repair(
        &self,
        run: &RepairLease,
        place: String,
        lease: Duration,
    ) -> Result<bool, Error> {
        self.note_repair(run, move |write, run| {
            let due_at = write.now()?.plus(lease);
            let advance = sql(ADVANCE).bind((place.as_str(), due_at));
            run.bound(advance).run(write.connection)
        })
        .await
    }

    /// Ends a run whose pass is not complete. The next run continues it as soon as there is one.
    pub async fn release_repair(&self, run: &RepairLease) -> Result<bool, Error> {
        let place = run.place.clone();
        self.note_repair(run, move |write, run| {
            let now = write.now()?;
            let release = sql(ADVANCE).bind((place.as_deref(), now));
            run.bound(release).run(write.connection)
        })
        .await
    }

    /// Ends a run that completed its pass. The next pass begins after `wait`.
    pub async fn finish_repair(&self, run: &RepairLease, wait: Duration) -> Result<bool, Error> {
        self.note_repair(run, move |write, run| {
            let due_at = write.now()?.plus(wait);
            run.bound(sql(FINISH).bind(due_at)).run(write.connection)
        })
        .await
    }

    /// Ends a run that failed. The next run continues its pass after `wait`.
    pub async fn postpone_repair(
        &self,
        run: &RepairLease,
        wait: Duration,
        why: &str,
    ) -> Result<bool, Error> {
        self.end_failed(run, POSTPONE, wait, why).await
    }

    /// Ends a run that failed so that its pass must begin again, after `wait`.
    pub async fn restart_repair(
        &self,
        run: &RepairLease,
        wait: Duration,
        why: &str,
    ) -> Result<bool, Error> {
        self.end_failed(run, RESTART, wait, why).await
    }

    async fn end_failed(
        &self,
        run: &RepairLease,
        statement: Sql,
        wait: Duration,
        why: &str,
    ) -> Result<bool, Error> {
        let why = clean(why).into_owned();
        self.note_repair(run, move |write, run| {
            let now = write.now()?;
            let failed = sql(statement).bind((now.plus(wait), why.as_str(), now));
            run.bound(failed).run(write.connection)
        })
        .await
    }

    async fn note_repair<F>(&self, run: &RepairLease, mut note: F) -> Result<bool, Error>
    where
        F: FnMut(&mut Write<'_>, &RepairLease) -> Result<usize, Error> + Send + 'static,
    {
        let run = run.clone();
        self.write(move |write| Ok(note(write, &run)? > 0)).await
    }

    /// Returns at most `limit` orders of a platform's payments in this range of time, after this place.
    pub async fn recorded_orders(
        &self,
        platform: PlatformId,
        range: Range<Timestamp>,
        after: OrderPlace,
        limit: i64,
    ) -> Result<Vec<RecordedOrder>, Error> {
        self.read(move |connection| {
            sql(ORDERS)
                .bind((platform, platform, range.start, range.end))
                .bind((after.at, after.collapse_key, after.number, limit))
                .all(connection)
        })
        .await
    }

    /// Accepts notifications that a repair of a platform found, unless they report a void that is recorded already.
    /// Returns those that are open, so that their purchases are signalled.
    pub async fn accept_repaired(
        &self,
        platform: PlatformId,
        found: Vec<FoundNotification>,
    ) -> Result<Vec<Open>, Error> {
        let unknown = self.read(move |connection| {
            let mut unknown = Vec::with_capacity(found.len());
            for one in found {
                if !is_recorded(connection, &one.notification)? {
                    unknown.push(one);
                }
            }
            Ok(unknown)
        });
        let unknown = unknown.await?;
        let rows = unknown.into_iter().map(|one| one.row(platform));
        let (mut open, mut new) = (Vec::new(), Vec::new());
        for accepted in self.accept(rows.collect()).await? {
            match accepted {
                Accepted::New { seq } => new.push(seq),
                Accepted::Repeated { open: stored } => open.extend(stored),
                Accepted::Waiting { .. } | Accepted::Duplicate { .. } => {}
            }
        }
        if new.is_empty() {
            return Ok(open);
        }
        let opened = self.read_now(move |connection, now| {
            let rows: Vec<OpenRow> = sql(OPENED).bind_list(new).uncached().all(connection)?;
            let opened: Vec<Open> = rows.into_iter().map(|row| row.open(now)).collect();
            Ok(opened)
        });
        open.extend(opened.await?);
        Ok(open)
    }
}

/// Begins a pass over the lists of a platform's store at once, because its credentials are used from now on: the first
/// request shows whether the store accepts them. A run in progress changes nothing any more.
pub fn begin_again(write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
    let now = write.now()?;
    begin(write, platform, now)
}

/// Like [`begin_again`], before all other repairs, because a person waits for the result.
pub fn begin_at_once(write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
    begin(write, platform, AT_ONCE)
}

/// Requests a test notification, before all other repairs. An earlier request in progress changes nothing any more.
pub fn request_test(write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
    let now = write.now()?;
    sql(REQUEST_TEST)
        .bind((platform, now, AT_ONCE))
        .run(write.connection)
        .map(drop)
}

fn begin(write: &mut Write<'_>, platform: PlatformId, due_at: Timestamp) -> Result<(), Error> {
    sql(BEGIN_AGAIN)
        .bind((due_at, platform))
        .run(write.connection)
        .map(drop)
}

/// Returns whether a pass that is due at this time was requested by a person, and no run has taken it yet.
pub fn is_requested(due_at: Timestamp) -> bool {
    due_at <= AT_ONCE
}

/// Returns whether a notification reports a void that the purchase's record has. The store's times of one void differ
/// by its source, so another report of it would change the record.
fn is_recorded(connection: &mut AnyConnection, reported: &Notification) -> Result<bool, Error> {
    let Some(voided) = &reported.voided else {
        return Ok(false);
    };
    let Some(row) = purchase::find(connection, reported.collapse_key)? else {
        return Ok(false);
    };
    let known = row.known()?;
    let period = known.periods().of(&voided.transaction_id);
    Ok(period.is_some_and(Period::is_voided))
}

impl RepairLease {
    /// Binds the identity of the run.
    fn bound<'a>(&self, statement: Statement<'a>) -> Statement<'a> {
        statement.bind((self.platform_id, self.kind, self.runs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_among_orders_is_read_back() {
        let places = [
            OrderPlace::before(Timestamp::from_micros(17)),
            OrderPlace {
                at: Timestamp::from_micros(1_800_000_000_000_000),
                number: -3,
                collapse_key: "a/b".to_owned(),
            },
        ];
        for place in places {
            let read: OrderPlace = place.to_string().parse().unwrap();
            assert_eq!(read, place);
        }
        for text in ["", "1", "1/2", "a/2/key", "1/b/key"] {
            assert!(text.parse::<OrderPlace>().is_err(), "{text}");
        }
    }
}
