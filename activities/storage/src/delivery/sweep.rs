//! Overdue work, so that storage alone can rebuild every workflow.
//!
//! Each statement walks an index over what is open or pending, from its oldest end. Nothing here grows with purchases
//! that sleep. Late deliveries belong to their destination as a whole, not of each purchase.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::fault;
use crate::db::statement::{Statement, row, sql};
use crate::db::store::Store;
use crate::delivery::destination_need::{IS_HEAD, tried};
use crate::events::deliveries;
use domain::{CollapseKey, DestinationId, PlatformId, Timestamp};
use std::collections::HashSet;

/// How late a workflow may be with a window before the sweep continues it, in milliseconds.
const UNSETTLED_GRACE_MS: i64 = 15_000;
/// How late a lane may be with an attempt, in milliseconds.
const LANE_GRACE_MS: i64 = 45_000;

/// Maximum number of purchases of one platform that one sweep wakes, so that its store is not queried in a burst.
const WAKES_PER_PLATFORM: i64 = 20;

/// How soon a purchase that was woken for a past wake and did not follow it is woken again, in milliseconds: it never
/// keeps others from being woken.
const TRIED_MS: i64 = 300_000;

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
    struct Enabled {
        id: DestinationId,
        opened_at: Option<Timestamp>,
        recovered_at: Option<Timestamp>,
        retry_requested_at: Option<Timestamp>,
    }
}

row! {
    struct Disabled {
        id: DestinationId,
        backoff_cancelled_through: Option<Timestamp>,
    }
}

row! {
    struct Waking {
        id: PlatformId,
        is_deleted: bool,
    }
}

row! {
    struct Key {
        collapse_key: CollapseKey,
    }
}

/// The newest open row of a purchase is past its window, so that nobody restarts it any more, and waits for nothing
/// else: then a wake settles it.
const PAST_WINDOW: &str = "SELECT n.collapse_key FROM notifications n \
     WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL AND n.due_at < ? \
     AND NOT EXISTS (SELECT 1 FROM notifications m WHERE m.collapse_key = n.collapse_key \
     AND m.outcome IS NULL AND m.waiting_topic_id IS NULL AND m.seq + 0 > n.seq) \
     AND NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key \
     AND (p.held_until > ? OR p.waits_through >= n.seq)) ORDER BY n.due_at LIMIT ?";

/// An open row is past the longest wait of its platform.
const PAST_CAP: &str = "SELECT DISTINCT n.collapse_key FROM notifications n \
     WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL AND n.cap_at IS NOT NULL AND n.cap_at < ? \
     AND NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key \
     AND (p.held_until > ? OR p.waits_through >= n.seq)) LIMIT ?";

/// The destinations that deliveries may be sent to: few, so each is checked on its own.
const ENABLED: &str = "SELECT d.id, h.opened_at, h.recovered_at, h.retry_requested_at FROM destinations d \
     JOIN health h ON h.destination_id = d.id WHERE d.enabled AND d.deleted_at IS NULL ORDER BY d.id";

/// The destinations that nothing may be sent to: the back-off of their runs is to be cancelled.
const DISABLED: &str = "SELECT d.id, h.backoff_cancelled_through FROM destinations d JOIN health h ON h.destination_id = d.id \
     WHERE NOT d.enabled AND d.deleted_at IS NULL ORDER BY d.id";

/// A pending delivery is past its time, next in its lane, and the lane is not leased.
const LATE: (&str, &str) = ("d.next_due_at < ?", "d.next_due_at");

/// A pending delivery was tried before its destination recovered and not since, and its lane is not leased.
const LEFT: (&str, &str) = ("d.tried_at < ?", "d.tried_at");

/// The platforms whose purchases are woken: few, so each is checked on its own.
const WAKING: &str = "SELECT id, (deleted_at IS NOT NULL) AS is_deleted FROM platforms ORDER BY id";

/// A purchase of a platform is to be rechecked, and was not woken for it a moment ago.
const PAST_WAKE: &str = "SELECT collapse_key FROM purchases WHERE next_wake_at IS NOT NULL AND next_wake_at <= ? \
     AND (wake_tried_at IS NULL OR wake_tried_at <= next_wake_at OR wake_tried_at <= ?) \
     AND (held_until IS NULL OR held_until <= ?) AND platform_id = ? ORDER BY next_wake_at LIMIT ?";

/// The past wakes of a deleted platform: only what still waits comes to its end.
const LAST_WAKE: &str = "SELECT collapse_key FROM purchases \
     WHERE (waits_for IS NOT NULL OR waits_through IS NOT NULL) AND next_wake_at <= ? \
     AND (wake_tried_at IS NULL OR wake_tried_at <= next_wake_at OR wake_tried_at <= ?) \
     AND (held_until IS NULL OR held_until <= ?) AND platform_id = ? ORDER BY next_wake_at LIMIT ?";

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
            let (wakes, more) = wakes(connection, (now, limit))?;
            let found = [
                find(connection, PAST_WINDOW, "unsettled", (now.plus_millis(-UNSETTLED_GRACE_MS), now, limit))?,
                find(connection, PAST_CAP, "unsettled", (now.plus_millis(-UNSETTLED_GRACE_MS), now, limit))?,
                wakes,
            ];
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
                sql("UPDATE purchases SET wake_tried_at = ? WHERE collapse_key = ? AND next_wake_at <= ?")
                    .bind(at)
                    .bind(*key)
                    .bind(at)
                    .run(write.connection)?;
            }
            Ok(())
        })
        .await
    }
}

fn find(
    connection: &mut AnyConnection,
    question: &'static str,
    why: &'static str,
    (before, now, limit): (Timestamp, Timestamp, i64),
) -> Result<Vec<Due>, Error> {
    let question: Statement<'_> = sql(question).bind(before).bind(now).bind(limit);
    let keys: Vec<Key> = question.all(connection)?;
    Ok(keys.into_iter().map(|key| Due { collapse_key: key.collapse_key, why }).collect())
}

/// The enabled destinations with a late delivery, or that are to be probed.
fn late(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<DestinationId>, Error> {
    if fault::is_planted("sweep.forget_lanes") {
        return Ok(Vec::new());
    }
    let before = now.plus_millis(-LANE_GRACE_MS);
    let enabled: Vec<Enabled> = sql(ENABLED).all(connection)?;
    let mut late = Vec::new();
    for Enabled { id, opened_at, recovered_at, retry_requested_at } in enabled {
        let due_since = recovered_at.max(retry_requested_at);
        let since = due_since.unwrap_or(Timestamp::from_micros(i64::MIN));
        let past = |(condition, order), time: Timestamp| {
            let text = format!(
                "SELECT d.collapse_key FROM deliveries d WHERE d.status = 'pending' AND {condition} \
                 AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id \
                 AND l.collapse_key = d.collapse_key AND l.lease_until > ?) AND d.destination_id = ? AND {IS_HEAD} \
                 ORDER BY {order} LIMIT 1"
            );
            sql(text).bind(time).bind(now).bind(id).bind(now).bind(since)
        };
        let mut found: Option<Key> = past(LATE, before).first(connection)?;
        if let (None, Some(due_since)) = (&found, due_since.filter(|at| *at < before)) {
            found = past(LEFT, due_since).first(connection)?;
        }
        let is_open = opened_at.is_some_and(|at| at < before);
        if found.is_some() || (is_open && deliveries::is_owed(connection, id)?) {
            late.push(id);
        }
    }
    Ok(late)
}

/// The disabled destinations with lanes that may wait in an open run.
fn disabled(connection: &mut AnyConnection, now: Timestamp) -> Result<Vec<DestinationId>, Error> {
    let mut found = Vec::new();
    for Disabled { id, backoff_cancelled_through } in sql(DISABLED).all(connection)? {
        let since = backoff_cancelled_through.unwrap_or(Timestamp::from_micros(i64::MIN));
        if tried(connection, id, (since, now, 1))?.is_some() {
            found.push(id);
        }
    }
    Ok(found)
}

/// The past wakes of each platform in turn, and whether a platform may have more than its budget.
fn wakes(connection: &mut AnyConnection, (now, limit): (Timestamp, i64)) -> Result<(Vec<Due>, bool), Error> {
    let platforms: Vec<Waking> = sql(WAKING).all(connection)?;
    let mut past = Vec::with_capacity(platforms.len());
    let (budget, mut more) = (limit.min(WAKES_PER_PLATFORM), false);
    for platform in platforms {
        let question = sql(if platform.is_deleted { LAST_WAKE } else { PAST_WAKE });
        let question = question.bind(now).bind(now.plus_millis(-TRIED_MS)).bind(now).bind(platform.id).bind(budget);
        let keys: Vec<Key> = question.all(connection)?;
        more |= i64::try_from(keys.len()).unwrap_or(i64::MAX) >= budget;
        past.push(keys.into_iter().map(|key| Due { collapse_key: key.collapse_key, why: "wake" }).collect());
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
