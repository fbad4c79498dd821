//! Overdue work. The sweep finds it here, so that storage alone can restart every workflow.
//!
//! Each statement walks an index over open or pending rows, the oldest first. Its cost does not grow with the number of
//! purchases that wait for nothing. Late deliveries are found per destination, not per purchase.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::fault;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::delivery::destination_need::Tried;
use crate::delivery::free_lanes::{Key, LATE, Lanes, TRIED_BEFORE};
use crate::delivery::health;
use crate::events::deliveries;
use domain::time::MINUTE;
use domain::{CollapseKey, DestinationId, PlatformId, Timestamp};
use std::collections::HashSet;
use std::time::Duration;

/// How long after its end a window may stay unsettled before the sweep continues the workflow.
const UNSETTLED_GRACE: Duration = Duration::from_secs(15);
/// How long it may stay unsettled, although the sweep signals its run, before the run is examined.
const STUCK_GRACE: Duration = MINUTE.saturating_mul(10);
/// Maximum number of runs that one sweep examines.
const MAX_EXAMINED: i64 = 20;
/// How long a due delivery may stay unattempted before the sweep continues its destination.
const LANE_GRACE: Duration = Duration::from_secs(45);

/// Maximum number of purchases of one platform whose next wake has passed that one sweep wakes, so that the store is
/// not queried in a burst.
const WAKES_PER_PLATFORM: i64 = 20;

/// Minimum time before a purchase is woken again that was woken and did not settle. So it never keeps other purchases
/// from being woken.
const TRIED: Duration = MINUTE.saturating_mul(5);

/// Overdue work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The purchases to settle.
    pub found: Vec<Due>,
    /// Of the purchases to settle, those that are so late that their runs may make no progress, the oldest ones.
    pub may_be_stuck: Vec<CollapseKey>,
    /// The destinations with a late delivery, or that must be probed.
    pub destinations: Vec<DestinationId>,
    /// The disabled destinations whose lanes may wait for a back-off in a purchase's run, which must be cancelled.
    pub in_backoff: Vec<DestinationId>,
    /// Whether a platform may have more purchases to wake than are in `found`.
    pub more: bool,
    /// The time of the reading, by the database's clock.
    pub at: Timestamp,
}

/// A purchase that should be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// `unsettled` or `wake`.
    pub why: &'static str,
}

row! {
    struct Waking {
        id: PlatformId,
        is_deleted: bool,
    }
}

/// Purchases whose newest open notification is past the end of its window, and waits for neither a hold, nor the store,
/// nor the approval of its topic.
const PAST_WINDOW: Sql = statement! {hot "notifications_due", "
    SELECT n.collapse_key
    FROM notifications n
    WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL AND n.due_at < ?
        AND NOT EXISTS (
            SELECT 1
            FROM notifications m
            WHERE m.collapse_key = n.collapse_key AND m.outcome IS NULL AND m.waiting_topic_id IS NULL
                AND m.seq + 0 > n.seq)
        AND NOT EXISTS (
            SELECT 1
            FROM purchases p
            WHERE p.collapse_key = n.collapse_key AND (p.held_until > ? OR p.waits_through >= n.seq))
    ORDER BY n.due_at
    LIMIT ?
"};

/// Purchases with an open notification that is past the `max_wait` of its platform.
const PAST_CAP: Sql = statement! {hot "notifications_cap", "
    SELECT DISTINCT n.collapse_key
    FROM notifications n
    WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL AND n.cap_at IS NOT NULL AND n.cap_at < ?
        AND NOT EXISTS (
            SELECT 1
            FROM purchases p
            WHERE p.collapse_key = n.collapse_key AND (p.held_until > ? OR p.waits_through >= n.seq))
    LIMIT ?
"};

/// The platforms. There are few, so their purchases are read platform by platform.
const WAKING: Sql = statement!("SELECT id, (deleted_at IS NOT NULL) AS is_deleted FROM platforms ORDER BY id");

/// The purchases of a platform whose next wake has passed, and that were not woken for it within [`TRIED`].
const PAST_WAKE: Sql = statement! {hot "purchases_wake", "
    SELECT collapse_key
    FROM purchases
    WHERE next_wake_at IS NOT NULL AND next_wake_at <= ?
        AND (wake_tried_at IS NULL OR wake_tried_at <= next_wake_at OR wake_tried_at <= ?)
        AND (held_until IS NULL OR held_until <= ?) AND platform_id = ?
    ORDER BY next_wake_at
    LIMIT ?
"};

/// The purchases to wake of a deleted platform: only those with notifications that wait for the store, so that these
/// end.
const LAST_WAKE: Sql = statement! {hot "purchases_waiting", "
    SELECT collapse_key
    FROM purchases
    WHERE (waits_for IS NOT NULL OR waits_through IS NOT NULL) AND next_wake_at <= ?
        AND (wake_tried_at IS NULL OR wake_tried_at <= next_wake_at OR wake_tried_at <= ?)
        AND (held_until IS NULL OR held_until <= ?) AND platform_id = ?
    ORDER BY next_wake_at
    LIMIT ?
"};

const NOTE_WOKEN: Sql = statement! {"
    UPDATE purchases
    SET wake_tried_at = ?
    WHERE collapse_key = ? AND next_wake_at <= ?
"};

impl Store {
    /// At most `limit` purchases that are overdue: their window or their next wake has passed.
    pub async fn due(&self, limit: i64) -> Result<Vec<Due>, Error> {
        Ok(self.overdue(limit).await?.found)
    }

    /// All overdue work, with at most `limit` purchases.
    pub async fn overdue(&self, limit: i64) -> Result<Overdue, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let (wakes, more) = wakes(connection, now, limit)?;
            let past_window = unsettled(connection, PAST_WINDOW, now, limit)?;
            let stuck: Vec<Key> =
                sql(PAST_WINDOW).bind(now.minus(STUCK_GRACE)).bind(now).bind(MAX_EXAMINED).all(connection)?;
            let may_be_stuck = stuck.into_iter().map(|key| key.collapse_key).collect();
            let found = [past_window, unsettled(connection, PAST_CAP, now, limit)?, wakes];
            let (destinations, in_backoff) = (late(connection, now)?, disabled(connection, now)?);
            Ok(Overdue { found: in_turn(&found, limit), may_be_stuck, destinations, in_backoff, more, at: now })
        })
        .await
    }

    /// Notes that these purchases were woken at `at`. A purchase whose next wake was set to a later time is left out.
    pub async fn wakes_tried(&self, mut woken: Vec<CollapseKey>, at: Timestamp) -> Result<(), Error> {
        // Locks the rows in the order of their keys, so that two processes cannot deadlock.
        woken.sort_unstable();
        self.write(move |write| {
            for key in &woken {
                sql(NOTE_WOKEN).bind(at).bind(*key).bind(at).run(write.connection)?;
            }
            Ok(())
        })
        .await
    }
}

fn unsettled(connection: &mut AnyConnection, past: Sql, now: Timestamp, limit: i64) -> Result<Vec<Due>, Error> {
    let keys: Vec<Key> = sql(past).bind(now.minus(UNSETTLED_GRACE)).bind(now).bind(limit).all(connection)?;
    Ok(due(keys, "unsettled"))
}

fn due(keys: Vec<Key>, why: &'static str) -> Vec<Due> {
    keys.into_iter().map(|key| Due { collapse_key: key.collapse_key, why }).collect()
}

const ENABLED: Sql =
    statement!("SELECT id AS value FROM destinations WHERE enabled AND deleted_at IS NULL ORDER BY id");

/// The enabled destinations with a late delivery, or that must be probed. There are few destinations, so they are read
/// one by one.
fn late(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<DestinationId>, Error> {
    if fault::is_planted("sweep.forget_lanes") {
        return Ok(Vec::new());
    }
    let mut late = Vec::new();
    for id in sql(ENABLED).values(connection)? {
        if is_late(connection, id, now)? {
            late.push(id);
        }
    }
    Ok(late)
}

/// Whether a free lane has a delivery that is past its time, or that was last tried before the destination recovered;
/// or whether the destination must be probed.
fn is_late(connection: &mut AnyConnection, id: DestinationId, now: Timestamp) -> Result<bool, Error> {
    let before = now.minus(LANE_GRACE);
    let health = health::find(connection, id)?.health;
    let lanes = Lanes::new(id, &health, now);
    let past = lanes.matching(LATE).bind(before).bind_all(lanes.head()).bind(1);
    if past.first::<Key>(connection)?.is_some() {
        return Ok(true);
    }
    if let Some(due_since) = health.due_since().filter(|at| *at < before) {
        let left = lanes.matching(TRIED_BEFORE).bind(due_since).bind_all(lanes.head()).bind(1);
        if left.first::<Key>(connection)?.is_some() {
            return Ok(true);
        }
    }
    Ok(health.opened_at.is_some_and(|at| at < before) && deliveries::is_owed(connection, id)?)
}

const DISABLED: Sql =
    statement!("SELECT id AS value FROM destinations WHERE NOT enabled AND deleted_at IS NULL ORDER BY id");

/// The disabled destinations whose lanes may wait for a back-off in a purchase's run, which must be cancelled.
fn disabled(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<DestinationId>, Error> {
    let mut found = Vec::new();
    for id in sql(DISABLED).values(connection)? {
        let through = health::find(connection, id)?.backoff_cancelled_through;
        let tried = Tried { destination: id, after: through.unwrap_or(Timestamp::EARLIEST), until: now };
        if tried.end_of_page(connection, 1)?.is_some() {
            found.push(id);
        }
    }
    Ok(found)
}

/// The purchases of all platforms whose next wake has passed, one of each platform in turn; and whether a platform may
/// have more than [`WAKES_PER_PLATFORM`].
fn wakes(connection: &mut AnyConnection, now: Timestamp, limit: i64) -> Result<(Vec<Due>, bool), Error> {
    let platforms: Vec<Waking> = sql(WAKING).all(connection)?;
    let mut past = Vec::with_capacity(platforms.len());
    let (budget, mut more) = (limit.min(WAKES_PER_PLATFORM), false);
    for platform in platforms {
        let past_wake = sql(if platform.is_deleted { LAST_WAKE } else { PAST_WAKE });
        let past_wake = past_wake.bind(now).bind(now.minus(TRIED)).bind(now).bind(platform.id).bind(budget);
        let keys: Vec<Key> = past_wake.all(connection)?;
        more |= i64::try_from(keys.len()).unwrap_or(i64::MAX) >= budget;
        past.push(due(keys, "wake"));
    }
    Ok((in_turn(&past, limit), more))
}

/// Takes one purchase from each list in turn, and each purchase once, so that no list starves another.
fn in_turn(lists: &[Vec<Due>], limit: i64) -> Vec<Due> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut seen = HashSet::new();
    (0..longest)
        .flat_map(|index| lists.iter().filter_map(move |list| list.get(index)))
        .filter(|due| seen.insert(due.collapse_key))
        .take(usize::try_from(limit).unwrap_or(0))
        .copied()
        .collect()
}
