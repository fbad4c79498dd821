//! What is overdue, so that storage alone can rebuild every workflow.
//!
//! Each question walks an index over what is open or pending, from its oldest end. Nothing here
//! grows with purchases that sleep.

use crate::connection::AnyConnection;
use crate::statement::{Statement, row, sql};
use crate::{Error, Store, fault};
use domain::{CollapseKey, DestinationId, PlatformId, Timestamp};
use std::collections::HashSet;

/// A workflow may be so late with a window before the sweep looks after it.
const UNSETTLED_GRACE_MS: i64 = 15_000;
/// A lane may be so late with an attempt.
const LANE_GRACE_MS: i64 = 45_000;

/// So many purchases of one platform are woken by one sweep: who asks its store does not ask in a burst.
const WAKES_PER_PLATFORM: i64 = 20;

/// A purchase that was woken for a past wake and did not follow it is woken again after so long: it never keeps others
/// from being woken.
const TRIED_MS: i64 = 300_000;

/// What is overdue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The purchases.
    pub found: Vec<Due>,
    /// Whether a platform may have more than was taken of it.
    pub more: bool,
    /// As of when.
    pub at: Timestamp,
}

/// A purchase that should be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// `unsettled`, `lane` or `wake`.
    pub why: &'static str,
}

row! {
    struct Enabled {
        id: DestinationId,
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
/// else: then a wake looks at it.
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

/// Whom deliveries may be sent to: few, so each is asked about on its own.
const ENABLED: &str = "SELECT id FROM destinations WHERE enabled AND deleted_at IS NULL ORDER BY id";

/// A pending delivery is past its time and nobody has its lane; the latest first.
const LATE_LANES: &str = "SELECT d.collapse_key FROM deliveries d WHERE d.status = 'pending' AND d.next_due_at < ? \
     AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id \
     AND l.collapse_key = d.collapse_key AND l.lease_until > ?) AND d.destination_id = ? \
     ORDER BY d.next_due_at LIMIT ?";

/// Whose purchases are woken: few, so each is asked about on its own.
const WAKING: &str = "SELECT id, (deleted_at IS NOT NULL) AS is_deleted FROM platforms ORDER BY id";

/// A purchase of a platform asked to be looked at again, and was not woken for it a moment ago.
const PAST_WAKE: &str = "SELECT collapse_key FROM purchases WHERE next_wake_at IS NOT NULL AND next_wake_at <= ? \
     AND (wake_tried_at IS NULL OR wake_tried_at <= next_wake_at OR wake_tried_at <= ?) \
     AND (held_until IS NULL OR held_until <= ?) AND platform_id = ? ORDER BY next_wake_at LIMIT ?";

/// The same where the platform is deleted: only what still waits comes to its end.
const LAST_WAKE: &str = "SELECT collapse_key FROM purchases \
     WHERE (waits_for IS NOT NULL OR waits_through IS NOT NULL) AND next_wake_at <= ? \
     AND (wake_tried_at IS NULL OR wake_tried_at <= next_wake_at OR wake_tried_at <= ?) \
     AND (held_until IS NULL OR held_until <= ?) AND platform_id = ? ORDER BY next_wake_at LIMIT ?";

impl Store {
    /// At most `limit` purchases with overdue rows, overdue deliveries or a past wake, of these a bounded number for
    /// each platform.
    pub async fn due(&self, limit: i64) -> Result<Vec<Due>, Error> {
        Ok(self.overdue(limit).await?.found)
    }

    /// The same, with the time of the look and whether there is more.
    pub async fn overdue(&self, limit: i64) -> Result<Overdue, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let (wakes, more) = wakes(connection, (now, limit))?;
            let found = [
                find(connection, PAST_WINDOW, "unsettled", (now.plus_millis(-UNSETTLED_GRACE_MS), now, limit))?,
                find(connection, PAST_CAP, "unsettled", (now.plus_millis(-UNSETTLED_GRACE_MS), now, limit))?,
                late_lanes(connection, (now.plus_millis(-LANE_GRACE_MS), now, limit))?,
                wakes,
            ];
            Ok(Overdue { found: in_turn(&found, limit), more, at: now })
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

/// The late lanes of each destination in turn.
fn late_lanes(
    connection: &mut AnyConnection,
    (before, now, limit): (Timestamp, Timestamp, i64),
) -> Result<Vec<Due>, Error> {
    if fault::is_planted("sweep.forget_lanes") {
        return Ok(Vec::new());
    }
    let enabled: Vec<Enabled> = sql(ENABLED).all(connection)?;
    let mut late = Vec::with_capacity(enabled.len());
    for destination in enabled {
        let question = sql(LATE_LANES).bind(before).bind(now).bind(destination.id).bind(limit);
        let keys: Vec<Key> = question.all(connection)?;
        late.push(keys.into_iter().map(|key| Due { collapse_key: key.collapse_key, why: "lane" }).collect());
    }
    Ok(in_turn(&late, limit))
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
