//! Overdue work, so that storage alone can rebuild every workflow.
//!
//! Each statement walks an index over what is open or pending, from its oldest end. Nothing here grows with purchases
//! that sleep. Late deliveries belong to their destination as a whole, not of each purchase.

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

/// How late a workflow may be with a window before the sweep continues it.
const UNSETTLED_GRACE: Duration = Duration::from_secs(15);
/// How late a lane may be with an attempt.
const LANE_GRACE: Duration = Duration::from_secs(45);

/// Maximum number of purchases of one platform that one sweep wakes, so that its store is not queried in a burst.
const WAKES_PER_PLATFORM: i64 = 20;

/// How soon a purchase that was woken for a past wake and did not follow it is woken again: it never keeps others from
/// being woken.
const TRIED: Duration = MINUTE.saturating_mul(5);

/// Overdue work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The purchases.
    pub found: Vec<Due>,
    /// The destinations that are owed something late.
    pub destinations: Vec<DestinationId>,
    /// The disabled destinations with lanes that may wait in an open run, whose back-off is to be cancelled.
    pub in_backoff: Vec<DestinationId>,
    /// Whether a platform may have more than was taken of it.
    pub more: bool,
    /// As of when.
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

/// The newest open row of a purchase is past its window, so that nobody restarts it any more, and waits for nothing
/// else: then a wake settles it.
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

/// An open row is past the longest wait of its platform.
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

/// The platforms whose purchases are woken: few, so each is checked on its own.
const WAKING: Sql = statement!("SELECT id, (deleted_at IS NOT NULL) AS is_deleted FROM platforms ORDER BY id");

/// A purchase of a platform is to be rechecked, and was not woken for it a moment ago.
const PAST_WAKE: Sql = statement! {hot "purchases_wake", "
    SELECT collapse_key
    FROM purchases
    WHERE next_wake_at IS NOT NULL AND next_wake_at <= ?
        AND (wake_tried_at IS NULL OR wake_tried_at <= next_wake_at OR wake_tried_at <= ?)
        AND (held_until IS NULL OR held_until <= ?) AND platform_id = ?
    ORDER BY next_wake_at
    LIMIT ?
"};

/// The past wakes of a deleted platform: only what still waits comes to its end.
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
    /// At most `limit` purchases with overdue rows or a past wake, of these a bounded number for each platform.
    pub async fn due(&self, limit: i64) -> Result<Vec<Due>, Error> {
        Ok(self.overdue(limit).await?.found)
    }

    /// The overdue purchases, the destinations that are owed something late, the time, and whether there is more.
    pub async fn overdue(&self, limit: i64) -> Result<Overdue, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let (wakes, more) = wakes(connection, now, limit)?;
            let found =
                [unsettled(connection, PAST_WINDOW, now, limit)?, unsettled(connection, PAST_CAP, now, limit)?, wakes];
            let (destinations, in_backoff) = (late(connection, now)?, disabled(connection, now)?);
            Ok(Overdue { found: in_turn(&found, limit), destinations, in_backoff, more, at: now })
        })
        .await
    }

    /// Notes that purchases were woken for wakes that were past at a time; a wake that was set since is not concerned.
    pub async fn wakes_tried(&self, mut woken: Vec<CollapseKey>, at: Timestamp) -> Result<(), Error> {
        // In one order, so that two processes never wait for each other in a circle.
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

/// The enabled destinations with a late delivery, or that are to be probed. They are few, so each is checked on its own.
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

/// Whether a free lane has a delivery that is past its time, or was tried before the destination recovered and not since;
/// or whether the destination is to be probed.
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

/// The disabled destinations with lanes that may wait in an open run, whose back-off is to be cancelled.
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

/// The past wakes of each platform in turn, and whether a platform may have more than its budget.
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

/// Takes from each list in turn, each purchase once, so that no list starves another.
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
